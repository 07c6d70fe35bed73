//! `asof diff`: rows added, removed and changed between a table as of two dates.
//!
//! What is read: the two states that serve the dates, each once, walked together in the order of
//! the key ([`crate::domain::diff`]). Snapshots of asof's own and intervals are in that order;
//! external snapshots are sorted first. Two dates that one state serves are not read at all.
//!
//! A column counts as changed in a row under the same rule as the row itself: null equals null, NaN
//! equals NaN, 0.0 equals -0.0, and 5 is 5 in whatever width.
//!
//! A file that is named gets the rows that differ, all of them, as a snapshot's recorded changes
//! have them ([`crate::engine::changes`]). A summary reads each state once more, and counts its
//! values.
//!
//! Memory: a batch of each side with 16 bytes a cell, the first `limit` differences as text, and of
//! an external side the sorter's budget; for a summary the different values of each column, up to
//! half of `--memory`.

mod listing;
mod side;
mod summary;

use std::cell::Cell;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use self::listing::Listing;
use self::side::Side;
pub use self::summary::{ColumnSummary, FrequentOnSides};
use self::summary::{ComparedStates, summary};
use super::Workspace;
use super::cells::ColumnChange;
use super::lookup::{latest_states, refused_state};
use super::out_file::{OutFile, OutTarget};
use crate::domain::diff::{Difference, diff as merge};
use crate::domain::key_order::KeyEncoder;
use crate::domain::schema::{Drift, HeldSchemas, TypeClashes, unify};
use crate::engine::as_of::{AsOfTable, Origin, TableHistory};
use crate::engine::changes::{CHANGE_TYPE, ChangeRows};
use crate::engine::statistics::require_polars;
use crate::engine::units::{UnitSource, settle};
use crate::error::{Error, Result};
use crate::model::TableName;

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// The table.
    pub table: String,
    /// The date to compare from; if `None`, that of the copy before the one that is compared to.
    pub from: Option<NaiveDate>,
    /// The date to compare to; it may be the earlier one.
    pub to: NaiveDate,
    /// Whether it is compared to the copy of that date that a check refused.
    pub to_refused: bool,
    /// How many differences the report lists.
    pub limit: usize,
    /// Whether the report has what the values of each column were before and after.
    pub summary: bool,
    /// The columns of the summary, in which order; all if empty.
    pub columns: Vec<String>,
    /// How many of the most frequent values of each state the summary has.
    pub top: usize,
    /// The file to write the rows to that differ.
    pub out: Option<String>,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DiffSide {
    /// The date that was asked for.
    pub date: NaiveDate,
    /// The date whose state holds on it.
    pub snapshot_date: NaiveDate,
    /// What served that state.
    pub source: Origin,
    /// Its rows; not counted if one state serves both dates.
    pub rows: Option<u64>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Only the second state has it.
    Added,
    /// Only the first state has it.
    Removed,
    /// Both have it, with rows that are not the same.
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RowChange {
    /// What happened.
    pub kind: ChangeKind,
    /// The key, a value a column.
    pub key: Vec<String>,
    /// Of a changed row the columns that differ; of another one all that are not null, without the
    /// key.
    pub columns: Vec<ColumnChange>,
}

/// How many rows differ in a column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ColumnCount {
    /// The column.
    pub name: String,
    /// In how many of the changed rows its values differ.
    pub changed: u64,
}

/// What differs between a table as of two dates.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DiffReport {
    /// The table.
    pub table: TableName,
    /// The key columns.
    pub key: Vec<String>,
    /// What was compared from.
    pub from: DiffSide,
    /// What was compared to.
    pub to: DiffSide,
    /// Keys that only the second state has.
    pub added: u64,
    /// Keys that only the first state has.
    pub removed: u64,
    /// Keys whose rows are not the same.
    pub changed: u64,
    /// The columns with differences among changed rows, most of them first.
    pub columns: Vec<ColumnCount>,
    /// What differs in the schema, in words.
    pub schema: Option<String>,
    /// Columns left out because only intervals serve a date, and they do not compare them.
    pub not_compared: Vec<String>,
    /// The first differences, in the order of the key.
    pub rows: Vec<RowChange>,
    /// What the values of each column were before and after, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Vec<ColumnSummary>>,
    /// The file that the rows that differ were written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
}

