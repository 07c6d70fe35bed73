//! The guided search: pages of listings, in parallel, and no more of them than a range of dates
//! needs.
//!
//! What is asked for are the keys of the range and no others ([`crate::domain::key_spans`]).
//!
//! **In parallel.** A listing is a chain: the next page is known when this one has come. So a long
//! range is cut into spans that are listed at the same time. Each cut may cost one page that is not
//! full, so a cut is made only when the pages seen so far pay for it: the extra requests stay under
//! 15 % of the full ones, plus two, whatever the range holds. Which is to say: requests ≤ 1.15 ×
//! ceil(objects / page) + 3.
//!
//! Where a service cannot begin after a key (Azure), the range's prefixes are listed in parallel
//! instead, a page each at least.

use chrono::NaiveDate;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::domain::key_spans::{KeySpan, is_in_order, prefixes, spans};
use crate::domain::layout::Layout;
use crate::model::DateRange;
use crate::storage::object_store::azure_listing::listable;
use crate::storage::object_store::listing::{PAGE, Page, PageQuery, Pages};
use crate::storage::object_store::search_outcome::{Ground, SearchOutcome};

/// How many extra requests the cuts of a search may cost, of the full pages seen.
const CUT_SHARE: f64 = 0.15;
/// The most listings at a time.
const SIDE_BY_SIDE: usize = 16;

/// Lists the keys of the range. `false` if the store does not list them in order, so that nothing
/// can be told by it.
pub(super) async fn guided(
    pages: &dyn Pages,
    ground: &Ground<'_>,
    range: DateRange,
    outcome: &mut SearchOutcome,
) -> object_store::Result<bool> {
    let mut waiting = first_listings(pages, ground, range);
    if !is_in_order(ground.layout) {
        outcome.scattered = Some(why_scattered(ground.layout, waiting.len()));
    }
    if waiting.is_empty() {
        outcome.list(pages, ground, ground.query("")).await?;
        return Ok(true);
    }
    waiting.reverse();
    let mut under_way = FuturesUnordered::new();
    let mut cuts = Cuts::default();
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
        let is_ended = listing.leave_out_later_keys(&mut page, &ground.root);
        cuts.objects += page.objects.len();
        let reached = outcome.take(page.objects, ground);
        let Some(next) = page.next.filter(|_| !is_ended) else {
            continue;
        };
        listing.query.token = Some(next);
        cuts.full_pages += 1;
        if under_way.len() + waiting.len() + 1 < SIDE_BY_SIDE
            && let Some(reached) = reached
        {
            waiting.extend(cuts.cut(&mut listing, reached, ground, outcome));
        }
        waiting.push(listing);
    }
}

/// A listing under way.
struct RangeListing {
    query: PageQuery,
    /// The span that is listed; none for the listing of a prefix, which has its own end.
    span: Option<KeySpan>,
}

impl RangeListing {
    fn of_span(ground: &Ground<'_>, span: KeySpan) -> Self {
        RangeListing {
            query: PageQuery {
                after: Some(format!("{}{}", ground.root, span.after())),
                ..ground.query(span.prefix())
            },
            span: Some(span),
        }
    }

    /// Takes the objects after the end of the span away from a page, and says whether there were
    /// any.
    fn leave_out_later_keys(&self, page: &mut Page, root: &str) -> bool {
        let Some(span) = &self.span else {
            return false;
        };
        let within = page.objects.partition_point(|object| {
            let path = object.key.strip_prefix(root);
            path.is_none_or(|path| !span.is_past(path))
        });
        let is_past = within < page.objects.len();
        page.objects.truncate(within);
        is_past
    }
}

/// The listings that a range begins with, in the order of their keys.
fn first_listings(pages: &dyn Pages, ground: &Ground<'_>, range: DateRange) -> Vec<RangeListing> {
    if pages.begins_after() {
        let spans = spans(ground.layout, range).into_iter();
        return spans
            .map(|span| RangeListing::of_span(ground, span))
            .collect();
    }
    let prefixes = prefixes(ground.layout, range).into_iter();
    let mut listings: Vec<RangeListing> = prefixes
        .map(|prefix| RangeListing {
            query: ground.query(&listable(pages, ground.layout, prefix)),
            span: None,
        })
        .collect();
    listings.dedup_by(|one, other| one.query.prefix == other.query.prefix);
    listings
}

fn why_scattered(layout: &Layout, listings: usize) -> String {
    format!(
        "paths of layout '{layout}' do not sort by date, so this range {}",
        match listings {
            0 => "is found by listing everything".to_owned(),
            1 => "is found only because it happens to be one run of keys".to_owned(),
            _ => format!("is in {listings} places"),
        }
    )
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

/// How often spans were cut, and what was seen of the range, by which what is left is judged.
#[derive(Default)]
struct Cuts {
    made: u32,
    full_pages: u32,
    objects: usize,
}

impl Cuts {
    /// Cuts what is left of a listing in two, if that is worth a request; returns the later part.
    fn cut(
        &mut self,
        listing: &mut RangeListing,
        reached: NaiveDate,
        ground: &Ground<'_>,
        outcome: &SearchOutcome,
    ) -> Option<RangeListing> {
        let span = listing.span.as_ref()?;
        let is_paid_for = f64::from(self.made) < 1.0 + CUT_SHARE * f64::from(self.full_pages);
        if !is_paid_for || !is_worth_a_cut(span, self.objects, outcome.partitions.len()) {
            return None;
        }
        let (near, far) = span.cut(ground.layout, reached)?;
        self.made += 1;
        listing.span = Some(near);
        Some(RangeListing::of_span(ground, far))
    }
}

/// Whether a span is likely to hold at least two more pages, by the partitions seen so far.
fn is_worth_a_cut(span: &KeySpan, objects: usize, dates: usize) -> bool {
    let a_date = objects as f64 / dates.max(1) as f64;
    a_date * span.days() as f64 >= 2.0 * PAGE as f64
}
