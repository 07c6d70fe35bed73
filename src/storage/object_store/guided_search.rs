//! Runs a search over an object store: pages of listings, in parallel, and no more of them than
//! the range needs.
//!
//! | strategy | what it asks | requests |
//! | --- | --- | --- |
//! | [`Strategy::Guided`] | the keys of the range and no others ([`crate::domain::search`]) | about as many as pages hold the range's objects |
//! | [`Strategy::Paths`] | each date's path in turn | one a date at least, each waiting for the one before |
//! | [`Strategy::Listing`] | everything below the root, and filters | as many as pages hold the whole lake |
//!
//! The last two are what people do by hand; they are there to be compared with.
//!
//! **In parallel.** A listing is a chain: the next page is known when this one has come. So a long
//! range is cut into spans that are listed at the same time. Each cut may cost one page that is not
//! full, so a cut is made only when the pages seen so far pay for it: the extra requests stay under
//! 15 % of the full ones, plus two, whatever the range holds. Which is to say: requests ≤ 1.15 ×
//! ceil(objects / page) + 3.
//!
//! Where a service cannot begin after a key (Azure), the range's prefixes are listed in parallel
//! instead, a page each at least.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::domain::file_names::{TableFormat, is_data};
use crate::domain::layout::Layout;
use crate::domain::search::{KeySpan, prefixes, spans};
use crate::model::DateRange;
use crate::storage::object_store::listing::{Listed, PAGE, Page, PageQuery, Pages};

/// How many extra requests the cuts of a search may cost, of the full pages seen.
const CUT_SHARE: f64 = 0.15;
/// The most listings at a time.
const SIDE_BY_SIDE: usize = 16;

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
struct Ground<'a> {
    layout: &'a Layout,
    /// What keys begin with; ends with `/`, or is empty.
    root: String,
    range: Option<DateRange>,
}

