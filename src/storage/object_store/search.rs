//! Searches a store for the objects of a layout's dates, by one of three strategies.
//!
//! | strategy | what it asks | requests |
//! | --- | --- | --- |
//! | [`Strategy::Guided`] | the keys of the range and no others (`guided_search`) | about as many as pages hold the range's objects |
//! | [`Strategy::Paths`] | each date's path in turn | one a date at least, each waiting for the one before |
//! | [`Strategy::Listing`] | everything below the root, and filters | as many as pages hold the whole lake |
//!
//! The last two are what people do by hand; they are there to be compared with.

use crate::domain::key_spans::prefixes;
use crate::domain::layout::Layout;
use crate::model::DateRange;
use crate::storage::object_store::azure_listing::{files_named_by_dates, listable};
use crate::storage::object_store::guided_search::guided;
use crate::storage::object_store::listing::Pages;
use crate::storage::object_store::search_outcome::{Ground, SearchOutcome, without_markers};

/// How partitions are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The keys of the range and no others.
    #[default]
    Guided,
    /// Each date's path in turn.
    Paths,
    /// Everything, filtered.
    Listing,
}

/// Finds the partitions of a range, or all of them, below `root`.
///
/// # Errors
/// Whatever a listing fails with.
pub async fn search(
    pages: &dyn Pages,
    root: &str,
    layout: &Layout,
    range: Option<DateRange>,
    strategy: Strategy,
) -> object_store::Result<SearchOutcome> {
    let root = match root.trim_end_matches('/') {
        "" => String::new(),
        root => format!("{root}/"),
    };
    let ground = Ground {
        layout,
        root,
        range,
    };
    let mut outcome = match (strategy, range) {
        (Strategy::Guided, Some(range)) => by_keys(pages, &ground, range).await?,
        (Strategy::Paths, Some(range)) => by_paths(pages, &ground, range).await?,
        (Strategy::Listing, _) | (_, None) => {
            let mut outcome = SearchOutcome::default();
            outcome.list(pages, &ground, ground.query("")).await?;
            outcome
        }
    };
    for objects in outcome.partitions.values_mut() {
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        // Two runs of keys may have the same path in them, if a path is of more than a day.
        objects.dedup_by(|one, other| one.key == other.key);
        without_markers(objects, layout.depth(), &ground.root);
    }
    outcome.partitions.retain(|_, objects| !objects.is_empty());
    Ok(outcome)
}

/// The keys of the range and no others, if the store lists keys in the order of their bytes.
async fn by_keys(
    pages: &dyn Pages,
    ground: &Ground<'_>,
    range: DateRange,
) -> object_store::Result<SearchOutcome> {
    let mut outcome = SearchOutcome::default();
    if !guided(pages, ground, range, &mut outcome).await? {
        outcome = SearchOutcome {
            requests: outcome.requests,
            scattered: Some(
                "this store does not list keys in byte order, so asof lists \
                 everything"
                    .to_owned(),
            ),
            ..SearchOutcome::default()
        };
        outcome.list(pages, ground, ground.query("")).await?;
    }
    if !pages.begins_after() {
        let listed = prefixes(ground.layout, range);
        files_named_by_dates(pages, ground, &listed, &mut outcome).await?;
    }
    Ok(outcome)
}

