//! Which files gave which fingerprint, remembered beside the intervals.
//!
//! The fingerprint of a snapshot of asof's own costs the opening of a file, or a request; that of a
//! external one, which has no footer, a full read. A file `_<name>.json` keeps them with the
//! identity of the files. It is a hint: it may be deleted, and a failure to read or write it costs
//! time alone.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::domain::digest::Fingerprint;
use crate::domain::staleness::EventsInput;
use crate::storage::lake::hints::{publish_hint, read_hint};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::paths;

/// The fingerprints that were worked out before; the default forgets them at the end.
#[derive(Default)]
pub struct FingerprintRecall {
    path: Option<Location>,
    types: BTreeMap<String, String>,
    dates: BTreeMap<NaiveDate, CacheEntry>,
    /// Whether there is something to be written.
    learnt: bool,
}

#[derive(Serialize, Deserialize)]
struct CacheEntry {
    objects: Vec<EventsInput>,
    /// The types that were declared for text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    types: BTreeMap<String, String>,
    fingerprint: Fingerprint,
}

/// What tells an object from another one in its place: on a local disk more than a listing says,
/// since copies with their times kept are not rare.
fn identity(object: &Object) -> EventsInput {
    let mut identity = object.identity();
    if let Some(file) = &object.file {
        let (seconds, nanos) = file.changed;
        identity.etag = format!("{}-{:x}-{seconds:x}.{nanos:x}", identity.etag, file.inode);
    }
    identity
}

impl FingerprintRecall {
    /// What is remembered beside intervals; nothing if it cannot be read. What text gave with other
    /// declared `types` than these is not recalled.
    pub fn beside(intervals: &Location, types: BTreeMap<String, String>) -> Self {
        let path = paths::fingerprint_cache(intervals);
        let dates = read_hint(&path).unwrap_or_else(|error| {
            debug!(%error, "remembered fingerprints are passed over");
            None
        });
        FingerprintRecall {
            path: Some(path),
            types,
            dates: dates.unwrap_or_default(),
            learnt: false,
        }
    }

    /// The fingerprint of a date, if its files are still the same.
    pub fn recall(&self, date: NaiveDate, objects: &[Object]) -> Option<Fingerprint> {
        let remembered = self.dates.get(&date)?;
        let same = remembered
            .objects
            .iter()
            .cloned()
            .eq(objects.iter().map(identity));
        (same && remembered.types == self.types).then_some(remembered.fingerprint)
    }

    /// Remembers what the files of a date gave.
    pub fn learn(&mut self, date: NaiveDate, objects: &[Object], fingerprint: Fingerprint) {
        let objects = objects.iter().map(identity).collect();
        self.dates.insert(
            date,
            CacheEntry {
                objects,
                types: self.types.clone(),
                fingerprint,
            },
        );
        self.learnt = true;
    }

    /// Writes the hint, if there is something new in it.
    pub fn save(&self) {
        if let Some(path) = self.path.as_ref().filter(|_| self.learnt) {
            publish_hint(path, &self.dates);
        }
    }
}