/// Compares a table as of two dates.
///
/// # Errors
/// A usage error for a table that there is not, and for a file that may not be written; a refusal
/// for a date before the first snapshot, for keys with nulls or that stand twice, and for columns
/// whose types cannot be compared. A copy that was refused may have all of these.
pub fn diff(workspace: &Workspace<'_>, options: &DiffOptions) -> Result<DiffReport> {
    if options.summary {
        require_polars("asof diff --summary")?;
    }
    let out = options.out.as_deref();
    let out = out
        .map(|out| OutTarget::parse(workspace, out))
        .transpose()?;
    let to = options.to;
    let from = match options.from {
        Some(from) => from,
        None => before(workspace, options)?,
    };
    let history = match options.to_refused {
        true => refused_state(workspace, &options.table, to, &[from])?,
        false => latest_states(workspace, &options.table, &[from, to])?,
    };
    let table = &history.table;
    if let Some(out) = &out {
        out.prepare(workspace, history.intervals(), &table.root)?;
    }
    let first = history.resolve_latest(from, |first| {
        format!("asof diff {} {first} {to}", options.table)
    })?;
    let second = history.resolve_latest(to, |second| {
        format!("asof diff {} {from} {second}", options.table)
    })?;
    let old = history.latest(first, None)?;
    let new = history.latest(second, Some(&old.schema))?;
    let both = unified(&old.schema, &new.schema, options.to_refused)
        .map_err(|clash| clash.refusal(table.name.as_str(), second))?;
    let schema = with_units(&history, &both.schema, [&old, &new])?;
    let mut report = DiffReport {
        table: table.name.clone(),
        key: table.key.clone(),
        from: DiffSide::new(from, &old),
        to: DiffSide::new(to, &new),
        added: 0,
        removed: 0,
        changed: 0,
        columns: Vec::new(),
        schema: both.in_words(),
        not_compared: not_compared(&old, &new),
        rows: Vec::new(),
        summary: None,
        out: out.as_ref().map(|out| out.shown(workspace)),
    };
    let side = Side {
        table,
        schema: &schema,
        compared: compared_columns(&schema, &report.not_compared),
        encoder: KeyEncoder::new(&schema, &table.key)?,
        clashes: both.clashes,
    };
    let has_unique_keys = !options.to_refused && old.has_unique_keys() && new.has_unique_keys();
    let mut rows = out.map(|out| RowsOut::create(&out, &side)).transpose()?;
    if first != second {
        let new = (&new, options.to_refused);
        compare(&side, &old, new, options.limit, &mut report, rows.as_mut())?;
    }
    if options.summary {
        let compared = ComparedStates {
            old: &old,
            new: &new,
            has_unique_keys,
            changed: &report.columns,
            not_compared: &report.not_compared,
        };
        report.summary = Some(summary(workspace, options, &side, &compared)?);
    }
    rows.map(RowsOut::publish).transpose()?;
    Ok(report)
}

impl DiffSide {
    /// A side that has not been read.
    fn new(date: NaiveDate, as_of: &AsOfTable) -> Self {
        DiffSide {
            date,
            snapshot_date: as_of.observed,
            source: as_of.origin(),
            rows: None,
        }
    }
}

/// The file of the rows that differ.
struct RowsOut {
    rows: ChangeRows,
    file: OutFile,
}

impl RowsOut {
    fn create(out: &OutTarget, side: &Side<'_>) -> Result<Self> {
        let rows = ChangeRows::new(side.schema).ok_or_else(|| {
            Error::usage(format!(
                "table {} has a column '{CHANGE_TYPE}', which --out adds to the rows",
                side.table.name
            ))
        })?;
        let file = OutFile::create(out, rows.schema())?;
        Ok(RowsOut { rows, file })
    }

    fn see(&mut self, difference: &Difference<'_>) -> Result<()> {
        match self.rows.see(difference)? {
            Some(rows) => self.file.write(rows),
            None => Ok(()),
        }
    }

