//! `asof expand`: intervals back to dated copies.
//!
//! Each observed date of the range becomes the snapshot that it was: its rows in the order of the
//! key, in the schema it had that day. A date without a snapshot is a gap, and is not invented; nor
//! is one whose snapshot was dropped, which `asof restore` brings back.
//! Rows and fingerprint are counted anew and, if the intervals compare every column, compared with
//! what was recorded before anything is published.
//!
//! **What is read.** The intervals, once for each 31 dates of the range. Nothing if only a plan is
//! asked for.
//!
//! **What is held.** For each of up to 31 objects at a time, the encoded part of a row group of
//! 65,536 rows, or fewer of a wide table.
//!
//! A date is published by a write that fails if its name is taken: the same copy there already is
//! kept, and another one is a conflict. Dates that were published before a failure stand.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use serde::Serialize;

use super::Workspace;
use super::forbidden_places::Destination;
use super::snapshot::Outcome;
use crate::domain::cast::conform;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::file_names;
use crate::domain::layout::Layout;
use crate::domain::path_columns::PathColumns;
use crate::engine::as_of::footer_of;
use crate::engine::intervals::{IntervalBatch, Intervals};
use crate::engine::table::all_digests;
use crate::error::{Context, Error, Result, word};
use crate::interrupt::{self, uninterrupted};
use crate::model::{DateRange, TableName};
use crate::parallel::{self, object_threads};
use crate::source::Format;
use crate::storage::lake::LakeRoot;
use crate::storage::lake::commit::{Published, Staged, sweep};
use crate::storage::lake::folders::Entry;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::{Content, Footer, ObservedWire, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;

/// How many dates are written in one pass over the intervals.
const DATES_A_PASS: usize = 31;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct ExpandOptions {
    /// The table.
    pub table: String,
    /// The first date.
    pub from: NaiveDate,
    /// The last date.
    pub to: NaiveDate,
    /// The root of the copies.
    pub out: String,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// An intervals object, or its folder, outside of the lake.
    pub intervals: Option<String>,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct ExpandReport {
    /// The table.
    pub table: TableName,
    /// The root of the copies.
    pub path: String,
    /// The range that was asked for.
    #[serde(flatten)]
    pub range: DateRange,
    /// Whether nothing was written because a dry run was asked for.
    pub dry_run: bool,
    /// Whether the copies are the snapshots in every column. If not, columns that the intervals
    /// do not compare have the values of each interval's first day.
    pub exact: bool,
    /// One an observed date of the range, ascending.
    pub dates: Vec<ExpandedDate>,
    /// How many days of the range have no snapshot.
    pub missing_days: u64,
}

/// One dated copy.
#[derive(Clone, Debug, Serialize)]
pub struct ExpandedDate {
    /// Its date.
    pub snapshot_date: NaiveDate,
    /// How it ended.
    pub outcome: Outcome,
    /// The object.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size; not known of what was not written.
    pub bytes: Option<u64>,
}

/// One copy that has been decided on.
struct Planned<'a> {
    /// Its place among the observed dates.
    at: usize,
    observed: &'a ObservedWire,
    schema: SchemaRef,
    path: Location,
    /// Whether the snapshot that the intervals were made from stands there.
    stands: bool,
}

/// Writes the copies of a range.
///
/// # Errors
/// A refusal if the range has no observed date or the intervals do not give back what was recorded;
/// a conflict if another copy stands in the place of one.
pub fn expand(workspace: &Workspace<'_>, options: &ExpandOptions) -> Result<ExpandReport> {
    let range = DateRange::new(options.from, options.to)?;
    let (table, intervals) = open(workspace, options)?;
    let root = workspace.here(&options.out)?;
    refuse_place(workspace, &table, &root)?;
    if !intervals.is_whole() {
        say_selection(workspace, &table, &intervals, &root)?;
    }
    let newer = if options.intervals.is_none() {
        compare_with_lake(workspace, &table, &intervals, range)?
    } else {
        0
    };
    let planned = plan(&table, &intervals, range, &root)?;
    if let Some(name) = PathColumns::of(
        &intervals.table_schema(),
        &LakeRoot::layout()?,
        options.from,
    )
    .names()
    .next()
    {
        workspace.progress.note(&format!(
            "column '{name}' has the name of the partition: readers that take columns from paths \
             will show the path's value, or fail"
        ));
    }
    if !options.dry_run {
        workspace.check_writes_below(&root)?;
        let folders = planned.iter().filter_map(|copy| copy.path.parent());
        folders.for_each(|folder| sweep(&folder, workspace.clock.now()));
    }
    let mut dates = Vec::with_capacity(planned.len());
    for chunk in planned.chunks(DATES_A_PASS) {
        workspace.progress.step(
            &format!("expand {table}"),
            dates.len() as u64,
            planned.len() as u64,
        );
        dates.extend(if options.dry_run {
            chunk.iter().map(|copy| outlook(workspace, copy)).collect()
        } else {
            write(workspace, &intervals, chunk)?
        });
    }
    Ok(ExpandReport {
        table,
        path: workspace.shown(&root),
        range,
        dry_run: options.dry_run,
        exact: intervals.compares_all(),
        missing_days: (range.len() - dates.len()) as u64 - newer,
        dates,
    })
}

/// Refuses a place where copies would be taken for something else: in the lake, unless it is that
/// of the table's own snapshots; among events or copies of another tool; in a folder of other data.
fn refuse_place(workspace: &Workspace<'_>, table: &TableName, root: &Location) -> Result<()> {
    const HINT: &str = "--out DIR, in another folder";
    if workspace.has_lake() {
        let lake = workspace.lake()?;
        if root.resolved() == lake.snapshots(table).resolved() {
            return Ok(());
        }
        if root.is_within(lake.root()) {
            let what = format!("'{root}' is inside the lake, where tables are kept");
            return Err(Error::usage(what).hint(HINT));
        }
    }
    let destination = Destination {
        place: root,
        object: root,
        what: "the folder",
        hint: HINT,
    };
    destination.check_external(workspace)?;
    destination.check_configured_events(workspace)?;
    let layout = LakeRoot::layout()?;
    let is_other = |entry: &&Entry| {
        let is_data = entry.is_folder || Format::of(&root.join(&entry.name)).is_some();
        is_data && file_names::is_data(&entry.name) && layout.date(&entry.name).is_none()
    };
    match root.entries()?.iter().find(is_other) {
        Some(other) => {
            let what = format!("'{root}' holds other data than copies: '{}'", other.name);
            Err(Error::usage(what).hint(HINT))
        }
        None => Ok(()),
    }
}

/// Says that copies have only the rows and columns that the intervals are of, and refuses such
/// copies in the place of the snapshots.
fn say_selection(
    workspace: &Workspace<'_>,
    table: &TableName,
    intervals: &Intervals,
    root: &Location,
) -> Result<()> {
    let selected = intervals.selection().in_words();
    if workspace.has_lake() && root.is_within(workspace.lake()?.root()) {
        return Err(Error::usage(format!(
            "table {table}: the intervals hold only {selected}, and cannot reproduce whole \
             snapshots"
        ))
        .hint("--out DIR, outside of the lake, for copies of that selection"));
    }
    workspace.progress.note(&format!(
        "{table}: the copies hold only what the intervals hold: {selected}"
    ));
    Ok(())
}

/// Refuses intervals whose snapshots were rewritten since. Gives the number of snapshots of the
/// range that are not in them yet.
fn compare_with_lake(
    workspace: &Workspace<'_>,
    name: &TableName,
    intervals: &Intervals,
    range: DateRange,
) -> Result<u64> {
    let table = workspace.table(name, &intervals.footer.key)?;
    if !table.own {
        return Ok(0);
    }
    let found = table.find(Some(range))?.partitions;
    let (known, newer): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(date, _)| intervals.fingerprint(*date).is_some());
    let footers = parallel::map(
        object_threads(table.root.store().is_some()),
        &known,
        |(_, objects)| footer_of(&objects[0]),
    );
    for ((date, _), footer) in known.iter().zip(footers) {
        if footer?.is_some_and(|footer| {
            intervals
                .snapshot(*date)
                .is_none_or(|observed| !observed.is(footer.fingerprint))
        }) {
            return Err(Error::refused(format!(
                "table {name}: the snapshot of {date} was rewritten since its intervals were made"
            ))
            .hint(format!("asof compact {name}")));
        }
    }
    if let Some((first, _)) = newer.first() {
        let more = if newer.len() > 1 {
            format!(" and {} more", newer.len() - 1)
        } else {
            String::new()
        };
        workspace.progress.note(&format!(
            "the snapshot of {first}{more} is not in the intervals yet; asof compact {name}"
        ));
    }
    Ok(newer.len() as u64)
}

