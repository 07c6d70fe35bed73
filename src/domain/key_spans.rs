//! The spans of keys of an object store that can hold the dates of a range, as narrow as can be.
//!
//! An object store has no folders, only keys in the order of their bytes, and two ways to narrow a
//! listing: begin after a key, or begin with a string. Under a layout whose paths sort as their
//! dates do, the objects of a range are therefore one run of keys ([`KeySpan`]), whatever lies
//! before and after it; and where a service cannot begin after a key, a few strings cover them
//! exactly ([`prefixes`]): `2024-01-05`, …, `2024-01-1`, `2024-01-2`, `2024-02`. Neither depends on
//! how many partitions there are outside of the range.
//!
//! A layout whose order is not that of time (`%d-%m-%Y`), or whose numbers are not padded
//! (`%Y/%-m/%-d`), scatters a range over several runs, up to one a date. They are found by sorting
//! the paths of the range among those of the dates around it, and are right for every layout: a key
//! between two runs belongs to no date of the range.
//!
//! Invariants, which the tests compare with brute force: every key below the path of a date of the
//! range lies in exactly one span, and begins with exactly one prefix. Under an order that is not
//! that of time, a prefix may hold keys of other dates too, and anybody's keys may lie anywhere:
//! whoever runs the search looks at each key's own date.

use chrono::{Datelike, Days, NaiveDate};

use super::layout::Layout;
use crate::model::DateRange;

/// The most dates whose paths are sorted one by one; of more, under a layout that is not in order,
/// everything is listed.
const SCATTERED_DATES: usize = 4_000;
/// How many days around a range are looked at for paths that fall between those of the range.
const AROUND: u64 = 800;

/// A run of keys: all below `root` from the path of `first` to the end of that of `last`, in the
/// order of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpan {
    first: String,
    last: String,
    /// Whether the names of a date go on behind its path, and not only below it.
    is_open: bool,
    /// The dates of the span, where its keys are in their order, so that it can be cut in two.
    dates: Option<DateRange>,
}

impl KeySpan {
    /// What every key of the span begins with, as a string: it need not end at a `/`.
    pub fn prefix(&self) -> &str {
        let same = self
            .first
            .bytes()
            .zip(self.last.bytes())
            .take_while(|(one, other)| one == other)
            .count();
        let end = (0..=same)
            .rev()
            .find(|end| self.first.is_char_boundary(*end))
            .unwrap_or(0);
        &self.first[..end]
    }

    /// A string that sorts before every key of the span and after, as good as, every key before it:
    /// what a listing begins after, the string itself left out. Empty if there is none.
    pub fn after(&self) -> String {
        // The last letter made one smaller, and then something large: nothing of use lies between
        // that and the path.
        let mut letters = self.first.chars();
        match letters.next_back() {
            Some(letter) if letter.is_ascii() && letter > ' ' => {
                format!("{}{}~", letters.as_str(), char::from(letter as u8 - 1))
            }
            _ => letters.as_str().to_owned(),
        }
    }

    /// Whether a key, given that it is not before the span, lies past its end.
    pub fn is_past(&self, key: &str) -> bool {
        // What lies below the last path goes on with a `/`; what goes on with more sorts after all
        // of it.
        match key.strip_prefix(self.last.as_str()) {
            Some(rest) => {
                !self.is_open && rest.as_bytes().first().is_some_and(|letter| *letter > b'/')
            }
            None => key > self.last.as_str(),
        }
    }

    /// How many dates the span may still be cut into, if it can be cut at all.
    pub fn days(&self) -> usize {
        self.dates.map_or(1, |dates| dates.len())
    }

    /// Cuts the span, of which everything before `reached` is listed already, in two halves of
    /// about as many dates each: what follows, and the far one. `None` if fewer than two dates are
    /// left, or the span cannot be cut.
    pub fn cut(&self, layout: &Layout, reached: NaiveDate) -> Option<(KeySpan, KeySpan)> {
        let dates = self.dates?;
        let from = reached.max(dates.from());
        let left = DateRange::new(from, dates.to()).ok()?.len();
        let middle = from
            .checked_add_days(Days::new(left as u64 / 2))
            .filter(|middle| left >= 2 && *middle > from)?;
        let near = DateRange::new(dates.from(), middle.pred_opt()?).ok()?;
        let far = DateRange::new(middle, dates.to()).ok()?;
        Some((span_of(layout, near), span_of(layout, far)))
    }
}

/// The span of dates whose paths are in order.
fn span_of(layout: &Layout, dates: DateRange) -> KeySpan {
    KeySpan {
        first: layout.path(dates.from()),
        last: layout.path(dates.to()),
        is_open: layout.has_tail(),
        dates: Some(dates),
    }
}

