//! What tells one external copy from another without decoding its rows: the bytes of its files.
//!
//! Files of the same bytes have the same rows, if they are read as columns of the same names and
//! types, by the same key and rule of duplicates, from folders of the same names. To hash bytes
//! takes a fraction of what it takes to decode all of their columns, of which a job may read few.
//! Files of text, whose types the rows decide, and rows that are split by a column of dates are
//! told by their rows ([`SnapshotTable::fingerprint`]). So are asof's own copies, whose footers
//! have the fingerprint.
//!
//! The other way round, files that were written anew may have the same rows in other bytes.

use std::io::Read;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use xxhash_rust::xxh3::Xxh3Default;

use super::SnapshotTable;
use crate::domain::digest::Fingerprint;
use crate::domain::type_names::type_name;
use crate::error::{Context, Result};
use crate::phases::Phase;
use crate::storage::lake::location::Object;
use crate::storage::lake::read::ObjectReader;

/// How much of a file is read at a time.
const READ_BYTES: usize = 1 << 20;

impl SnapshotTable {
    /// Whether an external copy is told by the bytes of its files.
    ///
    /// # Errors
    /// A refusal of files in an unknown format.
    pub fn is_told_by_files(&self, objects: &[Object]) -> Result<bool> {
        Ok(self.dated.is_none() && self.format_of(objects)?.carries_types())
    }

    /// The content of an external copy, and its columns if they were read for it: by the bytes of
    /// its files if their format carries types, or else by its rows.
    ///
    /// # Errors
    /// A failure or refusal of reading; a failure if a file was replaced since it was listed.
    pub fn content_of_copy(
        &self,
        date: NaiveDate,
        objects: &[Object],
        pinned: Option<&SchemaRef>,
    ) -> Result<(Fingerprint, Option<SchemaRef>)> {
        if !self.is_told_by_files(objects)? {
            return Ok((self.fingerprint(date, objects, pinned)?, None));
        }
        let schema = self.open(date, objects, pinned)?.schema;
        let mut digest = Xxh3Default::new();
        let mut add = |text: &str| {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        };
        add("files of a copy");
        self.key.iter().for_each(|key| add(key));
        add(&self
            .dedup
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default());
        for field in schema.fields() {
            add(field.name());
            add(&type_name(field.data_type()));
        }
        for object in objects {
            let folders = object
                .below
                .rsplit_once('/')
                .map_or("", |(folders, _)| folders);
            digest.update(&(folders.len() as u64).to_le_bytes());
            digest.update(folders.as_bytes());
            digest.update(&object.size.to_le_bytes());
            add_bytes(&mut digest, object)?;
        }
        Ok((Fingerprint(digest.digest128()), Some(schema)))
    }
}

fn add_bytes(digest: &mut Xxh3Default, object: &Object) -> Result<()> {
    let mut bytes = ObjectReader::open_listed(object)?.stream()?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = bytes
            .read(&mut buffer)
            .io_context(|| format!("cannot read '{}'", object.location))?;
        if count == 0 {
            return Ok(());
        }
        Phase::Hash.spend(|| digest.update(&buffer[..count]));
    }
}
