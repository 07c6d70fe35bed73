//! Compaction as a query of Spark: the same intervals that a pass over sorted copies gives.
//!
//! [`CompactionQuery::sql`] writes the query over two views that the caller makes:
//!
//! | view | its columns |
//! | --- | --- |
//! | copies | the table's columns in the types of the intervals, and the date of the copy |
//! | intervals | the columns of the intervals that are extended, in the same types |
//!
//! A column that a copy does not have is null there. Columns are known by their position within the
//! query, so no name of the table clashes with one of the query's own.
//!
//! **Rules.** Rows of a key are looked at in order of their dates. A row opens an interval in three
//! cases: it is the first of its key, the copy before it does not have the key, or a compared value
//! differs. Spark's `<=>` and [`super::digest`] agree on when values differ, within lists and
//! structs too. Maps have no `<=>`, so lists of their entries are compared. The row that opens an
//! interval gives all of its values.
//!
//! **Cost.** The copies and the open intervals are shuffled once, by the key, and sorted once.
//! Intervals that have ended go past that. What is left is shuffled for the order of the result.
//! Spark looks for the bounds of that order by running its input, so the rows of the intervals are
//! put behind a shuffle of their own: otherwise Spark would compare all copies twice.
//!
//! **What is verified.** The query fails if a key is null or if a copy has a key twice:
//! [`NULL_KEY`], [`DUPLICATE_KEY`].

use arrow::datatypes::{DataType, Field, Schema};
use chrono::NaiveDate;

use super::compared_columns::Comparison;
use super::gaps::GapPolicy;
use super::interval::Convention;
use super::type_names::type_name;
use crate::error::{Error, Result};

/// What the message of a failed query has before the key and its date if a column of it is null.
pub const NULL_KEY: &str = "asof: null in the key";
/// What the message of a failed query has before the key and its date if two rows have it.
pub const DUPLICATE_KEY: &str = "asof: duplicate key";

/// A compaction that Spark is to do; see the module.
#[derive(Clone, Copy, Debug)]
pub struct CompactionQuery<'a> {
    /// The table's columns, in the order and the types of the intervals.
    pub columns: &'a Schema,
    /// The key, and which of the other columns are compared.
    pub comparison: &'a Comparison,
    /// How ends are written.
    pub convention: &'a Convention,
    /// What a missing date means.
    pub policy: GapPolicy,
    /// Every observed date, ascending, with those of the intervals that are extended.
    pub observed: &'a [NaiveDate],
    /// The dates of the copies in the view, ascending. An observed date that is left out has the
    /// rows of the one before it.
    pub read: &'a [NaiveDate],
    /// The last date of the intervals that are extended, if any are. Those that begin later are
    /// left out, and those that end later are open.
    pub extended: Option<NaiveDate>,
    /// The names of the views.
    pub views: CompactionViews<'a>,
}

/// The views that a compaction reads.
#[derive(Clone, Copy, Debug)]
pub struct CompactionViews<'a> {
    /// The copies.
    pub copies: &'a str,
    /// The column of the copies that holds the date of each, of type DATE; see
    /// [`date_column`].
    pub date_column: &'a str,
    /// The intervals that are extended. Without any it is not read.
    pub intervals: &'a str,
}

/// A name for the column of dates that no column of the table has, in any case.
pub fn date_column(columns: &Schema) -> String {
    let mut name = "asof_observed_date".to_owned();
    let is_taken = |name: &str| {
        let mut fields = columns.fields().iter();
        fields.any(|field| field.name().eq_ignore_ascii_case(name))
    };
    while is_taken(&name) {
        name.push('_');
    }
    name
}