/// Whether paths sort as their dates do. Looked up on some years of dates, which hold everything
/// that a layout can do with months, days, weeks and a new decade.
pub fn is_in_order(layout: &Layout) -> bool {
    let years = [(1999, 730), (2008, 1_100)];
    years
        .iter()
        .filter_map(|(year, days)| Some((NaiveDate::from_ymd_opt(*year, 1, 1)?, *days)))
        .all(|(from, days)| {
            let mut before = layout.path(from);
            from.iter_days().skip(1).take(days).all(|date| {
                let path = layout.path(date);
                // Of months and years, the days of one have the same path.
                let ascends = before.len() == path.len()
                    && (before < path || before == path && layout.date(&path) != Some(date));
                before = path;
                ascends
            })
        })
}

/// The runs of keys that hold a range: one if the layout's order is that of time. Empty if the
/// range has too many dates for its layout: then everything is to be listed.
pub fn spans(layout: &Layout, range: DateRange) -> Vec<KeySpan> {
    let Some(range) = within_four_digits(range) else {
        return Vec::new();
    };
    if is_in_order(layout) {
        return vec![span_of(layout, range)];
    }
    let mut spans: Vec<KeySpan> = Vec::new();
    let mut open = false;
    for (path, inside) in sorted_around(layout, range) {
        match spans.last_mut() {
            Some(span) if inside && open => span.last = path,
            _ if inside => spans.push(KeySpan {
                first: path.clone(),
                last: path,
                is_open: layout.has_tail(),
                dates: None,
            }),
            _ => {}
        }
        open = inside;
    }
    spans
}

/// The strings that the keys of a range begin with, and those of no other date: for services that
/// cannot begin a listing after a key. Empty as for [`spans`].
pub fn prefixes(layout: &Layout, range: DateRange) -> Vec<String> {
    let Some(range) = within_four_digits(range) else {
        return Vec::new();
    };
    if !is_in_order(layout) {
        let mut paths = sorted_around(layout, range);
        paths.retain(|(_, inside)| *inside);
        // `2024/3/1` covers `2024/3/10` already.
        paths.dedup_by(|(path, _), (before, _)| path.starts_with(before.as_str()));
        return paths.into_iter().map(|(path, _)| path).collect();
    }
    // Dates with one prefix are neighbours: it is exact if neither neighbour of the range has it.
    let outside: Vec<String> = [range.from().pred_opt(), range.to().succ_opt()]
        .into_iter()
        .flatten()
        .filter(has_four_digits)
        .map(|date| layout.path(date))
        .collect();
    let mut prefixes = Vec::new();
    let mut next = Some(range.from());
    while let Some(date) = next.filter(|date| *date <= range.to()) {
        let path = layout.path(date);
        let exact = |prefix: &str| !outside.iter().any(|other| other.starts_with(prefix));
        let length = (1..path.len())
            .find(|end| path.is_char_boundary(*end) && exact(&path[..*end]))
            .unwrap_or(path.len());
        let prefix = &path[..length];
        // The last date of the range with this prefix, by halving.
        let mut has = date;
        let mut has_not = range.to().succ_opt();
        while let Some(end) = has_not
            && (end - has).num_days() > 1
        {
            let middle = has + (end - has) / 2;
            if layout.path(middle).starts_with(prefix) {
                has = middle
            } else {
                has_not = Some(middle)
            }
        }
        prefixes.push(prefix.to_owned());
        next = has.succ_opt();
    }
    prefixes
}

/// Whether a layout can hold a date.
fn has_four_digits(date: &NaiveDate) -> bool {
    (0..10_000).contains(&date.year())
}

/// The dates of a range that a layout can hold.
fn within_four_digits(range: DateRange) -> Option<DateRange> {
    let first = NaiveDate::from_ymd_opt(0, 1, 1)?;
    let last = NaiveDate::from_ymd_opt(9999, 12, 31)?;
    DateRange::new(range.from().max(first), range.to().min(last)).ok()
}