fn open(workspace: &Workspace<'_>, options: &ExpandOptions) -> Result<(TableName, Intervals)> {
    let table = match &options.intervals {
        Some(_) => options.table.parse()?,
        None => workspace.known(&options.table)?,
    };
    let path = workspace.intervals_path(&table, options.intervals.as_deref())?;
    let Some(mut intervals) = Intervals::open(&path)? else {
        return Err(Error::usage(format!(
            "table {table} has no intervals at '{}'",
            workspace.shown(&path)
        ))
        .hint(format!("asof compact {table}")));
    };
    if options.intervals.is_none() {
        intervals.mark_dropped(&workspace.dropped(&table)?);
    }
    Ok((table, intervals))
}

fn plan<'a>(
    table: &TableName,
    intervals: &'a Intervals,
    range: DateRange,
    root: &Location,
) -> Result<Vec<Planned<'a>>> {
    let layout = LakeRoot::layout()?;
    let observed = &intervals.footer.observed;
    let chosen = observed
        .iter()
        .enumerate()
        .filter(|(_, observed)| range.contains(observed.date))
        .filter(|(_, observed)| !intervals.dropped.contains(&observed.date));
    let planned = chosen
        .map(|(at, observed)| planned(table, intervals, at, observed, root, &layout))
        .collect::<Result<Vec<_>>>()?;
    let (Some(first), Some(last)) = (observed.first(), observed.last()) else {
        return Err(Error::refused(format!(
            "the intervals of table {table} were made from no snapshot"
        ))
        .hint(format!("asof compact {table} --full")));
    };
    if planned.is_empty()
        && let Some(dropped) = intervals.dropped.iter().find(|date| range.contains(**date))
    {
        let what = format!("table {table}: the snapshot of {dropped} was dropped");
        let again = format!("asof restore {} {dropped}", word(table.as_str()));
        return Err(Error::refused(what).hint(again));
    }
    if planned.is_empty() {
        return Err(Error::refused(format!(
            "table {table} has no snapshot from {range}; its intervals hold {} dates from {} to {}",
            observed.len(),
            first.date,
            last.date
        ))
        .hint(format!("--from {} --to {}", first.date, last.date)));
    }
    Ok(planned)
}