impl CompactionQuery<'_> {
    /// The query: its columns are those of the intervals, and its rows are in order of key and
    /// start.
    ///
    /// # Errors
    /// A refusal of a key that has a map. An internal failure if dates do not fit one another.
    pub fn sql(&self) -> Result<String> {
        let key = self.key_positions()?;
        let steps = Steps::new(self)?;
        let sources = self.sources();
        let steps_of_keys = self.steps_of_keys(&key);
        let opened = self.opened(&key, &steps);
        let intervals = self.intervals(&steps);
        let order = self.order();
        Ok(format!(
            "WITH\nseen AS (\n{sources}\n),\nstepped AS (\n{steps_of_keys}\n),\nopened AS \
             (\n{opened}\n)\n{intervals}\nORDER BY {order}"
        ))
    }

    /// The positions of the key's columns, in the order of the key.
    fn key_positions(&self) -> Result<Vec<usize>> {
        let position = |name: &String| {
            let at = self
                .columns
                .index_of(name)
                .map_err(|_| Error::internal(format!("there is no key column '{name}'")))?;
            let data_type = self.columns.field(at).data_type();
            if has_map(data_type) {
                return Err(Error::refused(format!(
                    "key column '{name}' is {}, and Spark has no order of maps",
                    type_name(data_type)
                )));
            }
            Ok(at)
        };
        self.comparison.key.iter().map(position).collect()
    }

    /// The rows of the copies, and of open intervals as those of the last date.
    fn sources(&self) -> String {
        let CompactionViews {
            copies,
            date_column,
            intervals,
        } = self.views;
        let names = || self.columns.fields().iter().map(|field| quoted(field.name()));
        let own: Vec<String> = names()
            .enumerate()
            .map(|(at, name)| format!("{name} AS {}", column(at)))
            .collect();
        let date = quoted(date_column);
        let mut sources = format!(
            "SELECT {}, {date} AS seen, {date} AS started FROM {}",
            own.join(", "),
            quoted(copies)
        );
        if let Some(last) = self.extended {
            let own: Vec<String> = names().collect();
            sources += &format!(
                "\nUNION ALL\nSELECT {}, {}, {} FROM {} WHERE {}",
                own.join(", "),
                literal(last),
                quoted(&self.convention.start_column),
                quoted(intervals),
                self.held_on(last, true)
            );
        }
        sources
    }

    /// The condition on the intervals that are extended: that they begin until a date, and hold on
    /// it or have ended before.
    fn held_on(&self, date: NaiveDate, holds: bool) -> String {
        let start = quoted(&self.convention.start_column);
        let end = quoted(&self.convention.end_column);
        let date = literal(date);
        let comparison = match (holds, self.convention.exclusive) {
            (true, false) => ">=",
            (true, true) => ">",
            (false, false) => "<",
            (false, true) => "<=",
        };
        let ends = if holds && self.convention.open_null {
            format!("({end} {comparison} {date} OR {end} IS NULL)")
        } else {
            format!("{end} {comparison} {date}")
        };
        format!("{start} <= {date} AND {ends}")
    }

    /// Each row with the date on which its key was seen before, whether it differs from that row,
    /// and the last date of its key.
    fn steps_of_keys(&self, key: &[usize]) -> String {
        let values: Vec<String> = self
            .columns
            .fields()
            .iter()
            .enumerate()
            .filter(|(at, field)| !key.contains(at) && self.comparison.covers(field.name()))
            .map(|(at, field)| comparable(&column(at), field.data_type(), 0))
            .collect();
        let window = window(key);
        let differs = if values.is_empty() {
            "false".to_owned()
        } else {
            let values = format!("struct({})", values.join(", "));
            format!("NOT ({values} <=> lag({values}) OVER by_key)")
        };
        format!(
            "SELECT *, lag(seen) OVER by_key AS seen_before, {differs} AS differs,\nmax(seen) OVER \
             whole_key AS last_of_key\nFROM seen\nWINDOW by_key AS ({window}), whole_key AS \
             ({window} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
        )
    }

    /// The rows that open intervals, with the date on which each interval was last seen.
    fn opened(&self, key: &[usize], steps: &Steps) -> String {
        let own = self.own_columns();
        let nulls: Vec<String> = key
            .iter()
            .map(|at| format!("{} IS NULL", column(*at)))
            .collect();
        let shown: Vec<String> = key
            .iter()
            .map(|at| format!("{} AS {}", column(*at), quoted(self.columns.field(*at).name())))
            .collect();
        let fail = |what: &str| {
            format!(
                "raise_error(concat('{what}, ', CAST(seen AS STRING), ': ', to_json(struct({}), \
                 map('ignoreNullFields', 'false'))))",
                shown.join(", ")
            )
        };
        format!(
            "SELECT {own}, started, coalesce(lead(seen_before) OVER by_key, last_of_key) AS \
             last_seen\nFROM stepped\nWHERE CASE\n  WHEN {} THEN {}\n  WHEN seen_before = seen \
             THEN {}\n  ELSE seen_before IS NULL OR differs OR NOT ({})\nEND\nWINDOW by_key AS ({})",
            nulls.join(" OR "),
            fail(NULL_KEY),
            fail(DUPLICATE_KEY),
            steps.follows(),
            window(key)
        )
    }

    /// All intervals.
    fn intervals(&self, steps: &Steps) -> String {
        let names = || self.columns.fields().iter().map(|field| quoted(field.name()));
        let own: Vec<String> = names()
            .enumerate()
            .map(|(at, name)| format!("{} AS {name}", column(at)))
            .collect();
        let start = quoted(&self.convention.start_column);
        let end = quoted(&self.convention.end_column);
        let mut intervals = format!(
            "SELECT {}, started AS {start}, {} AS {end}\nFROM opened",
            own.join(", "),
            steps.end(self.convention)
        );
        if let Some(last) = self.extended {
            let own: Vec<String> = names().collect();
            intervals += &format!(
                "\nUNION ALL\nSELECT {}, {start}, {end} FROM {} WHERE {}",
                own.join(", "),
                quoted(self.views.intervals),
                self.held_on(last, false)
            );
        }
        intervals
    }

    /// The columns of the table, as they are called within the query.
    fn own_columns(&self) -> String {
        let columns: Vec<String> = (0..self.columns.fields().len()).map(column).collect();
        columns.join(", ")
    }

    /// The order of the result.
    fn order(&self) -> String {
        let key = self.comparison.key.iter().map(String::as_str);
        let order: Vec<String> = key
            .chain([self.convention.start_column.as_str()])
            .map(quoted)
            .collect();
        order.join(", ")
    }
}

