//! What a search for partitions found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use chrono::NaiveDate;

use crate::domain::layout::Layout;
use crate::domain::padding::padded_otherwise;
use crate::model::DateRange;
use crate::storage::lake::location::Object;

/// The most paths that are shown of what does not match a layout.
pub(super) const MOST_SHOWN: usize = 5;

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The files of each date, by path; no date without files.
    pub partitions: BTreeMap<NaiveDate, Vec<Object>>,
    /// Files on a local disk that are not whole: somebody writes them, or was killed at it.
    pub leftovers: Vec<PathBuf>,
    /// How many listings the search took.
    pub requests: u64,
    /// Names at a leaf that do not match the layout, up to five, for hints.
    pub unrecognized_paths: Vec<String>,
    /// A path that leads to a date of the range in another padding than the layout's.
    pub other_padding: Option<OtherPadding>,
    /// Why the search could not go by the order of the layout, if it could not.
    pub scattered: Option<String>,
}

/// A path that is not of a layout, because its months or days are padded in another way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OtherPadding {
    /// The path below the root.
    pub path: String,
    /// The layout that reads it.
    pub layout: String,
}

impl fmt::Display for OtherPadding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' matches the layout '{}' instead",
            self.path, self.layout
        )
    }
}

impl Found {
    pub(super) fn see_other_padding(
        &mut self,
        layout: &Layout,
        level: usize,
        path: &str,
        range: Option<DateRange>,
    ) {
        if self.other_padding.is_none()
            && let Some(other) = padded_otherwise(layout, level, path, range)
        {
            self.other_padding = Some(OtherPadding {
                path: path.to_owned(),
                layout: other.to_string(),
            });
        }
    }

    /// Takes the files at the path of a date.
    pub(super) fn take(
        &mut self,
        date: NaiveDate,
        layout: &Layout,
        path: &str,
        mut objects: Vec<Object>,
    ) {
        if layout.has_below() {
            objects.retain(|object| {
                layout.takes_below(object.relative.strip_prefix(path).unwrap_or_default())
            });
        }
        objects
            .iter_mut()
            .for_each(|object| object.below.clone_from(&object.relative));
        if !objects.is_empty() {
            self.partitions.entry(date).or_default().extend(objects);
        }
    }

    pub(super) fn see_unrecognized(&mut self, path: String) {
        if self.unrecognized_paths.len() < MOST_SHOWN {
            self.unrecognized_paths.push(path);
        }
    }

    /// The dates that have files, ascending.
    pub fn dates(&self) -> Vec<NaiveDate> {
        self.partitions.keys().copied().collect()
    }
}