fn planned<'a>(
    table: &TableName,
    intervals: &Intervals,
    at: usize,
    observed: &'a ObservedWire,
    root: &Location,
    layout: &Layout,
) -> Result<Planned<'a>> {
    let path = root
        .join(&layout.path(observed.date))
        .join(&format!("{table}.parquet"));
    let stands = match standing(&path)? {
        StandingCopy::Nothing => false,
        // A whole copy is not a copy of the selection.
        StandingCopy::Copy(fingerprint) if observed.is(fingerprint) && !intervals.is_whole() => {
            return Err(conflict(table, observed.date, &path));
        }
        StandingCopy::Copy(fingerprint) if observed.is(fingerprint) => true,
        StandingCopy::Copy(_) if !intervals.compares_all() => false,
        StandingCopy::Copy(_) | StandingCopy::Unrecognized => {
            return Err(conflict(table, observed.date, &path));
        }
    };
    Ok(Planned {
        at,
        observed,
        schema: intervals.selection().kept(&intervals.schema_of(at)?),
        path,
        stands,
    })
}

/// What has the name of a copy already.
enum StandingCopy {
    Nothing,
    Copy(Fingerprint),
    Unrecognized,
}

fn standing(path: &Location) -> Result<StandingCopy> {
    if !path.exists()? {
        return Ok(StandingCopy::Nothing);
    }
    Ok(
        match ParquetObject::open(path)?
            .footer()?
            .map(|footer| footer.content)
        {
            Some(Content::Snapshot(footer)) => StandingCopy::Copy(footer.fingerprint),
            _ => StandingCopy::Unrecognized,
        },
    )
}

fn conflict(table: &TableName, date: NaiveDate, path: &Location) -> Error {
    Error::conflict(format!(
        "table {table}: a different snapshot of {date} already exists at '{path}'"
    ))
    .hint("--out DIR, for an empty folder")
}

/// A copy as it is before it is written.
fn outlook(workspace: &Workspace<'_>, copy: &Planned<'_>) -> ExpandedDate {
    ExpandedDate {
        snapshot_date: copy.observed.date,
        outcome: if copy.stands {
            Outcome::Kept
        } else {
            Outcome::Planned
        },
        path: workspace.shown(&copy.path),
        rows: copy.observed.rows,
        bytes: None,
    }
}