/// The dates with rows, and how an interval goes on from each to the next.
struct Steps {
    dates: Vec<NaiveDate>,
    /// For each date but the last: whether intervals go on to the next, and the inclusive end of
    /// those that do not.
    next: Vec<(bool, NaiveDate)>,
}

impl Steps {
    fn new(query: &CompactionQuery<'_>) -> Result<Self> {
        let dates: Vec<NaiveDate> = query.extended.into_iter().chain(query.read.iter().copied()).collect();
        let misfit = || Error::internal("the dates of a compaction do not fit one another");
        let ascend = |dates: &[NaiveDate]| dates.windows(2).all(|pair| pair[0] < pair[1]);
        if dates.is_empty() || !ascend(&dates) || !ascend(query.observed) {
            return Err(misfit());
        }
        let at = |date: &NaiveDate| query.observed.binary_search(date).map_err(|_| misfit());
        let places = dates.iter().map(at).collect::<Result<Vec<_>>>()?;
        // Between two dates with rows, and after the last one, intervals go on.
        let ends = places[1..].iter().copied().chain([query.observed.len()]);
        for (from, to) in places.iter().zip(ends) {
            let unread = query.observed[*from..to].windows(2);
            if !unread.into_iter().all(|pair| query.policy.joins(pair[0], pair[1])) {
                return Err(misfit());
            }
        }
        let next = places[1..].iter().map(|place| {
            let (last, next) = (query.observed[place - 1], query.observed[*place]);
            (query.policy.joins(last, next), query.policy.run_end(last, next))
        });
        Ok(Steps {
            next: next.collect(),
            dates,
        })
    }