impl Ground<'_> {
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

    /// Takes a page's objects; returns the date that the last of them lies at or after.
    fn take(&mut self, objects: Vec<Listed>, ground: &Ground<'_>) -> Option<NaiveDate> {
        let mut reached = None;
        for object in objects {
            match ground.date_of(&object.key) {
                (Some(date), _) => {
                    reached = Some(date);
                    if object.key.ends_with(".metadata.json") {
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
                        && self.unrecognized_paths.len() < 5
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
    let root = if root.is_empty() {
        String::new()
    } else {
        format!("{}/", root.trim_end_matches('/'))
    };
    let ground = Ground {
        layout,
        root,
        range,
    };
    let mut outcome = SearchOutcome::default();
    match (strategy, range) {
        (Strategy::Guided, Some(range)) => {
            if !guided(pages, &ground, range, &mut outcome).await? {
                outcome = SearchOutcome {
                    requests: outcome.requests,
                    ..SearchOutcome::default()
                };
                outcome.scattered = Some(
                    "this store does not list keys in the order of their bytes, so that \
                     everything is listed"
                        .to_owned(),
                );
                list(
                    pages,
                    &ground,
                    PageQuery {
                        prefix: ground.root.clone(),
                        ..PageQuery::default()
                    },
                    &mut outcome,
                )
                .await?;
            }
        }
        (Strategy::Paths, Some(range)) => {
            for date in range.dates() {
                let path = format!(
                    "{}{}",
                    ground.root,
                    listable(pages, layout, layout.path(date))
                );
                let mut found = SearchOutcome::default();
                list(
                    pages,
                    &ground,
                    PageQuery {
                        prefix: path,
                        ..PageQuery::default()
                    },
                    &mut found,
                )
                .await?;
                outcome.requests += found.requests;
                // `2024/3/1` is how `2024/3/10` begins, too.
                outcome
                    .partitions
                    .extend(found.partitions.remove_entry(&date));
            }
        }
        (Strategy::Listing, _) | (_, None) => {
            list(
                pages,
                &ground,
                PageQuery {
                    prefix: ground.root.clone(),
                    ..PageQuery::default()
                },
                &mut outcome,
            )
            .await?;
        }
    }
    if let (false, Some(range), Strategy::Guided | Strategy::Paths) =
        (pages.begins_after(), range, strategy)
    {
        let listed = match strategy {
            Strategy::Paths => range.dates().map(|date| layout.path(date)).collect(),
            _ => prefixes(layout, range),
        };
        files_named_by_dates(pages, &ground, &listed, &mut outcome).await?;
    }
    for objects in outcome.partitions.values_mut() {
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        // Two runs of keys may have the same path in them, if a path is of more than a day.
        objects.dedup_by(|one, other| one.key == other.key);
        without_markers(objects, layout.depth(), &ground.root);
    }
    outcome.partitions.retain(|_, objects| !objects.is_empty());
    Ok(outcome)
}

/// A prefix whose listing has the object that has it as its whole name. Azure's client leaves that
/// one out, so a letter is taken from the path of a file (`01-03-2024.csv`); what else that finds
/// is of another date, or of none.
fn listable(pages: &dyn Pages, layout: &Layout, mut prefix: String) -> String {
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
async fn files_named_by_dates(
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

/// Lists all that a query asks for, page after page.
async fn list(
    pages: &dyn Pages,
    ground: &Ground<'_>,
    mut query: PageQuery,
    outcome: &mut SearchOutcome,
) -> object_store::Result<()> {
    loop {
        outcome.requests += 1;
        let page = pages.page(query.clone()).await?;
        outcome.take(page.objects, ground);
        match page.next {
            Some(next) => query.token = Some(next),
            None => return Ok(()),
        }
    }
}

/// A listing under way.
struct Listing {
    query: PageQuery,
    /// What it is of; nothing if it is of a prefix, which has its own end.
    span: Option<KeySpan>,
}

/// Whether the objects of a page of a span come after where it begins, in the order of their keys.
fn keeps_order(page: &Page, query: &PageQuery) -> bool {
    // Markers of folders come without the `/` by which they were put in order.
    let mut keys = page
        .objects
        .iter()
        .filter(|object| object.size > 0)
        .map(|object| &object.key)
        .peekable();
    keys.peek()
        .zip(query.after.as_ref())
        .is_none_or(|(first, after)| **first > *after)
        && keys.is_sorted_by(|one, other| one < other)
}

/// Lists the keys of the range. `false` if the store does not list them in order, so that nothing
/// can be told by it.
async fn guided(
    pages: &dyn Pages,
    ground: &Ground<'_>,
    range: DateRange,
    outcome: &mut SearchOutcome,
) -> object_store::Result<bool> {
    let below = |text: &str| format!("{}{text}", ground.root);
    let of_span = |span: KeySpan| Listing {
        query: PageQuery {
            prefix: below(span.prefix()),
            after: Some(below(&span.after())),
            ..PageQuery::default()
        },
        span: Some(span),
    };
    let mut waiting: Vec<Listing> = if pages.begins_after() {
        spans(ground.layout, range)
            .into_iter()
            .map(of_span)
            .collect()
    } else {
        let of_prefix = |prefix: String| Listing {
            query: PageQuery {
                prefix: below(&listable(pages, ground.layout, prefix)),
                ..PageQuery::default()
            },
            span: None,
        };
        let mut listings: Vec<Listing> = prefixes(ground.layout, range)
            .into_iter()
            .map(of_prefix)
            .collect();
        listings.dedup_by(|one, other| one.query.prefix == other.query.prefix);
        listings
    };
    if !crate::domain::search::is_in_order(ground.layout) {
        let listings = waiting.len();
        outcome.scattered = Some(format!(
            "paths of layout '{}' do not sort as their dates do, so this range {}",
            ground.layout,
            match listings {
                0 => "is found by listing everything".to_owned(),
                1 => "is found only because it happens to be one run of keys".to_owned(),
                _ => format!("is in {listings} places"),
            }
        ));
    }
    if waiting.is_empty() {
        list(
            pages,
            ground,
            PageQuery {
                prefix: ground.root.clone(),
                ..PageQuery::default()
            },
            outcome,
        )
        .await?;
        return Ok(true);
    }
    waiting.reverse();
    let mut under_way = FuturesUnordered::new();
    let mut full_pages = 0u32;
    let mut cuts = 0u32;
    // Objects and dates seen of the range, by which what is left is judged.
    let mut objects_seen = 0usize;
    loop {
        while under_way.len() < SIDE_BY_SIDE
            && let Some(listing) = waiting.pop()
        {
            outcome.requests += 1;
            under_way.push(async move {
                let page = pages.page(listing.query.clone()).await;
                (listing, page)
            });
        }
        let Some((mut listing, page)) = under_way.next().await else {
            return Ok(true);
        };
        let mut page = page?;
        if listing.span.is_some() && !keeps_order(&page, &listing.query) {
            return Ok(false);
        }
        let ended = match &listing.span {
            Some(span) => {
                let within = page.objects.partition_point(|object| {
                    object
                        .key
                        .strip_prefix(ground.root.as_str())
                        .is_none_or(|path| !span.is_past(path))
                });
                let is_past = within < page.objects.len();
                page.objects.truncate(within);
                is_past
            }
            None => false,
        };
        objects_seen += page.objects.len();
        let reached = outcome.take(page.objects, ground);
        let Some(next) = page.next.filter(|_| !ended) else {
            continue;
        };
        full_pages += 1;
        listing.query.token = Some(next);
        let may_cut = f64::from(cuts) < 1.0 + CUT_SHARE * f64::from(full_pages)
            && under_way.len() + waiting.len() + 1 < SIDE_BY_SIDE;
        if may_cut
            && let (Some(span), Some(reached)) = (&listing.span, reached)
            && is_worth_a_cut(span, objects_seen, outcome.partitions.len())
            && let Some((near, far)) = span.cut(ground.layout, reached)
        {
            cuts += 1;
            waiting.push(of_span(far));
            listing.span = Some(near);
        }
        waiting.push(listing);
    }
}

/// Whether a span is likely to hold at least two more pages, by the partitions seen so far.
fn is_worth_a_cut(span: &KeySpan, objects: usize, dates: usize) -> bool {
    let a_date = objects as f64 / dates.max(1) as f64;
    a_date * span.days() as f64 >= 2.0 * PAGE as f64
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    /// A lake of keys, in pages of a few.
    struct Keys {
        keys: Vec<String>,
        page: usize,
        begins_after: bool,
    }

    #[async_trait]
    impl Pages for Keys {
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
        keys: &Keys,
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
                let keys = Keys { keys: keys.clone(), page, begins_after };
                for strategy in [Strategy::Guided, Strategy::Paths, Strategy::Listing] {
                    let outcome = run(&keys, root, &layout, Some(range), strategy);
                    prop_assert_eq!(&paths(&outcome), &expected, "{:?}", strategy);
                    prop_assert!(outcome.partitions.values().flatten().count() == expected.len());
                }
            }
        }
    }

    /// A lake with this many objects on each day of so many years up to 2024.
    fn lake(layout: &Layout, years: i32, objects: impl Fn(u64) -> usize) -> Keys {
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
        Keys {
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
    struct Disorder(Keys);

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
                .contains("in the order of their bytes")
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
            "paths of layout '%d-%m-%Y' do not sort as their dates do, so this range is in 3 places"
        );
    }
}
