//! Compaction as a query of Spark: the intervals that a pass over sorted copies gives.
//!
//! [`CompactionQuery::sql`] writes the query. It reads two views that the caller makes:
//!
//! | view | its columns |
//! | --- | --- |
//! | copies | the table's columns in the types of the intervals, and the date of the copy |
//! | intervals | the columns of the intervals that are extended, in the same types |
//!
//! In a view, a column that a copy or the intervals do not have is null. Within the query a column
//! is known by its position, so the table's names never clash with the query's own. A table with
//! names that differ in case alone needs a session with `spark.sql.caseSensitive`.
//!
//! **Rules.** The rows of a key are compared in order of their dates. A row opens an interval if it
//! is the first of its key, if the copy before it does not have the key, or if a compared value
//! differs. The interval has the values of that row. Spark's `<=>` agrees with
//! [`column_differ`](super::column_differ), within lists and structs too. Maps have no `<=>`: the
//! lists of their entries are compared, in the order in which they are stored.
//!
//! **Cost.** The copies and the open intervals are shuffled and sorted once, by the key. Intervals
//! that have ended take no part in that. The rows of intervals are shuffled twice more: Spark runs
//! the input of the last sort twice, first for its bounds. The hint `REBALANCE` puts a shuffle
//! before that, so that no copy is compared twice.
//!
//! **What is verified.** The query fails if a key is null, or if a copy has a key twice.

use arrow::datatypes::{DataType, Field, Schema};
use chrono::NaiveDate;

use super::compared_columns::Comparison;
use super::days::to_days;
use super::gaps::GapPolicy;
use super::interval::Convention;
use super::type_names::type_name;
use crate::error::{Error, Result};

/// What the message of a failed query says if a key is null. The date of the copy and the key, as
/// JSON, follow.
pub const NULL_KEY: &str = "asof: null in the key";
/// What the message of a failed query says if a copy has a key twice. The date of the copy and the
/// key, as JSON, follow.
pub const DUPLICATE_KEY: &str = "asof: duplicate key";

/// More days than lie between any two dates.
const DAYS: i64 = 10_000_000;

/// A compaction for Spark to do; see the module.
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
    /// Every observed date, ascending. Those of the intervals that are extended are among them.
    pub observed: &'a [NaiveDate],
    /// The dates of the copies in the view, ascending. An observed date that is left out has the
    /// same rows as the one before it.
    pub read: &'a [NaiveDate],
    /// The last date of the intervals that are extended, if any are. Those that begin later are
    /// left out, and those that hold on it are open.
    pub extended: Option<NaiveDate>,
    /// The views.
    pub views: CompactionViews<'a>,
}

/// The names of what a [`CompactionQuery`] reads.
#[derive(Clone, Copy, Debug)]
pub struct CompactionViews<'a> {
    /// The copies. Without any dates to read, there need not be such a view.
    pub copies: &'a str,
    /// The column of the copies that holds the date of each, as DATE: [`date_column`].
    pub date_column: &'a str,
    /// The intervals that are extended. If none are, there need not be such a view.
    pub intervals: &'a str,
}

