//! Partitions in an object store, by the keys of the range.

use futures::stream::{StreamExt, TryStreamExt};

use crate::domain::layout::Layout;
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::storage::lake::found::{Found, MOST_SHOWN};
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::lake::table_format::refusal;
use crate::storage::lake::wildcards::without_wildcards;
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::listing::Listed;
use crate::storage::object_store::search::{Strategy, search};
use crate::storage::object_store::search_outcome::SearchOutcome;

/// The most values of a wildcard that are searched at a time.
const SEARCHES: usize = 4;

/// Finds the partitions of a range, or all of them, below `root`.
pub(super) fn find_in_store(
    strategy: Strategy,
    root: &Location,
    layout: &Layout,
    range: Option<DateRange>,
) -> Result<Found> {
    let Place::Remote(store, key) = root.place() else {
        return Ok(Found::default());
    };
    let mut found = Found::default();
    let layouts = if strategy == Strategy::Listing {
        vec![layout.clone()]
    } else {
        without_wildcards(root, layout, range, &mut found)?
    };
    let doing = format!("cannot list '{root}'");
    let searches = layouts.into_iter().map(|layout| {
        let pages = store.pages.clone();
        let key = key.clone();
        async move { search(pages.as_ref(), &key, &layout, range, strategy).await }
    });
    let searches = futures::stream::iter(searches.collect::<Vec<_>>()).buffered(SEARCHES);
    let outcomes = store.wait(async move {
        searches
            .try_collect::<Vec<SearchOutcome>>()
            .await
            .map_err(|error| failure(&doing, error))
    })?;
    let object = |listed: Listed| {
        let relative = listed.key[key.len()..].trim_start_matches('/').to_owned();
        let location = root.join(&relative);
        let below = relative.clone();
        Object {
            location,
            relative,
            below,
            size: listed.size,
            etag: listed.etag.unwrap_or_default(),
            file: None,
        }
    };
    for outcome in outcomes {
        if let Some((format, table)) = outcome.table {
            return Err(refusal(format, &Location::remote(store.clone(), table)));
        }
        for (date, objects) in outcome.partitions {
            found
                .partitions
                .entry(date)
                .or_default()
                .extend(objects.into_iter().map(object));
        }
        found.requests += outcome.requests;
        found.unrecognized_paths.extend(outcome.unrecognized_paths);
        found.scattered = found.scattered.or(outcome.scattered);
    }
    found.unrecognized_paths.truncate(MOST_SHOWN);
    Ok(found)
}

/// Refuses a root below which there is nothing, or notes what there is. A search by keys sees
/// nothing of what is of another layout.
pub(super) fn refuse_nothing(root: &Location, layout: &Layout, found: &mut Found) -> Result<()> {
    let some = root.some_below(MOST_SHOWN)?;
    found.requests += 1;
    if some.is_empty() {
        return Err(Error::usage(format!("there is no folder '{root}'")));
    }
    let mut unrecognized_paths: Vec<String> = some
        .iter()
        .map(|path| upper_parts(path, layout.depth()))
        .collect();
    unrecognized_paths.retain(|path| layout.date(path).is_none());
    unrecognized_paths.dedup();
    for path in &unrecognized_paths {
        found.see_other_padding(layout, path.matches('/').count(), path, None);
    }
    found.unrecognized_paths = unrecognized_paths;
    Ok(())
}

/// The first parts of a path.
fn upper_parts(path: &str, parts: usize) -> String {
    path.split('/').take(parts).collect::<Vec<_>>().join("/")
}