    fn publish(mut self) -> Result<()> {
        if let Some(rows) = self.rows.flush()? {
            self.file.write(rows)?;
        }
        self.file.publish()
    }
}

/// The schema of both sides with the units of timestamps that hold the values of both.
fn with_units(
    history: &TableHistory,
    wide: &SchemaRef,
    sides: [&AsOfTable; 2],
) -> Result<SchemaRef> {
    let values = sides.map(|side| {
        let date = side.observed;
        let pinned = side.schema.clone();
        UnitSource::of_rows(date, &side.schema, move |columns| {
            history
                .latest(date, Some(&pinned))?
                .read_in_schema_order(Some(columns))
        })
    });
    settle(&history.table.name, wide, &values)
}

/// The schemas of both sides in one.
struct SchemasOfBoth {
    schema: SchemaRef,
    drift: Drift,
    /// The columns whose types have nothing in common, with the type that each had; they are
    /// compared as text.
    clashes: TypeClashes,
}

/// The schema in which two states are compared. Types that have nothing in common are refused,
/// unless one of the states was refused, perhaps for that.
fn unified(
    old: &SchemaRef,
    new: &SchemaRef,
    is_refused: bool,
) -> Result<SchemasOfBoth, TypeClashes> {
    match unify(old, new) {
        Ok((schema, drift)) => Ok(SchemasOfBoth {
            schema,
            drift,
            clashes: TypeClashes(Vec::new()),
        }),
        Err(clashes) if is_refused => {
            let HeldSchemas { schema, drift } = clashes.clone().held(old, new)?;
            Ok(SchemasOfBoth {
                schema,
                drift,
                clashes,
            })
        }
        Err(clashes) => Err(clashes),
    }
}