/// A copy on its way.
struct Copy<'a> {
    planned: &'a Planned<'a>,
    staged: Staged,
    writer: ObjectWriter,
    sum: RowSum,
}

impl Copy<'_> {
    /// Takes the rows that hold on its date.
    fn take(&mut self, batch: &IntervalBatch) -> Result<()> {
        let holds: BooleanArray = batch
            .intervals
            .iter()
            .map(|interval| Some(interval.holds(self.planned.observed.date)))
            .collect();
        if holds.true_count() == 0 {
            return Ok(());
        }
        let rows =
            filter_record_batch(&batch.rows, &holds).io_context(|| "cannot select rows".into())?;
        let rows = conform(&rows, &self.planned.schema)
            .map_err(|error| error.within(self.planned.observed.date))?;
        self.sum.add(&all_digests(&rows)?);
        self.writer.write(rows)
    }
}

/// A copy that is whole and has not been published.
struct Finished<'a> {
    planned: &'a Planned<'a>,
    staged: Staged,
    sum: RowSum,
    bytes: u64,
}

/// Writes up to 31 copies in one pass, and publishes them once all of them are right.
fn write(
    workspace: &Workspace<'_>,
    intervals: &Intervals,
    planned: &[Planned<'_>],
) -> Result<Vec<ExpandedDate>> {
    let mut copies = planned
        .iter()
        .filter(|copy| !copy.stands)
        .map(|copy| begin(intervals, copy))
        .collect::<Result<Vec<_>>>()?;
    if !copies.is_empty() {
        for batch in intervals.read(None)? {
            let batch = batch?;
            copies.iter_mut().try_for_each(|copy| copy.take(&batch))?;
        }
    }
    let finished = copies
        .into_iter()
        .map(|copy| finish(intervals, copy))
        .collect::<Result<Vec<_>>>()?;
    let mut finished = finished.into_iter().peekable();
    let mut dates = Vec::with_capacity(planned.len());
    for copy in planned {
        dates.push(
            match finished.next_if(|finished| finished.planned.observed.date == copy.observed.date)
            {
                None => outlook(workspace, copy),
                Some(finished) => publish(workspace, intervals, finished)?,
            },
        );
    }
    Ok(dates)
}

fn begin<'a>(intervals: &Intervals, planned: &'a Planned<'a>) -> Result<Copy<'a>> {
    let staged = Staged::create(&planned.path)?;
    let writer = ObjectWriter::create(
        staged.writer()?,
        &planned.schema,
        &intervals.footer.key,
        &planned.path,
    )?;
    Ok(Copy {
        planned,
        staged,
        writer,
        sum: RowSum::default(),
    })
}

/// Ends an object, and compares it with what was recorded.
fn finish<'a>(intervals: &Intervals, copy: Copy<'a>) -> Result<Finished<'a>> {
    let Copy {
        planned,
        staged,
        writer,
        sum,
    } = copy;
    let recorded = planned.observed;
    let table = &intervals.footer.table;
    let knows_rows = intervals.footer.condition.is_none();
    if (knows_rows && sum.rows() != recorded.rows)
        || (intervals.compares_all() && sum.fingerprint() != recorded.fingerprint)
    {
        return Err(Error::refused(format!(
            "table {table}, {}: the intervals do not reproduce what was recorded: {} rows of \
             fingerprint {}, and not {} of {}",
            recorded.date,
            sum.rows(),
            sum.fingerprint(),
            recorded.rows,
            recorded.fingerprint
        ))
        .hint(format!("asof verify {table}")));
    }
    let footer = Footer::new(Content::Snapshot(SnapshotFooter {
        table: table.clone(),
        snapshot_date: recorded.date,
        key: intervals.footer.key.clone(),
        rows: sum.rows(),
        fingerprint: sum.fingerprint(),
        source: None,
        dated_source: None,
        taken_at: None,
        published_at: None,
        backdated: false,
        forced: Vec::new(),
        refused: Vec::new(),
        absent: Some(intervals.absent_on(planned.at)?),
        dedup: None,
        dropped_rows: None,
        not_compared: None,
        asof_version: env!("CARGO_PKG_VERSION").into(),
    }));
    Ok(Finished {
        planned,
        staged,
        sum,
        bytes: writer.finish(&footer)?,
    })
}