/// Each date's path in turn.
async fn by_paths(
    pages: &dyn Pages,
    ground: &Ground<'_>,
    range: DateRange,
) -> object_store::Result<SearchOutcome> {
    let mut outcome = SearchOutcome::default();
    for date in range.dates() {
        let path = listable(pages, ground.layout, ground.layout.path(date));
        let mut found = SearchOutcome::default();
        found.list(pages, ground, ground.query(&path)).await?;
        outcome.requests += found.requests;
        // `2024/3/1` is how `2024/3/10` begins, too.
        outcome
            .partitions
            .extend(found.partitions.remove_entry(&date));
    }
    if !pages.begins_after() {
        let paths = range.dates().map(|date| ground.layout.path(date));
        let paths: Vec<String> = paths.collect();
        files_named_by_dates(pages, ground, &paths, &mut outcome).await?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use chrono::NaiveDate;
    use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::model::parse_date;
    use crate::storage::object_store::listing::{Listed, PAGE, Page, PageQuery};

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    /// A lake of keys, in pages of a few.
    struct LakeOfKeys {
        keys: Vec<String>,
        page: usize,
        begins_after: bool,
    }

    #[async_trait]
    impl Pages for LakeOfKeys {
        fn begins_after(&self) -> bool {
            self.begins_after
        }

        async fn page(&self, query: PageQuery) -> object_store::Result<Page> {
            assert!(
                self.begins_after || query.after.is_none(),
                "this service cannot begin after a key"
            );
            let after = query.token.or(query.after).unwrap_or_default();
            // As Azure's client has it: what is no longer than the prefix is left out.
            let longer = |key: &&String| self.begins_after || key.len() > query.prefix.len();
            let mut rest = self
                .keys
                .iter()
                .filter(|key| key.starts_with(&query.prefix) && **key > after)
                .filter(longer);
            let listed = |key: &String| Listed {
                key: key.clone(),
                size: 1,
                etag: None,
                modified: None,
            };
            let objects: Vec<Listed> = rest.by_ref().take(self.page).map(listed).collect();
            let next = rest
                .next()
                .and(objects.last().map(|object| object.key.clone()));
            Ok(Page {
                objects,
                folders: Vec::new(),
                next,
            })
        }
    }

    fn run(
        keys: &LakeOfKeys,
        root: &str,
        layout: &Layout,
        range: Option<DateRange>,
        strategy: Strategy,
    ) -> SearchOutcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime
            .block_on(search(keys, root, layout, range, strategy))
            .expect("found")
    }

    fn paths(outcome: &SearchOutcome) -> Vec<String> {
        let mut paths: Vec<String> = outcome
            .partitions
            .values()
            .flatten()
            .map(|object| object.key.clone())
            .collect();
        paths.sort();
        paths
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_strategy_finds_what_a_filter_finds(
            template in prop::sample::select(vec!["dt=%Y-%m-%d", "%Y/%m/%d", "%d-%m-%Y", "%Y/%-m/%-d", "%Y/%j.csv", "a/%Y%m%d", "files/%Y%m%d", "files/%Y/%-m-%-d"]),
            days in prop::collection::btree_map(0u64..900, 1usize..9, 0..120),
            start in 0u64..900, len in 0u64..400, page in 1usize..20,
            root in prop::sample::select(vec!["", "raw", "deep/raw"]),
        ) {
            let layout = Layout::parse(template).expect("a layout");
            let day = |n: u64| date("2019-06-01") + chrono::Days::new(n);
            let range = DateRange::new(day(start), day(start + len)).expect("a range");
            let at = |path: String| if root.is_empty() { path } else { format!("{root}/{path}") };
            let is_file = template.ends_with(".csv") || template.starts_with("files/");
            let mut keys = vec![at("_asof/x".into()), at("zz/other".into()), "raw-2/dt=2020-01-01/a".to_owned()];
            let mut expected = Vec::new();
            for (n, files) in &days {
                for file in 0..if is_file { 1 } else { *files } {
                    let key = at(if is_file { layout.path(day(*n)) } else { format!("{}/part-{file}", layout.path(day(*n))) });
                    if range.contains(day(*n)) { expected.push(key.clone()); }
                    keys.push(key);
                }
                if !is_file { keys.push(at(format!("{}/_SUCCESS", layout.path(day(*n))))); }
            }
            keys.sort();
            expected.sort();
            for begins_after in [true, false] {
                let keys = LakeOfKeys { keys: keys.clone(), page, begins_after };
                for strategy in [Strategy::Guided, Strategy::Paths, Strategy::Listing] {
                    let outcome = run(&keys, root, &layout, Some(range), strategy);
                    prop_assert_eq!(&paths(&outcome), &expected, "{:?}", strategy);
                    prop_assert!(outcome.partitions.values().flatten().count() == expected.len());
                }
            }
        }
    }

    /// A lake with this many objects on each day of so many years up to 2024.
    fn lake(layout: &Layout, years: i32, objects: impl Fn(u64) -> usize) -> LakeOfKeys {
        let first = NaiveDate::from_ymd_opt(2025 - years, 1, 1).expect("a date");
        let mut keys = Vec::new();
        for (n, day) in (0..).zip(
            first
                .iter_days()
                .take_while(|day| *day < date("2025-01-01")),
        ) {
            let from_the_end = (date("2025-01-01") - day).num_days() as u64;
            let _ = n as u64;
            keys.extend(
                (0..objects(from_the_end)).map(|file| format!("{}/{file:05}", layout.path(day))),
            );
        }
        keys.sort();
        LakeOfKeys {
            keys,
            page: PAGE,
            begins_after: true,
        }
    }

    #[test]
    fn requests_depend_on_the_range_and_not_on_the_age_of_the_lake() {
        let layout = Layout::parse("year=%Y/month=%m/day=%d").expect("a layout");
        let objects = |day: u64| usize::try_from(day * 7919 % 60).expect("small");
        let young = lake(&layout, 1, objects);
        let old = lake(&layout, 8, objects);
        for days in [1, 7, 30, 90, 365] {
            let range = DateRange::new(
                date("2024-12-28") - chrono::Days::new(days - 1),
                date("2024-12-28"),
            )
            .expect("a range");
            let one = run(&young, "", &layout, Some(range), Strategy::Guided);
            let other = run(&old, "", &layout, Some(range), Strategy::Guided);
            let found: usize = one.partitions.values().map(Vec::len).sum();
            assert_eq!(one.requests, other.requests, "{days} days");
            let floor = found.div_ceil(PAGE) as f64;
            assert!(
                one.requests as f64 <= 1.2 * floor + 3.0,
                "{days} days: {} requests for {found} objects",
                one.requests
            );
        }
    }

    #[test]
    fn a_long_range_is_listed_in_parallel() {
        let layout = Layout::parse("d=%Y-%m-%d").expect("a layout");
        let keys = lake(&layout, 1, |_| 500);
        let range = DateRange::new(date("2024-01-02"), date("2024-12-30")).expect("a range");
        let outcome = run(&keys, "", &layout, Some(range), Strategy::Guided);
        let floor = outcome
            .partitions
            .values()
            .map(Vec::len)
            .sum::<usize>()
            .div_ceil(PAGE) as u64;
        assert!(
            outcome.requests > floor && outcome.requests as f64 <= 1.2 * floor as f64 + 3.0,
            "{} of {floor}",
            outcome.requests
        );
    }

    #[test]
    fn markers_of_folders_are_no_data_and_empty_files_are() {
        let listed = |key: &str, size| Listed {
            key: key.to_owned(),
            size,
            etag: None,
            modified: None,
        };
        let left = |objects: &[(&str, u64)]| {
            let mut objects: Vec<Listed> = objects
                .iter()
                .map(|(key, size)| listed(key, *size))
                .collect();
            without_markers(&mut objects, 1, "raw/");
            objects
                .into_iter()
                .map(|object| object.key)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            left(&[("raw/2024.01.01", 0), ("raw/2024.01.01/a", 1)]),
            ["raw/2024.01.01/a"]
        );
        assert_eq!(
            left(&[("raw/d=1/h=3", 0), ("raw/d=1/h=3/a", 1)]),
            ["raw/d=1/h=3/a"]
        );
        assert_eq!(left(&[("raw/2024.01.01", 0)]), Vec::<String>::new());
        assert_eq!(left(&[("raw/2024-01-01.csv", 0)]), ["raw/2024-01-01.csv"]);
        assert_eq!(left(&[("raw/d=1/part-00000", 0)]), ["raw/d=1/part-00000"]);
    }

    /// A store that lists in any order, and begins where it likes.
    struct Disorder(LakeOfKeys);

    #[async_trait]
    impl Pages for Disorder {
        fn begins_after(&self) -> bool {
            true
        }

        async fn page(&self, query: PageQuery) -> object_store::Result<Page> {
            let mut page = self
                .0
                .page(PageQuery {
                    after: None,
                    ..query
                })
                .await?;
            page.objects.reverse();
            Ok(page)
        }
    }

    #[test]
    fn a_store_that_lists_in_no_order_is_listed_whole() {
        let layout = Layout::parse("d=%Y-%m-%d").expect("a layout");
        let keys = lake(&layout, 1, |_| 7);
        let range = DateRange::new(date("2024-03-01"), date("2024-03-09")).expect("a range");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let outcome = runtime
            .block_on(search(
                &Disorder(keys),
                "",
                &layout,
                Some(range),
                Strategy::Guided,
            ))
            .expect("found");
        assert_eq!(
            (
                outcome.partitions.len(),
                outcome.partitions.values().flatten().count()
            ),
            (9, 63)
        );
        assert!(
            outcome
                .scattered
                .expect("it is said")
                .contains("in byte order")
        );
    }

    #[test]
    fn a_layout_out_of_order_says_so() {
        let layout = Layout::parse("%d-%m-%Y").expect("a layout");
        let keys = lake(&layout, 1, |_| 1);
        let range = DateRange::new(date("2024-03-01"), date("2024-03-03")).expect("a range");
        let outcome = run(&keys, "", &layout, Some(range), Strategy::Guided);
        assert_eq!((outcome.partitions.len(), outcome.requests), (3, 3));
        let said = outcome.scattered.expect("it is said");
        assert_eq!(
            said,
            "paths of layout '%d-%m-%Y' do not sort by date, so this range is in 3 places"
        );
    }
}