impl SchemasOfBoth {
    fn in_words(&self) -> Option<String> {
        let parts = [self.clashes.in_words(), self.drift.in_words()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The columns that are compared.
fn compared_columns(schema: &SchemaRef, not_compared: &[String]) -> Vec<String> {
    let names = schema.fields().iter().map(|field| field.name());
    names
        .filter(|name| !not_compared.contains(name))
        .cloned()
        .collect()
}

/// The date of the copy before the one that is compared to.
fn before(workspace: &Workspace<'_>, options: &DiffOptions) -> Result<NaiveDate> {
    let history = latest_states(workspace, &options.table, &[options.to])?;
    let held = match options.to_refused {
        true => options.to,
        false => history.resolve_latest(options.to, |first| {
            format!("asof diff {} {first}", options.table)
        })?,
    };
    let day_before = held.pred_opt().unwrap_or(held);
    let earlier = latest_states(workspace, &options.table, &[day_before])?;
    earlier.latest_until(day_before).ok_or_else(|| {
        Error::refused(format!(
            "table {}: no copy is earlier than that of {held}",
            history.table.name
        ))
        .hint(format!("asof show {} {held}", options.table))
    })
}

/// The columns of which a side has only the values of each interval's first day.
fn not_compared(old: &AsOfTable, new: &AsOfTable) -> Vec<String> {
    let mut names = old.not_compared();
    names.extend(new.not_compared());
    names.sort();
    names.dedup();
    names
}

/// Merges the two sides and fills in what differs. The second may be a copy that was refused.
fn compare(
    side: &Side<'_>,
    old: &AsOfTable,
    (new, is_refused): (&AsOfTable, bool),
    limit: usize,
    report: &mut DiffReport,
    mut out: Option<&mut RowsOut>,
) -> Result<()> {
    let table = side.table;
    let attributes: Vec<String> = side
        .compared
        .iter()
        .filter(|name| !table.key.contains(name))
        .cloned()
        .collect();
    let mut listing = Listing::new(&table.key, attributes, limit);
    let old_rows = Cell::new(0);
    let new_rows = Cell::new(0);
    let mut earlier = side.open(old, false, &old_rows)?;
    let mut later = side.open(new, is_refused, &new_rows)?;
    let changes = merge(&mut earlier, &mut later, |difference| {
        if let Some(out) = out.as_deref_mut() {
            out.see(&difference)?;
        }
        listing.see(&difference)
    })?;
    (report.added, report.removed, report.changed) =
        (changes.added, changes.removed, changes.changed);
    (report.from.rows, report.to.rows) = (Some(old_rows.get()), Some(new_rows.get()));
    let counts = listing
        .attributes
        .into_iter()
        .zip(listing.counts)
        .filter(|(_, changed)| *changed > 0);
    report.columns = counts
        .map(|(name, changed)| ColumnCount { name, changed })
        .collect();
    report
        .columns
        .sort_by_key(|column| std::cmp::Reverse(column.changed));
    report.rows = listing.rows;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::commands::compact::CompactOptions;
    use crate::commands::testing::{TestLake, date};
    use crate::error::Kind;

    fn options(from: &str, to: &str) -> DiffOptions {
        DiffOptions {
            table: "item".into(),
            from: Some(date(from)),
            to: date(to),
            limit: 100,
            ..DiffOptions::default()
        }
    }

    fn between(workspace: &Workspace<'_>, from: &str, to: &str) -> DiffReport {
        diff(workspace, &options(from, to)).expect("a comparison")
    }

    fn counts(report: &DiffReport) -> (u64, u64, u64) {
        (report.added, report.removed, report.changed)
    }

    /// `~ 1: price 10→11`, a line a difference.
    fn lines(report: &DiffReport) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let line = |row: &RowChange| {
            let sign = match row.kind {
                ChangeKind::Added => '+',
                ChangeKind::Removed => '-',
                ChangeKind::Changed => '~',
            };
            let columns = row.columns.iter().map(|column| {
                format!(
                    " {} {}→{}",
                    column.name,
                    text(&column.old),
                    text(&column.new)
                )
            });
            format!(
                "{sign} {}:{}",
                row.key.join("/"),
                columns.collect::<String>()
            )
        };
        report.rows.iter().map(line).collect()
    }

    const FIRST: &str = "id,price,tag\n1,10,a\n2,20,b\n3,30,\n";
    const SECOND: &str = "id,tag,price,lid\n4,d,40,\n3,,30.0,\n1,A,10.5,x\n";
    const DIFFERENCES: [&str; 3] = [
        "~ 1: price 10.0→10.5 tag a→A lid -→x",
        "- 2: price 20.0→- tag b→-",
        "+ 4: price -→40.0 tag -→d",
    ];

    #[test]
    fn only_values_that_really_differ_are_changes() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", FIRST);
        lake.snapshot("item", "2024-01-03", "id", SECOND);
        let report = between(&lake.workspace(), "2024-01-02", "2024-01-09");
        assert_eq!(
            (report.from.snapshot_date, report.to.snapshot_date),
            (date("2024-01-01"), date("2024-01-03"))
        );
        assert_eq!((report.from.rows, report.to.rows), (Some(3), Some(3)));
        assert_eq!(counts(&report), (1, 1, 1));
        assert_eq!(lines(&report), DIFFERENCES);
        assert_eq!(
            report.schema.as_deref(),
            Some("column 'lid' appears, column 'price' widens from int64 to float64")
        );
    }

    #[test]
    fn a_comparison_turned_round_turns_its_lines_round() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", FIRST);
        lake.snapshot("item", "2024-01-03", "id", SECOND);
        let report = between(&lake.workspace(), "2024-01-03", "2024-01-01");
        assert_eq!(counts(&report), (1, 1, 1));
        assert_eq!(
            lines(&report),
            [
                "~ 1: tag A→a price 10.5→10.0 lid x→-",
                "+ 2: tag -→b price -→20.0",
                "- 4: tag d→- price 40.0→-"
            ]
        );
    }

    #[test]
    fn intervals_and_external_copies_differ_as_snapshots_do() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", FIRST);
        lake.snapshot("item", "2024-01-03", "id", SECOND);
        lake.compact("item");
        lake.forget("item", "2024-01-01");
        let report = between(&lake.workspace(), "2024-01-01", "2024-01-03");
        assert_eq!(
            (report.from.source, report.to.source),
            (Origin::Intervals, Origin::Snapshot)
        );
        assert_eq!(
            (lines(&report), counts(&report)),
            (DIFFERENCES.map(str::to_owned).to_vec(), (1, 1, 1))
        );