/// The paths of a range and of the dates around it, sorted, each with whether it is of the range.
fn sorted_around(layout: &Layout, range: DateRange) -> Vec<(String, bool)> {
    if range.len() > SCATTERED_DATES {
        return Vec::new();
    }
    let from = range
        .from()
        .checked_sub_days(Days::new(AROUND))
        .unwrap_or(range.from());
    let days = range.len() + 2 * AROUND as usize;
    let mut paths: Vec<(String, bool)> = from
        .iter_days()
        .take(days)
        .map(|date| (layout.path(date), range.contains(date)))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_date;

    const ORDERED: [&str; 6] = [
        "snapshot_date=%Y-%m-%d",
        "year=%Y/month=%m/day=%d",
        "%Y/%m/items_%Y%m%d.csv.gz",
        "%Y/%j",
        "%G-W%V/%u",
        "x/%F",
    ];
    const SCATTERED: [&str; 5] = [
        "%d-%m-%Y",
        "%Y/%-m/%-d",
        "%m/%d/%Y",
        "%Y-%b-%d",
        "y=%Y/%d/%m.csv",
    ];

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn range(from: &str, to: &str) -> DateRange {
        DateRange::new(date(from), date(to)).expect("a range")
    }

    fn layout(template: &str) -> Layout {
        Layout::parse(template).expect(template)
    }

    #[test]
    fn an_order_of_time_is_told_from_others() {
        assert!(
            ORDERED
                .iter()
                .all(|template| is_in_order(&layout(template)))
        );
        assert!(
            SCATTERED
                .iter()
                .all(|template| !is_in_order(&layout(template)))
        );
    }

    #[test]
    fn a_range_is_one_span_and_a_few_prefixes_however_old_the_lake_is() {
        let days = layout("year=%Y/month=%m/day=%d");
        let asked = range("2024-01-05", "2024-02-10");
        let [span] = spans(&days, asked).try_into().expect("one span");
        assert_eq!(span.prefix(), "year=2024/month=0");
        assert_eq!(span.after(), "year=2024/month=01/day=04~");
        assert!(
            span.is_past("year=2024/month=02/day=11/a")
                && !span.is_past("year=2024/month=02/day=10/a")
        );
        let dates = layout("d=%Y-%m-%d");
        let found = prefixes(&dates, asked);
        let expected: Vec<&str> =
            "d=2024-01-05 d=2024-01-06 d=2024-01-07 d=2024-01-08 d=2024-01-09 d=2024-01-1 \
             d=2024-01-2 d=2024-01-3 d=2024-02-0 d=2024-02-10"
                .split(' ')
                .collect();
        assert_eq!(found, expected);
        assert_eq!(
            prefixes(&dates, range("2024-01-01", "2024-12-31")),
            ["d=2024"]
        );
        let every = NaiveDate::from_ymd_opt(0, 1, 1).expect("a date");
        let every = DateRange::new(every, date("9999-12-31")).expect("a range");
        assert_eq!(prefixes(&dates, every), ["d"]);
    }

    #[test]
    fn unpadded_numbers_scatter_a_range_and_not_a_month() {
        let unpadded = layout("%Y/%-m/%-d");
        let firsts = |from, to| {
            spans(&unpadded, range(from, to))
                .iter()
                .map(|span| (span.first.clone(), span.last.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            firsts("2024-03-01", "2024-03-31"),
            [("2024/3/1".to_owned(), "2024/3/9".to_owned())]
        );
        assert_eq!(
            firsts("2024-03-08", "2024-03-11"),
            [
                ("2024/3/10".to_owned(), "2024/3/11".to_owned()),
                ("2024/3/8".to_owned(), "2024/3/9".to_owned())
            ]
        );
    }

    #[test]
    fn a_cut_leaves_nothing_out() {
        let days = layout("%Y/%m/%d");
        let [whole] = spans(&days, range("2024-01-01", "2024-01-10"))
            .try_into()
            .expect("one span");
        let (near, far) = whole
            .cut(&days, date("2024-01-03"))
            .expect("eight dates are left");
        assert_eq!(
            (near.last.as_str(), far.first.as_str(), far.last.as_str()),
            ("2024/01/06", "2024/01/07", "2024/01/10")
        );
        assert!(
            whole.cut(&days, date("2024-01-10")).is_none(),
            "one date is left"
        );
    }

    fn holds(span: &KeySpan, key: &str) -> bool {
        key > span.after().as_str() && !span.is_past(key) && key.starts_with(span.prefix())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn every_key_of_the_range_is_in_one_span_and_under_one_prefix(
            template in prop::sample::select(ORDERED.iter().chain(&SCATTERED).copied().collect::<Vec<_>>()),
            start in 0u64..8000, len in 0u64..500, tail in prop::sample::select(vec!["", "/a", "/part-0.parquet", "/~", "/ "]),
            offset in 0u64..9000,
        ) {
            let layout = layout(template);
            let day = |n: u64| date("1998-06-01") + Days::new(n);
            let asked = DateRange::new(day(start), day(start + len)).expect("a range");
            let spans = spans(&layout, asked);
            let prefixes = prefixes(&layout, asked);
            for at in [day(start), day(start + len), day(start + len / 2), day(offset)] {
                let key = format!("{}{tail}", layout.path(at));
                let in_spans = spans.iter().filter(|span| holds(span, &key)).count();
                let under = prefixes.iter().filter(|prefix| key.starts_with(prefix.as_str())).count();
                if asked.contains(at) {
                    prop_assert_eq!((in_spans, under), (1, 1), "{}", key);
                } else {
                    prop_assert_eq!(in_spans, 0, "{} lies outside", key);
                    prop_assert!(under == 0 || under == 1 && !is_in_order(&layout), "{} lies \
                     outside", key);
                }
            }
        }
    }
}