/// A name for the date of a copy that none of the table's columns has, in any case.
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
    /// The query. Its columns are those of the intervals, and its rows are in order of key and
    /// start.
    ///
    /// # Errors
    /// A refusal of a key that has a map. An internal failure if the dates do not fit one another.
    pub fn sql(&self) -> Result<String> {
        let key = self.key_positions()?;
        let steps = ObservedSteps::of(self)?;
        Ok(format!(
            "WITH\nseen AS (\n{}\n),\nstepped AS (\n{}\n),\nopened AS (\n{}\n)\n{}\nORDER BY {}",
            self.seen(),
            self.stepped(&key),
            self.opened(&key, &steps),
            self.intervals(&steps),
            self.order(),
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

    /// The rows of the copies; and those of open intervals, as rows of the last date.
    fn seen(&self) -> String {
        let columns = joined(
            self.names()
                .enumerate()
                .map(|(at, name)| format!("{name} AS {}", column(at))),
        );
        let date = quoted(self.views.date_column);
        let copies = (!self.read.is_empty()).then(|| {
            format!(
                "SELECT {columns}, {date} AS seen, {date} AS started FROM {}",
                quoted(self.views.copies)
            )
        });
        let open = self.extended.map(|last| {
            format!(
                "SELECT {columns}, {} AS seen, {} AS started FROM {} WHERE {}",
                literal(last),
                quoted(&self.convention.start_column),
                quoted(self.views.intervals),
                self.begun_and(last, true)
            )
        });
        let sources: Vec<String> = copies.into_iter().chain(open).collect();
        sources.join("\nUNION ALL\n")
    }

    /// The condition on intervals that they have begun on a date, and hold on it or have ended.
    fn begun_and(&self, date: NaiveDate, hold: bool) -> String {
        let start = quoted(&self.convention.start_column);
        let end = quoted(&self.convention.end_column);
        let date = literal(date);
        let comparison = match (hold, self.convention.exclusive) {
            (true, false) => ">=",
            (true, true) => ">",
            (false, false) => "<",
            (false, true) => "<=",
        };
        if hold && self.convention.open_null {
            format!("{start} <= {date} AND ({end} {comparison} {date} OR {end} IS NULL)")
        } else {
            format!("{start} <= {date} AND {end} {comparison} {date}")
        }
    }

    /// Each row with the date on which its key was seen before, whether it differs from the row of
    /// that date, and the last date of its key.
    fn stepped(&self, key: &[usize]) -> String {
        let is_compared =
            |at: usize, field: &Field| !key.contains(&at) && self.comparison.covers(field.name());
        let fields = self.columns.fields().iter().enumerate();
        let same: Vec<String> = fields
            .filter(|(at, field)| is_compared(*at, field))
            .map(|(at, field)| {
                let value = comparable(&column(at), field.data_type(), 0);
                format!("{value} <=> lag({value}) OVER by_key")
            })
            .collect();
        let differs = if same.is_empty() {
            "false".to_owned()
        } else {
            format!("NOT ({})", same.join(" AND "))
        };
        let window = window(key);
        format!(
            "SELECT *, lag(seen) OVER by_key AS seen_before, {differs} AS differs, \
             max(seen) OVER whole_key AS last_of_key\nFROM seen\nWINDOW by_key AS ({window}), \
             whole_key AS ({window} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
        )
    }

    /// The rows that open intervals, each with the date on which its interval was last seen.
    fn opened(&self, key: &[usize], steps: &ObservedSteps) -> String {
        let nulls: Vec<String> = key
            .iter()
            .map(|at| format!("{} IS NULL", column(*at)))
            .collect();
        let shown = joined(key.iter().map(|at| {
            let name = quoted(self.columns.field(*at).name());
            format!("{} AS {name}", column(*at))
        }));
        let fail = |what: &str| {
            format!(
                "raise_error(concat('{what}, ', CAST(seen AS STRING), ': ', \
                 to_json(struct({shown}), map('ignoreNullFields', 'false'))))"
            )
        };
        format!(
            "SELECT /*+ REBALANCE({}) */ {}, started, coalesce(lead(seen_before) OVER by_key, \
             last_of_key) AS last_seen\nFROM stepped\nWHERE CASE\n  WHEN {} THEN {}\n  \
             WHEN seen_before = seen THEN {}\n  \
             ELSE seen_before IS NULL OR differs OR NOT ({})\nEND\nWINDOW by_key AS ({})",
            joined(key.iter().map(|at| column(*at))),
            joined((0..self.columns.fields().len()).map(column)),
            nulls.join(" OR "),
            fail(NULL_KEY),
            fail(DUPLICATE_KEY),
            steps.condition(),
            window(key)
        )
    }

    /// All intervals: those that rows open, and those that had ended before.
    fn intervals(&self, steps: &ObservedSteps) -> String {
        let start = quoted(&self.convention.start_column);
        let end = quoted(&self.convention.end_column);
        let columns = joined(
            self.names()
                .enumerate()
                .map(|(at, name)| format!("{} AS {name}", column(at))),
        );
        let written = steps.written_end(self.convention);
        let opened =
            format!("SELECT {columns}, started AS {start}, {written} AS {end}\nFROM opened");
        let ended = self.extended.map(|last| {
            format!(
                "SELECT {}, {start}, {end} FROM {} WHERE {}",
                joined(self.names()),
                quoted(self.views.intervals),
                self.begun_and(last, false)
            )
        });
        let parts: Vec<String> = [opened].into_iter().chain(ended).collect();
        parts.join("\nUNION ALL\n")
    }

    /// The order of the result.
    fn order(&self) -> String {
        let start = &self.convention.start_column;
        let key = self.comparison.key.iter();
        joined(key.chain([start]).map(|name| quoted(name)))
    }

    /// The quoted names of the table's columns.
    fn names(&self) -> impl Iterator<Item = String> + '_ {
        let fields = self.columns.fields().iter();
        fields.map(|field| quoted(field.name()))
    }
}

/// The dates on which rows are seen, and how intervals go on from each to the next.
struct ObservedSteps {
    dates: Vec<NaiveDate>,
    /// For each date but the last, whether intervals go on to the next one, and the inclusive end
    /// of those that do not.
    next: Vec<(bool, NaiveDate)>,
}

impl ObservedSteps {
    fn of(query: &CompactionQuery<'_>) -> Result<Self> {
        let CompactionQuery {
            policy, observed, ..
        } = query;
        let misfit = || Error::internal("the dates of a compaction do not fit one another");
        let read = query.read.iter().copied();
        let dates: Vec<NaiveDate> = query.extended.into_iter().chain(read).collect();
        let ascend = |dates: &[NaiveDate]| dates.windows(2).all(|pair| pair[0] < pair[1]);
        if dates.is_empty() || !ascend(&dates) || !ascend(observed) {
            return Err(misfit());
        }
        let place = |date: &NaiveDate| observed.binary_search(date).map_err(|_| misfit());
        let places = dates.iter().map(place).collect::<Result<Vec<_>>>()?;
        let until = places[1..].iter().copied().chain([observed.len()]);
        // A date that is not read goes on from the one before it.
        let goes_on = |(from, until): (&usize, usize)| {
            let mut steps = observed[*from..until].windows(2);
            steps.all(|step| policy.joins(step[0], step[1]))
        };
        let first_is_seen = query.extended.is_some() || places[0] == 0;
        if !first_is_seen || !places.iter().zip(until).all(goes_on) {
            return Err(misfit());
        }
        let step = |place: &usize| {
            let (last, next) = (observed[place - 1], observed[*place]);
            (policy.joins(last, next), policy.run_end(last, next))
        };
        Ok(ObservedSteps {
            next: places[1..].iter().map(step).collect(),
            dates,
        })
    }

    /// The condition that intervals go on from `seen_before` to `seen`.
    ///
    /// A step is looked up as one number, for which Spark hashes what `IN` lists.
    fn condition(&self) -> String {
        let joins: Vec<String> = self
            .dates
            .windows(2)
            .zip(&self.next)
            .map(|(step, (joins, _))| (step[0], (step[1] - step[0]).num_days(), *joins))
            .filter(|(_, days, joins)| *joins && *days > 1)
            .map(|(date, days, _)| format!("{}L", i64::from(to_days(date)) * DAYS + days))
            .collect();
        let next_day = "datediff(seen, seen_before) = 1";
        if joins.is_empty() {
            return next_day.to_owned();
        }
        let step = format!("unix_date(seen_before) * {DAYS}L + datediff(seen, seen_before)");
        format!("{next_day} OR {step} IN ({})", joins.join(", "))
    }

    /// The end that is written for an interval that was last seen on `last_seen`.
    fn written_end(&self, convention: &Convention) -> String {
        let written = |end| {
            let end = convention.encode(end);
            end.map_or_else(|| "CAST(NULL AS DATE)".to_owned(), literal)
        };
        let last = self.dates.last().map(|last| (last, None));
        let gaps = self.dates.iter().zip(&self.next);
        let gaps = gaps.map(|(date, (_, end))| (date, Some(*end)));
        let cases: String = last
            .into_iter()
            .chain(gaps.filter(|(date, end)| *end != Some(**date)))
            .map(|(date, end)| format!(" WHEN {} THEN {}", literal(*date), written(end)))
            .collect();
        let otherwise = if convention.exclusive {
            "date_add(last_seen, 1)"
        } else {
            "last_seen"
        };
        format!("CASE last_seen{cases} ELSE {otherwise} END")
    }
}

/// A column of the table within the query.
fn column(at: usize) -> String {
    format!("c{at}")
}

/// The rows of a key, in order of their dates.
fn window(key: &[usize]) -> String {
    let key = joined(key.iter().map(|at| column(*at)));
    format!("PARTITION BY {key} ORDER BY seen")
}

/// An expression that is the same, by `<=>`, for the same values of a type. `depth` is the number
/// of lists around it.
fn comparable(value: &str, data_type: &DataType, depth: usize) -> String {
    if !has_map(data_type) {
        return value.to_owned();
    }
    let of_each = |list: &str, item: &DataType| {
        let name = format!("e{depth}");
        let item = comparable(&name, item, depth + 1);
        if item == name {
            list.to_owned()
        } else {
            format!("transform({list}, {name} -> {item})")
        }
    };
    match data_type {
        DataType::Map(entries, _) => of_each(&format!("map_entries({value})"), entries.data_type()),
        DataType::List(item) => of_each(value, item.data_type()),
        DataType::Struct(fields) => {
            let fields = joined(fields.iter().map(|field| {
                let value = format!("{value}.{}", quoted(field.name()));
                comparable(&value, field.data_type(), depth)
            }));
            format!("CASE WHEN {value} IS NOT NULL THEN struct({fields}) END")
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

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn literal(date: NaiveDate) -> String {
    format!("DATE'{date}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::type_names::parse_type;
    use crate::model::parse_date;

    fn dates(days: &[u32]) -> Vec<NaiveDate> {
        days.iter()
            .map(|day| parse_date(&format!("2024-01-{day:02}")).expect("a date"))
            .collect()
    }

    fn schema(columns: &[(&str, &str)]) -> Schema {
        let field = |(name, data_type): &(&str, &str)| {
            Field::new(*name, parse_type(data_type).expect("a type"), true)
        };
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    /// A compaction of columns, the first of which is the key.
    struct Case {
        columns: Schema,
        comparison: Comparison,
        convention: Convention,
        policy: GapPolicy,
        observed: Vec<NaiveDate>,
        read: Vec<NaiveDate>,
        extended: Option<NaiveDate>,
    }

    impl Case {
        fn new(columns: &[(&str, &str)], observed: &[u32]) -> Self {
            Case {
                columns: schema(columns),
                comparison: Comparison {
                    key: vec![columns[0].0.to_owned()],
                    ..Comparison::default()
                },
                convention: Convention::default(),
                policy: GapPolicy::CARRY,
                observed: dates(observed),
                read: dates(observed),
                extended: None,
            }
        }

        fn sql(&self) -> Result<String> {
            let date_column = date_column(&self.columns);
            let query = CompactionQuery {
                columns: &self.columns,
                comparison: &self.comparison,
                convention: &self.convention,
                policy: self.policy,
                observed: &self.observed,
                read: &self.read,
                extended: self.extended,
                views: CompactionViews {
                    copies: "copies",
                    date_column: &date_column,
                    intervals: "intervals",
                },
            };
            query.sql()
        }

        fn has(&self, part: &str) {
            let sql = self.sql().expect("a query");
            assert!(sql.contains(part), "{part} in {sql}");
        }
    }

    #[test]
    fn a_compaction_is_one_query() {
        let case = Case::new(&[("id", "int64"), ("v", "text")], &[1, 2]);
        let expected = "\
WITH
seen AS (
SELECT `id` AS c0, `v` AS c1, `asof_observed_date` AS seen, `asof_observed_date` AS started FROM \
`copies`
),
stepped AS (
SELECT *, lag(seen) OVER by_key AS seen_before, NOT (c1 <=> lag(c1) OVER by_key) AS differs, \
max(seen) OVER whole_key AS last_of_key
FROM seen
WINDOW by_key AS (PARTITION BY c0 ORDER BY seen), whole_key AS (PARTITION BY c0 ORDER BY seen \
ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
opened AS (
SELECT /*+ REBALANCE(c0) */ c0, c1, started, coalesce(lead(seen_before) OVER by_key, \
last_of_key) AS last_seen
FROM stepped
WHERE CASE
  WHEN c0 IS NULL THEN raise_error(concat('asof: null in the key, ', CAST(seen AS STRING), ': ', \
to_json(struct(c0 AS `id`), map('ignoreNullFields', 'false'))))
  WHEN seen_before = seen THEN raise_error(concat('asof: duplicate key, ', CAST(seen AS STRING), \
': ', to_json(struct(c0 AS `id`), map('ignoreNullFields', 'false'))))
  ELSE seen_before IS NULL OR differs OR NOT (datediff(seen, seen_before) = 1)
END
WINDOW by_key AS (PARTITION BY c0 ORDER BY seen)
)
SELECT c0 AS `id`, c1 AS `v`, started AS `active_start`, CASE last_seen WHEN DATE'2024-01-02' \
THEN DATE'9999-12-31' ELSE last_seen END AS `active_end`
FROM opened
ORDER BY `id`, `active_start`";
        assert_eq!(case.sql().expect("a query"), expected);
    }

    #[test]
    fn names_are_quoted_and_the_date_has_a_name_of_its_own() {
        let columns = [
            ("a`b", "int64"),
            ("x.y", "text"),
            ("ASOF_observed_date", "date"),
        ];
        let case = Case::new(&columns, &[1]);
        case.has("SELECT `a``b` AS c0, `x.y` AS c1, `ASOF_observed_date` AS c2, ");
        case.has("`asof_observed_date_` AS seen");
        case.has("ORDER BY `a``b`, `active_start`");
    }

    #[test]
    fn columns_that_do_not_count_are_not_compared() {
        let mut case = Case::new(&[("id", "int64"), ("v", "text"), ("w", "text")], &[1]);
        case.comparison.ignore = vec!["v".to_owned()];
        case.has(" NOT (c2 <=> lag(c2) OVER by_key) AS differs");
        case.comparison.ignore.push("w".to_owned());
        case.has(" false AS differs");
    }

    #[test]
    fn a_gap_joins_two_dates_or_ends_every_interval() {
        let mut case = Case::new(&[("id", "int64")], &[1, 2, 5]);
        case.has(
            "NOT (datediff(seen, seen_before) = 1 OR \
             unix_date(seen_before) * 10000000L + datediff(seen, seen_before) IN (197240000003L))",
        );
        case.has(
            "CASE last_seen WHEN DATE'2024-01-05' THEN DATE'9999-12-31' \
             WHEN DATE'2024-01-02' THEN DATE'2024-01-04' ELSE last_seen END",
        );
        case.policy = GapPolicy::Split;
        case.has("NOT (datediff(seen, seen_before) = 1)");
        case.has("CASE last_seen WHEN DATE'2024-01-05' THEN DATE'9999-12-31' ELSE last_seen END");
    }

    #[test]
    fn a_copy_that_is_not_read_goes_on_from_the_one_before() {
        let mut case = Case::new(&[("id", "int64")], &[1, 2, 3, 4]);
        case.read = dates(&[1, 3]);
        case.has("IN (197230000002L)");
        case.has(
            "CASE last_seen WHEN DATE'2024-01-03' THEN DATE'9999-12-31' \
             WHEN DATE'2024-01-01' THEN DATE'2024-01-02' ELSE last_seen END",
        );
    }

    #[test]
    fn ends_are_written_as_the_convention_says() {
        let mut case = Case::new(&[("id", "int64")], &[1, 2, 5]);
        case.convention = Convention {
            start_column: "valid from".into(),
            end_column: "valid to".into(),
            exclusive: true,
            open_null: true,
        };
        case.extended = case.read.drain(..2).next_back();
        case.has(
            "started AS `valid from`, CASE last_seen WHEN DATE'2024-01-05' THEN CAST(NULL AS DATE) \
             WHEN DATE'2024-01-02' THEN DATE'2024-01-05' ELSE date_add(last_seen, 1) END \
             AS `valid to`\n",
        );
        case.has(
            "WHERE `valid from` <= DATE'2024-01-02' AND \
             (`valid to` > DATE'2024-01-02' OR `valid to` IS NULL)\n",
        );
        case.has("WHERE `valid from` <= DATE'2024-01-02' AND `valid to` <= DATE'2024-01-02'\n");
    }

    #[test]
    fn intervals_that_have_ended_pass_by() {
        let mut case = Case::new(&[("id", "int64"), ("v", "text")], &[1, 2, 3]);
        case.extended = case.read.drain(..2).next_back();
        case.has(
            " FROM `copies`\nUNION ALL\nSELECT `id` AS c0, `v` AS c1, DATE'2024-01-02' AS seen, \
             `active_start` AS started FROM `intervals` \
             WHERE `active_start` <= DATE'2024-01-02' AND `active_end` >= DATE'2024-01-02'\n)",
        );
        case.has(
            "\nFROM opened\nUNION ALL\nSELECT `id`, `v`, `active_start`, `active_end` FROM \
             `intervals` WHERE `active_start` <= DATE'2024-01-02' AND \
             `active_end` < DATE'2024-01-02'\nORDER BY `id`, `active_start`",
        );
        case.read.clear();
        case.observed.pop();
        case.has("seen AS (\nSELECT `id` AS c0, `v` AS c1, DATE'2024-01-02' AS seen,");
    }

    #[test]
    fn maps_are_compared_by_their_entries() {
        let compared =
            |data_type: &str| comparable("c1", &parse_type(data_type).expect("a type"), 0);
        assert_eq!(compared("list<struct<a: float64>>"), "c1");
        assert_eq!(compared("map<text, int64>"), "map_entries(c1)");
        assert_eq!(
            compared("list<map<text, int64>>"),
            "transform(c1, e0 -> map_entries(e0))"
        );
        assert_eq!(
            compared("struct<a: int64, \"m`n\": map<text, int64>>"),
            "CASE WHEN c1 IS NOT NULL THEN struct(c1.`a`, map_entries(c1.`m``n`)) END"
        );
        assert_eq!(
            compared("map<text, list<map<text, int64>>>"),
            "transform(map_entries(c1), e0 -> CASE WHEN e0 IS NOT NULL THEN struct(e0.`key`, \
             transform(e0.`value`, e1 -> map_entries(e1))) END)"
        );
        let case = Case::new(&[("id", "struct<m: map<text, int64>>")], &[1]);
        let error = case.sql().expect_err("no order");
        assert_eq!(
            error.to_string(),
            "key column 'id' is struct<m: map<text, int64>>, and Spark has no order of maps"
        );
    }

    #[test]
    fn dates_that_do_not_fit_are_a_failure() {
        let columns = [("id", "int64")];
        assert!(Case::new(&columns, &[]).sql().is_err(), "none");
        assert!(Case::new(&columns, &[2, 1]).sql().is_err(), "no order");
        let mut case = Case::new(&columns, &[1, 2, 3]);
        case.read = dates(&[2, 3]);
        assert!(case.sql().is_err(), "the first is not read");
        case.read = dates(&[1, 4]);
        assert!(case.sql().is_err(), "not observed");
        let mut case = Case::new(&columns, &[1, 2, 4]);
        case.read = dates(&[1, 2]);
        assert!(case.sql().is_ok(), "goes on");
        case.policy = GapPolicy::Split;
        assert!(case.sql().is_err(), "the gap before it ends intervals");
    }
}