        let lake = TestLake::new();
        let workspace = lake.external(
            "item",
            "id",
            &[("2024-01-01", FIRST), ("2024-01-03", SECOND)],
        );
        assert_eq!(
            lines(&between(&workspace, "2024-01-01", "2024-01-03")),
            DIFFERENCES
        );
    }

    #[test]
    fn a_date_compared_with_itself_is_not_read() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", FIRST);
        let report = between(&lake.workspace(), "2024-01-01", "2024-01-02");
        assert_eq!(
            (counts(&report), report.from.rows, report.schema),
            ((0, 0, 0), None, None)
        );
    }

    #[test]
    fn external_keys_that_stand_twice_or_are_null_are_refused() {
        for (csv, message) in [
            (
                "id,tag\n7,a\n8,b\n7,c\n",
                "table item, 2024-01-02: duplicate key (id): id=7",
            ),
            (
                "id,tag\n7,a\n,b\n",
                "table item, 2024-01-02: 1 row has a null in the key (id): id=null, tag=b",
            ),
        ] {
            let lake = TestLake::new();
            let workspace = lake.external(
                "item",
                "id",
                &[("2024-01-01", "id,tag\n7,a\n"), ("2024-01-02", csv)],
            );
            let error =
                diff(&workspace, &options("2024-01-01", "2024-01-02")).expect_err("refused");
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (Kind::Refused, message)
            );
        }
    }

    #[test]
    fn snapshots_sorted_by_another_key_are_sorted_anew() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", "id,code\n1,c\n2,b\n3,a\n");
        lake.snapshot("item", "2024-01-02", "code", "id,code\n1,c\n3,a\n2,d\n");
        let report = between(&lake.workspace(), "2024-01-01", "2024-01-02");
        assert_eq!(
            (report.key.clone(), lines(&report)),
            (
                vec!["code".to_owned()],
                vec!["- b: id 2→-".into(), "+ d: id -→2".into()]
            )
        );
    }

    #[test]
    fn a_column_that_the_intervals_do_not_compare_is_left_out() {
        let lake = TestLake::new();
        for (day, tag) in [
            ("2024-01-01", "a"),
            ("2024-01-02", "a"),
            ("2024-01-03", "b"),
        ] {
            lake.snapshot(
                "item",
                day,
                "id",
                &format!("id,tag,loaded\n1,{tag},{day}\n"),
            );
        }
        lake.compact_with(
            "item",
            &CompactOptions {
                ignore: vec!["loaded".into()],
                ..CompactOptions::default()
            },
        );
        lake.forget("item", "2024-01-02");
        let report = between(&lake.workspace(), "2024-01-02", "2024-01-03");
        assert_eq!(
            (report.not_compared.clone(), lines(&report)),
            (vec!["loaded".to_owned()], vec!["~ 1: tag a→b".to_owned()])
        );
        assert_eq!(
            lines(&between(&lake.workspace(), "2024-01-01", "2024-01-03")).len(),
            1
        );
    }

    #[test]
    fn every_change_is_counted_by_column_over_many_batches() {
        let lake = TestLake::new();
        let table = |a: u32, b: u32| {
            let mut csv = "id,a,b,c\n".to_owned();
            for id in 0..20_000u32 {
                let value = |step: u32| u32::from(step > 0 && id % step.max(1) == 0);
                writeln!(csv, "{id},{},{},same", value(a), value(b)).expect("text");
            }
            csv
        };
        lake.snapshot("item", "2024-01-01", "id", &table(0, 0));
        lake.snapshot("item", "2024-01-02", "id", &table(100, 10));
        let report = diff(
            &lake.workspace(),
            &DiffOptions {
                limit: 3,
                ..options("2024-01-01", "2024-01-02")
            },
        )
        .expect("a comparison");
        assert_eq!((report.changed, report.rows.len()), (2000, 3));
        let columns: Vec<(&str, u64)> = report
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.changed))
            .collect();
        assert_eq!(columns, [("b", 2000), ("a", 200)]);
    }
}