fn publish(
    workspace: &Workspace<'_>,
    intervals: &Intervals,
    finished: Finished<'_>,
) -> Result<ExpandedDate> {
    let Finished {
        planned,
        staged,
        sum,
        bytes,
    } = finished;
    let date = planned.observed.date;
    let same = |fingerprint| {
        fingerprint == sum.fingerprint() || fingerprint == planned.observed.fingerprint
    };
    let published = uninterrupted(|| {
        let outcome = staged.publish_new()?;
        if outcome == Published::Done {
            let path = planned.path.as_local();
            interrupt::published(&intervals.footer.table, Some(date), path);
        }
        Ok::<_, Error>(outcome)
    });
    let (outcome, bytes) = match published? {
        Published::Done => (Outcome::Published, Some(bytes)),
        Published::Exists => match standing(&planned.path)? {
            StandingCopy::Copy(fingerprint) if same(fingerprint) => (Outcome::Kept, None),
            _ => {
                return Err(conflict(
                    &intervals.footer.table.parse()?,
                    date,
                    &planned.path,
                ));
            }
        },
    };
    Ok(ExpandedDate {
        snapshot_date: date,
        outcome,
        path: workspace.shown(&planned.path),
        rows: sum.rows(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use super::*;
    use crate::commands::compact::CompactOptions;
    use crate::commands::testing::{TestLake, date, pick, rewrite};
    use crate::commands::verify::{VerifyOptions, verify};
    use crate::error::Kind;

    fn options(from: &str, to: &str) -> ExpandOptions {
        ExpandOptions {
            table: "item".into(),
            from: date(from),
            to: date(to),
            out: "copies".into(),
            dry_run: false,
            intervals: None,
        }
    }

    fn rows(path: &std::path::Path) -> Vec<RecordBatch> {
        ParquetObject::open(&Location::local(path))
            .expect("it opens")
            .read(None)
            .expect("a stream")
            .collect::<Result<_>>()
            .expect("rows")
    }

    fn outcomes(report: &ExpandReport) -> Vec<Outcome> {
        report.dates.iter().map(|date| date.outcome).collect()
    }

    #[test]
    fn expanded_copies_are_the_snapshots_in_rows_order_and_schema() {
        let lake = TestLake::filled();
        lake.compact("item");
        let report =
            expand(&lake.workspace(), &options("2024-01-01", "2024-01-31")).expect("copies");
        assert_eq!(
            (report.dates.len(), report.missing_days, report.exact),
            (3, 28, true)
        );
        for day in ["2024-01-01", "2024-01-02", "2024-01-05"] {
            let copy = lake
                .path()
                .join(format!("copies/snapshot_date={day}/item.parquet"));
            assert_eq!(rows(&copy), rows(&lake.object(day)), "{day}");
        }
        assert!(
            !lake.path().join("copies/snapshot_date=2024-01-03").exists(),
            "a gap is not invented"
        );
        let again = expand(&lake.workspace(), &options("2024-01-01", "2024-01-31")).expect("kept");
        assert_eq!(outcomes(&again), [Outcome::Kept; 3]);
    }

    #[test]
    fn a_plan_writes_nothing() {
        let lake = TestLake::filled();
        lake.compact("item");
        let report = expand(
            &lake.workspace(),
            &ExpandOptions {
                dry_run: true,
                ..options("2024-01-02", "2024-01-05")
            },
        )
        .expect("a plan");
        assert_eq!(outcomes(&report), [Outcome::Planned; 2]);
        assert_eq!(
            report
                .dates
                .iter()
                .map(|date| date.rows)
                .collect::<Vec<_>>(),
            [2, 4]
        );
        assert!(!lake.path().join("copies").exists());
    }

    #[test]
    fn a_pruned_snapshot_comes_back_into_the_lake() {
        let lake = TestLake::filled();
        lake.compact("item");
        let before = rows(&lake.object("2024-01-02"));
        lake.forget("item", "2024-01-02");
        let out = ExpandOptions {
            out: "lake/item/snapshots".into(),
            ..options("2024-01-01", "2024-01-05")
        };
        let report = expand(&lake.workspace(), &out).expect("copies");
        assert_eq!(
            outcomes(&report),
            [Outcome::Kept, Outcome::Published, Outcome::Kept]
        );
        assert_eq!(rows(&lake.object("2024-01-02")), before);
        assert!(
            verify(&lake.workspace(), &VerifyOptions::default())
                .expect("verified")
                .is_ok()
        );
    }

    #[test]
    fn a_range_without_snapshots_is_refused_with_the_dates_there_are() {
        let lake = TestLake::filled();
        lake.compact("item");
        let error =
            expand(&lake.workspace(), &options("2024-01-03", "2024-01-04")).expect_err("a gap");
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(
            error.to_string(),
            "table item has no snapshot from 2024-01-03 to 2024-01-04; its intervals hold 3 dates \
             from 2024-01-01 to 2024-01-05"
        );
        assert_eq!(error.hints(), ["--from 2024-01-01 --to 2024-01-05"]);
    }

    #[test]
    fn another_copy_in_the_place_is_a_conflict_and_nothing_is_written() {
        let lake = TestLake::filled();
        lake.compact("item");
        let path = lake
            .path()
            .join("copies/snapshot_date=2024-01-05/item.parquet");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::copy(lake.object("2024-01-01"), &path).expect("copied");
        let error =
            expand(&lake.workspace(), &options("2024-01-01", "2024-01-05")).expect_err("another");
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(!lake.path().join("copies/snapshot_date=2024-01-01").exists());
    }

    #[test]
    fn intervals_that_lost_a_row_are_refused_before_anything_is_published() {
        let lake = TestLake::filled();
        lake.compact("item");
        rewrite(
            &lake.intervals(),
            |batch| pick(&batch, &[0, 1, 2, 3, 4, 5]),
            |_| {},
        );
        let error = expand(&lake.workspace(), &options("2024-01-01", "2024-01-05"))
            .expect_err("a row lacks");
        assert_eq!(error.kind(), Kind::Refused);
        let left = std::fs::read_dir(lake.path().join("copies"))
            .expect("the root")
            .count();
        assert_eq!(left, 0, "{error}");
    }

    #[test]
    fn columns_that_are_not_compared_make_copies_that_are_not_exact() {
        let lake = TestLake::new();
        lake.take("2024-01-01", "id,price,seen\n1,10,a\n");
        lake.take("2024-01-02", "id,price,seen\n1,10,b\n");
        lake.compact_with(
            "item",
            &CompactOptions {
                ignore: vec!["seen".into()],
                ..CompactOptions::default()
            },
        );
        let report =
            expand(&lake.workspace(), &options("2024-01-01", "2024-01-02")).expect("copies");
        assert!(!report.exact);
        let again = expand(&lake.workspace(), &options("2024-01-01", "2024-01-02")).expect("kept");
        assert_eq!(outcomes(&again), [Outcome::Kept; 2]);
    }

    #[test]
    fn intervals_outside_of_the_lake_serve_in_several_passes() {
        let lake = TestLake::new();
        for day in 0..40 {
            let date = date("2024-01-01") + chrono::Days::new(day);
            lake.take(&date.to_string(), &format!("id,n\n1,{}\n2,5\n", day / 7));
        }
        lake.compact_with(
            "item",
            &CompactOptions {
                out: Some("elsewhere.parquet".into()),
                ..CompactOptions::default()
            },
        );
        let from = ExpandOptions {
            intervals: Some("elsewhere.parquet".into()),
            ..options("2024-01-01", "2024-12-31")
        };
        let report = expand(&lake.workspace(), &from).expect("copies");
        assert_eq!((report.dates.len(), report.missing_days), (40, 326));
        assert_eq!(
            expand(&lake.workspace(), &options("2024-01-01", "2024-01-01"))
                .expect_err("none")
                .kind(),
            Kind::Usage
        );
    }

    #[test]
    fn what_was_rewritten_since_the_compaction_is_refused_and_what_is_newer_is_no_gap() {
        let lake = TestLake::filled();
        lake.compact("item");
        lake.take("2024-01-06", "id,price\n1,10\n");
        let report =
            expand(&lake.workspace(), &options("2024-01-05", "2024-01-06")).expect("expanded");
        assert_eq!((report.dates.len(), report.missing_days), (1, 0));
        lake.take("2024-01-02", "id,price\n1,11\n2,21\n");
        let error =
            expand(&lake.workspace(), &options("2024-01-01", "2024-01-02")).expect_err("rewritten");
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(
            error.to_string(),
            "table item: the snapshot of 2024-01-02 was rewritten since its intervals were made"
        );
        assert!(!lake.path().join("copies/snapshot_date=2024-01-01").exists());
    }

    #[test]
    fn copies_do_not_go_into_the_lake_beside_tables() {
        let lake = TestLake::filled();
        lake.compact("item");
        let elsewhere = ExpandOptions {
            out: "lake/item2".into(),
            ..options("2024-01-01", "2024-01-02")
        };
        assert_eq!(
            expand(&lake.workspace(), &elsewhere)
                .expect_err("in the lake")
                .kind(),
            Kind::Usage
        );
    }
}
