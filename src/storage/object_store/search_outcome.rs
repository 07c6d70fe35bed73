//! What a search of a store found, and which of the listed keys it takes.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::domain::file_names::{TableFormat, is_data, is_iceberg_metadata};
use crate::domain::layout::Layout;
use crate::model::DateRange;
use crate::storage::object_store::listing::{Listed, PageQuery, Pages};

/// The most paths that are shown of what does not match a layout.
const MOST_SHOWN: usize = 5;

/// What a search found.
#[derive(Debug, Default)]
pub struct SearchOutcome {
    /// The objects of each date of the range, in the order of their keys.
    pub partitions: BTreeMap<NaiveDate, Vec<Listed>>,
    /// How many pages were asked for.
    pub requests: u64,
    /// Paths that do not match the layout, up to five, for hints.
    pub unrecognized_paths: Vec<String>,
    /// Why the range took more than one run of keys, if it did.
    pub scattered: Option<String>,
    /// A table of another format that objects lie in, and the key of its folder.
    pub table: Option<(TableFormat, String)>,
}

/// Where the search is: in which layout, below which root.
pub(super) struct Ground<'a> {
    pub(super) layout: &'a Layout,
    /// What keys begin with; ends with `/`, or is empty.
    pub(super) root: String,
    pub(super) range: Option<DateRange>,
}

impl Ground<'_> {
    /// A query for all keys that begin with the root and a text.
    pub(super) fn query(&self, below: &str) -> PageQuery {
        PageQuery {
            prefix: format!("{}{below}", self.root),
            ..PageQuery::default()
        }
    }

    /// The date of a key, if it is data and of the layout, and its path below the root, cut to the
    /// layout's depth.
    fn date_of<'k>(&self, key: &'k str) -> (Option<NaiveDate>, &'k str) {
        let Some(path) = key.strip_prefix(self.root.as_str()) else {
            return (None, key);
        };
        let end = path
            .match_indices('/')
            .nth(self.layout.depth() - 1)
            .map_or(path.len(), |(at, _)| at);
        let is_hidden = !path.split('/').all(is_data);
        let is_data = !is_hidden && !path.ends_with('/');
        let date = self.layout.date(&path[..end]).filter(|_| {
            is_data && (!self.layout.has_below() || self.layout.takes_below(&path[end..]))
        });
        (date, if is_hidden { "" } else { &path[..end] })
    }

    fn wants(&self, date: NaiveDate) -> bool {
        self.range.is_none_or(|range| range.contains(date))
    }
}

impl SearchOutcome {
    fn see_table(&mut self, key: &str) {
        if self.table.is_none() {
            self.table =
                TableFormat::of_path(key).map(|(format, folder)| (format, folder.to_owned()));
        }
    }

    /// Takes all that a query asks for, page after page.
    pub(super) async fn list(
        &mut self,
        pages: &dyn Pages,
        ground: &Ground<'_>,
        mut query: PageQuery,
    ) -> object_store::Result<()> {
        loop {
            self.requests += 1;
            let page = pages.page(query.clone()).await?;
            self.take(page.objects, ground);
            match page.next {
                Some(next) => query.token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Takes a page's objects; returns the date that the last of them lies at or after.
    pub(super) fn take(&mut self, objects: Vec<Listed>, ground: &Ground<'_>) -> Option<NaiveDate> {
        let mut reached = None;
        for object in objects {
            match ground.date_of(&object.key) {
                (Some(date), _) => {
                    reached = Some(date);
                    if is_iceberg_metadata(&object.key) {
                        self.see_table(&object.key);
                    }
                    if ground.wants(date) {
                        self.partitions.entry(date).or_default().push(object);
                    }
                }
                (None, "") => self.see_table(&object.key),
                // Of what is empty it cannot be told whether it is a marker of a folder.
                (None, path) => {
                    if object.size > 0
                        && self.unrecognized_paths.len() < MOST_SHOWN
                        && self
                            .unrecognized_paths
                            .last()
                            .is_none_or(|last| last != path)
                    {
                        self.unrecognized_paths.push(path.to_owned());
                    }
                }
            }
        }
        reached
    }
}

/// Takes away the objects of a date that are only there so that browsers show a folder. Some tools
/// write them, empty and with a `/` at the end of their names, which the client takes away: what is
/// empty and has something below it is one, and what is empty and is named as folders are.
pub(crate) fn without_markers(objects: &mut Vec<Listed>, depth: usize, root: &str) {
    let has_below = |key: &str, all: &[Listed]| {
        all.iter().any(|other| {
            other
                .key
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let named_as_folder = |key: &str| {
        let path = key.strip_prefix(root).unwrap_or(key);
        let name = path.rsplit('/').next().unwrap_or_default();
        let has_ending = name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ending.chars().any(|letter| letter.is_ascii_alphabetic()));
        !has_ending && (path.split('/').count() <= depth || name.contains('='))
    };
    if objects.iter().all(|object| object.size > 0) {
        return;
    }
    let all = objects.clone();
    objects.retain(|object| {
        object.size > 0 || !has_below(&object.key, &all) && !named_as_folder(&object.key)
    });
}