    /// The condition that `seen` is the date after `seen_before`, and that intervals go on to it.
    fn follows(&self) -> String {
        let adjacent = "datediff(seen, seen_before) = 1";
        let pairs = self.dates.windows(2).zip(&self.next);
        let joined: Vec<String> = pairs
            .filter(|(pair, (joins, _))| *joins && (pair[1] - pair[0]).num_days() > 1)
            .map(|(pair, _)| pair_number(pair[0], pair[1]))
            .collect();
        if joined.is_empty() {
            return adjacent.to_owned();
        }
        format!(
            "{adjacent} OR unix_date(seen_before) * {PAIR}L + datediff(seen, seen_before) IN ({})",
            joined.join(", ")
        )
    }

    /// The written end of an interval that was last seen on `last_seen`.
    fn end(&self, convention: &Convention) -> String {
        let write = |end| convention.encode(end).map_or_else(|| "CAST(NULL AS DATE)".to_owned(), literal);
        let mut cases = String::new();
        if let Some(last) = self.dates.last() {
            cases += &format!(" WHEN {} THEN {}", literal(*last), write(None));
        }
        for (date, (_, end)) in self.dates.iter().zip(&self.next) {
            if end != date {
                cases += &format!(" WHEN {} THEN {}", literal(*date), write(Some(*end)));
            }
        }
        let usual = if convention.exclusive {
            "date_add(last_seen, 1)"
        } else {
            "last_seen"
        };
        format!("CASE last_seen{cases} ELSE {usual} END")
    }
}

/// More days than lie between two dates.
const PAIR: i64 = 10_000_000;

/// A number for two dates: of the first, and of the days to the second.
fn pair_number(one: NaiveDate, other: NaiveDate) -> String {
    let days = i64::from(crate::domain::days::to_days(one));
    format!("{}L", days * PAIR + (other - one).num_days())
}

/// A column of the table within the query.
fn column(at: usize) -> String {
    format!("c{at}")
}

/// The window of the rows of a key.
fn window(key: &[usize]) -> String {
    let key: Vec<String> = key.iter().map(|at| column(*at)).collect();
    format!("PARTITION BY {} ORDER BY seen", key.join(", "))
}

/// An expression whose values are the same, by `<=>`, if those of another one are; `depth` is how
/// many lists it stands in.
fn comparable(value: &str, data_type: &DataType, depth: usize) -> String {
    if !has_map(data_type) {
        return value.to_owned();
    }
    let item = format!("e{depth}");
    let each = |list: &str, of: &DataType| {
        format!("transform({list}, {item} -> {})", comparable(&item, of, depth + 1))
    };
    match data_type {
        DataType::Map(entries, _) => {
            let list = format!("map_entries({value})");
            match entries.data_type() {
                DataType::Struct(pair) if pair.iter().any(|field| has_map(field.data_type())) => {
                    each(&list, entries.data_type())
                }
                _ => list,
            }
        }
        DataType::List(of) => each(value, of.data_type()),
        DataType::Struct(fields) => {
            let field = |field: &Field| {
                let value = format!("{value}.{}", quoted(field.name()));
                comparable(&value, field.data_type(), depth)
            };
            let fields: Vec<String> = fields.iter().map(|it| field(it)).collect();
            format!("CASE WHEN {value} IS NOT NULL THEN struct({}) END", fields.join(", "))
        }
        _ => value.to_owned(),
    }
}

/// Whether a type is a map, or has one in it.
fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::List(item) => has_map(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn literal(date: NaiveDate) -> String {
    format!("DATE'{date}'")
}
