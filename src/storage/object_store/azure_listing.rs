//! How the listings of Azure differ from those of S3 and Google.
//!
//! | | S3, Google | Azure |
//! | --- | --- | --- |
//! | where a listing begins | after any key | at the first key of a prefix |
//! | the order of keys | that of their bytes | nothing is assumed of it |
//! | the object whose whole name is the prefix | is listed | is left out by the client |
//!
//! So a range of dates is searched there by the prefixes that cover it, and what they list is put
//! in order afterwards ([`super::search`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::layout::Layout;
use crate::storage::object_store::listing::{Listed, PageQuery, Pages};
use crate::storage::object_store::search_outcome::{Ground, SearchOutcome};
use crate::storage::object_store::service::Service;

/// Whether a listing of the service can begin after a key, and has its keys in the order of their
/// bytes.
pub(super) fn begins_after(service: Service) -> bool {
    service != Service::Azure
}

/// A prefix whose listing has the object that has it as its whole name. Azure's client leaves that
/// one out, so a letter is taken from the path of a file (`01-03-2024.csv`); what else that finds
/// is of another date, or of none.
pub(super) fn listable(pages: &dyn Pages, layout: &Layout, mut prefix: String) -> String {
    let may_be_a_file =
        prefix.ends_with(|last: char| !last.is_ascii_digit()) && layout.date(&prefix).is_some();
    if !pages.begins_after() && may_be_a_file {
        prefix.pop();
    }
    prefix
}

/// Finds files whose whole names are paths of dates under which nothing was listed, and which end
/// in a digit (`20240301`): Azure's client leaves them out as [`listable`] says, and one letter
/// less would be ten dates. One listing for each ten dates that lack.
pub(super) async fn files_named_by_dates(
    pages: &dyn Pages,
    ground: &Ground<'_>,
    listed: &[String],
    outcome: &mut SearchOutcome,
) -> object_store::Result<()> {
    let lacks = |path: &&String| {
        path.ends_with(|last: char| last.is_ascii_digit())
            && ground
                .layout
                .date(path)
                .is_some_and(|date| !outcome.partitions.contains_key(&date))
    };
    let lacking: BTreeSet<String> = listed
        .iter()
        .filter(lacks)
        .map(|path| format!("{}{path}", ground.root))
        .collect();
    let shorter: BTreeSet<String> = lacking
        .iter()
        .map(|path| path[..path.len() - 1].to_owned())
        .collect();
    let mut found: BTreeMap<String, Listed> = BTreeMap::new();
    for prefix in shorter {
        // By folder: what lies in the folders of dates is not of interest, and may be much.
        let mut query = PageQuery {
            prefix,
            by_folder: true,
            ..PageQuery::default()
        };
        loop {
            outcome.requests += 1;
            let page = pages.page(query.clone()).await?;
            let lacking = page
                .objects
                .into_iter()
                .filter(|object| lacking.contains(&object.key));
            found.extend(lacking.map(|object| (object.key.clone(), object)));
            match page.next {
                Some(next) => query.token = Some(next),
                None => break,
            }
        }
    }
    outcome.take(found.into_values().collect(), ground);
    Ok(())
}
