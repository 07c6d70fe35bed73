//! `asof verify`: proves on the user's own data that intervals reproduce every snapshot.
//!
//! **What is proven.** Each snapshot in asof's own lake is whole, sorted, without null or duplicate keys, and has
//! the rows and fingerprint that its footer says. Intervals are sorted, do not overlap, and begin and end
//! where the gap policy allows. And the round trip: for every observed date D, expand(intervals, D) equals snapshot(D), typed,
//! row for row, on the compared columns. A date whose snapshot was pruned is held against the fingerprint that was recorded.
//!
//! **What is read, and how often.** The intervals once, each snapshot once. A sum of row digests is a group
//! ([`RowSum`]): each interval adds its row at the first observed date that it holds on and takes it away after the last, and the
//! running sum is the expansion of every date. Only a date that fails is read a second time, with the intervals, to
//! name its keys, and only the first five of those.
//!
//! **What is held.** One sum for each observed date, and a batch for each thread that reads snapshots; for the second look two sorters.
//!
//! A problem never ends the run: it is collected, and [`VerifyReport::is_sound`] decides.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::OwnedRow;
use chrono::NaiveDate;
use serde::Serialize;

use super::Workspace;
use super::inspect::{Inspected, inspect, sentence};
use crate::domain::diff::{Difference, KeyedBatch, diff};
use crate::domain::digest::{Fingerprint, RowSum, row_digests};
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Interval;
use crate::domain::schema::{conform, quoted, unify};
use crate::engine::intervals::Intervals;
use crate::engine::table::{Table, all_digests, show_key};
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::Batches;
use crate::storage::footer::{IntervalsFooter, SnapshotFooter};
use crate::storage::object::ParquetObject;
use crate::storage::partitions::{Object, is_data};
use crate::storage::sorter::{BUDGET, KeyEncoder, Sorter};

/// How many keys or rows a problem shows.
const SHOWN: usize = 5;
/// How many dates that fail the round trip are read a second time.
const SECOND_LOOKS: usize = 5;
/// How many threads read snapshots.
const READERS: usize = 8;

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An object cannot be opened or decoded.
    Unreadable,
    /// A footer is missing, or says other than the folder, the name or the rows.
    Footer,
    /// Keys are null, stand twice or are not in order.
    Keys,
    /// Intervals break an invariant.
    Intervals,
    /// A snapshot was rewritten since the intervals were made.
    Stale,
    /// Intervals do not give a snapshot back.
    RoundTrip,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table.
    pub table: TableName,
    /// The date it concerns, unless it concerns the intervals as a whole.
    pub date: Option<NaiveDate>,
    /// What kind of thing.
    pub kind: ProblemKind,
    /// What is wrong, in words.
    pub what: String,
}

/// What was checked of one table.
#[derive(Clone, Debug, Serialize)]
pub struct TableProof {
    /// The table.
    pub table: TableName,
    /// How many snapshots were read to their end.
    pub snapshots: u64,
    /// Their rows.
    pub rows: u64,
    /// How many intervals were read; nothing if there are none.
    pub intervals: Option<u64>,
    /// How many dates the intervals gave back, row for row.
    pub round_trips: u64,
    /// How many of those have no snapshot any more and were held against the recorded fingerprint.
    pub pruned: u64,
    /// How many dates without a snapshot were held against the recorded number of rows only, because columns are left out of the comparison.
    pub counted_only: u64,
    /// How many snapshots the intervals do not know yet.
    pub not_compacted: u64,
    /// Names among the snapshots that are not of the layout, up to five, and objects that are not named after the table.
    pub strangers: Vec<String>,
    /// What killed processes left behind; the next run of their command removes it after a day.
    pub leftovers: Vec<String>,
}

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// One a table.
    pub tables: Vec<TableProof>,
    /// By table, intervals first, then by date.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether everything that was checked holds.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies the tables, one after the other.
///
/// # Errors
/// A usage error for a table that is unknown, and what concerns a table as a whole; damage to an object is a problem in
/// the report.
pub fn verify(workspace: &Workspace<'_>, tables: &[String]) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    for name in workspace.tables(tables)? {
        let inspected = inspect(workspace, &name)?;
        let mut verification = Verification::begin(workspace, &inspected);
        verification.run(&inspected);
        report.tables.push(verification.proof);
        report.problems.extend(verification.problems);
    }
    Ok(report)
}

/// The verification of one table.
struct Verification<'a> {
    workspace: &'a Workspace<'a>,
    table: &'a Table,
    proof: TableProof,
    problems: Vec<Problem>,
    second_looks: usize,
}

impl<'a> Verification<'a> {
    fn begin(workspace: &'a Workspace<'a>, inspected: &'a Inspected) -> Self {
        let table = &inspected.table;
        let mut strangers = inspected.found.strangers.clone();
        if table.own {
            let expected = format!("{}.parquet", table.name);
            let misnamed = inspected.found.partitions.values().flatten().filter(|object| !object.path.ends_with(&expected));
            strangers.extend(misnamed.take(SHOWN).map(|object| object.relative.clone()));
        }
        let proof = TableProof {
            table: table.name.clone(),
            snapshots: 0,
            rows: 0,
            intervals: None,
            round_trips: 0,
            pruned: 0,
            counted_only: 0,
            not_compacted: 0,
            strangers,
            leftovers: leftovers(workspace, inspected),
        };
        Verification { workspace, table, proof, problems: Vec::new(), second_looks: 0 }
    }

    fn problem(&mut self, date: Option<NaiveDate>, kind: ProblemKind, what: impl Into<String>) {
        self.problems.push(Problem { table: self.table.name.clone(), date, kind, what: what.into() });
    }

    fn run(&mut self, inspected: &Inspected) {
        let intervals = match &inspected.intervals {
            Ok(intervals) => intervals.as_ref(),
            Err(error) => {
                self.problem(None, ProblemKind::Unreadable, format!("the intervals cannot be read: {error}"));
                None
            }
        };
        let expanded = intervals.and_then(|intervals| self.check_intervals(intervals));
        let jobs = jobs(inspected, intervals);
        let done = AtomicU64::new(0);
        let looks = side_by_side(&jobs, |job| {
            let done = done.fetch_add(1, Ordering::Relaxed);
            self.workspace.progress.step(&format!("verify {}", self.table.name), done, jobs.len() as u64);
            look(self.table, job, intervals.map(|intervals| &intervals.footer))
        });
        let mut pairs = jobs.iter().zip(looks).peekable();
        for (at, observed) in intervals.into_iter().flat_map(|intervals| intervals.footer.observed.iter().enumerate()) {
            while let Some((job, look)) = pairs.next_if(|(job, _)| job.date < observed.date) {
                self.take(job, look);
            }
            let pair = pairs.next_if(|(job, _)| job.date == observed.date).and_then(|(job, look)| Some((job, self.take(job, look)?)));
            let Some((intervals, sum)) = intervals.zip(expanded.as_ref().map(|sums| sums[at])) else { continue };
            match pair {
                Some((job, look)) => self.round_trip(intervals, at, job, &look, sum),
                None if inspected.found.partitions.contains_key(&observed.date) => {}
                None => self.pruned_round_trip(intervals, at, sum),
            }
        }
        for (job, look) in pairs {
            self.take(job, look);
        }
        let known: BTreeSet<NaiveDate> = intervals.map(Intervals::observed).unwrap_or_default().into_iter().collect();
        self.proof.not_compacted = inspected.found.partitions.keys().filter(|date| !known.contains(date)).count() as u64;
    }

    /// Records what a snapshot showed; gives it back if it was read to its end.
    fn take(&mut self, job: &Job<'_>, look: Look) -> Option<Look> {
        for (kind, what) in &look.problems {
            self.problem(Some(job.date), *kind, what);
        }
        if !look.complete {
            return None;
        }
        self.proof.snapshots += 1;
        self.proof.rows += look.whole.rows();
        Some(look)
    }

    /// Checks the invariants of intervals, and expands them on every observed date at once. Gives nothing if the
    /// expansion would mean nothing.
    fn check_intervals(&mut self, intervals: &Intervals) -> Option<Vec<RowSum>> {
        let footer = &intervals.footer;
        if footer.table != self.table.name.as_str() {
            self.problem(None, ProblemKind::Footer, format!("the intervals say that they are of table {}", footer.table));
        }
        let observed = intervals.observed();
        if !observed.is_sorted_by(|a, b| a < b) {
            self.problem(None, ProblemKind::Footer, "the intervals' observed dates are not in order");
            return None;
        }
        let mut scan = match IntervalScan::new(intervals, observed) {
            Ok(scan) => scan,
            Err(error) => {
                self.problem(None, ProblemKind::Footer, format!("the intervals cannot be read: {error}"));
                return None;
            }
        };
        let outcome = scan.read(intervals);
        for (finding, what) in scan.findings.in_words() {
            self.problem(None, ProblemKind::Intervals, finding.sentence(what));
        }
        if let Err(error) = outcome {
            self.problem(None, ProblemKind::Unreadable, format!("the intervals cannot be read: {error}"));
            return None;
        }
        self.proof.intervals = Some(scan.rows);
        if scan.rows != footer.intervals {
            self.problem(None, ProblemKind::Footer, format!("the footer says {} intervals, and there are {}", footer.intervals, scan.rows));
        }
        Some(scan.running_sums())
    }

    fn round_trip(&mut self, intervals: &Intervals, at: usize, job: &Job<'_>, look: &Look, expanded: RowSum) {
        let stands = look.recorded.unwrap_or_else(|| look.whole.fingerprint());
        if stands != intervals.footer.observed[at].fingerprint {
            let what = format!("the snapshot of {} was rewritten since; asof compact {}", job.date, self.table.name);
            return self.problem(Some(job.date), ProblemKind::Stale, what);
        }
        if look.compared.fingerprint() == expanded.fingerprint() {
            self.proof.round_trips += 1;
            return;
        }
        let mut what = format!("the intervals give {} rows that are not the snapshot's {}", expanded.rows(), look.compared.rows());
        if self.second_looks < SECOND_LOOKS {
            self.second_looks += 1;
            let named = second_look(self.table, intervals, job);
            what = format!("{what}: {}", named.unwrap_or_else(|error| format!("and which keys cannot be told: {error}")));
        }
        self.problem(Some(job.date), ProblemKind::RoundTrip, what);
    }

    fn pruned_round_trip(&mut self, intervals: &Intervals, at: usize, expanded: RowSum) {
        let recorded = &intervals.footer.observed[at];
        let same_rows = expanded.rows() == recorded.rows;
        match (intervals.compares_all(), same_rows) {
            (true, true) if expanded.fingerprint() == recorded.fingerprint => {
                self.proof.round_trips += 1;
                self.proof.pruned += 1;
            }
            (false, true) => self.proof.counted_only += 1,
            (_, same_rows) => {
                let what = if same_rows {
                    "the intervals give rows that are not those of the fingerprint that was recorded".to_owned()
                } else {
                    format!("the intervals give {} rows, and {} were recorded", expanded.rows(), recorded.rows)
                };
                self.problem(Some(recorded.date), ProblemKind::RoundTrip, format!("{what}; the snapshot is no longer in the lake"));
            }
        }
    }
}

/// The names of the columns that are compared.
fn compared(footer: &IntervalsFooter, schema: &Schema) -> Vec<String> {
    let counts = |name: &String| {
        if footer.track.is_empty() { !footer.ignore.contains(name) } else { footer.track.contains(name) || footer.key.contains(name) }
    };
    schema.fields().iter().map(|field| field.name()).filter(|name| counts(name)).cloned().collect()
}

/// What is wrong with some rows: how many, and the first of them.
#[derive(Default)]
struct Finding {
    count: u64,
    shown: Vec<String>,
}

impl Finding {
    fn add(&mut self, show: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(show());
        }
    }

    /// `2 rows have a null in the key: ...`; `what` holds the two forms of the verb's phrase.
    fn sentence(&self, what: [&str; 2]) -> String {
        let phrase = if self.count == 1 { what[0] } else { what[1] };
        let more = if self.count > self.shown.len() as u64 { "; ..." } else { "" };
        format!("{} {phrase}: {}{more}", self.count, self.shown.join("; "))
    }
}

/// What is wrong with intervals.
#[derive(Default)]
struct IntervalFindings {
    null_key: Finding,
    unsorted: Finding,
    overlapping: Finding,
    backwards: Finding,
    unobserved: Finding,
    wrong_end: Finding,
    divided: Finding,
}

impl IntervalFindings {
    fn in_words(&self) -> impl Iterator<Item = (&Finding, [&'static str; 2])> {
        [
            (&self.null_key, ["interval has a null in the key", "intervals have a null in the key"]),
            (&self.unsorted, ["interval is not in the order of key and start", "intervals are not in the order of key and start"]),
            (
                &self.overlapping,
                ["interval begins before the key's one before it ends", "intervals begin before the key's one before them ends"],
            ),
            (&self.backwards, ["interval ends before it starts", "intervals end before they start"]),
            (&self.unobserved, ["interval starts on a date without a snapshot", "intervals start on dates without a snapshot"]),
            (&self.wrong_end, ["interval ends where no snapshot ends it", "intervals end where no snapshot ends them"]),
            (
                &self.divided,
                ["interval goes on with the same row as the one before it", "intervals go on with the same row as the one before them"],
            ),
        ]
        .into_iter()
        .filter(|(finding, _)| finding.count > 0)
    }
}

/// One pass over intervals.
struct IntervalScan {
    observed: Vec<NaiveDate>,
    policy: GapPolicy,
    key: Vec<String>,
    compared: Vec<String>,
    encoder: KeyEncoder,
    /// What comes and goes at each observed date.
    steps: Vec<RowSum>,
    last: Option<(OwnedRow, Interval, u128)>,
    rows: u64,
    findings: IntervalFindings,
}

impl IntervalScan {
    fn new(intervals: &Intervals, observed: Vec<NaiveDate>) -> Result<Self> {
        let schema = intervals.table_schema();
        Ok(IntervalScan {
            steps: vec![RowSum::default(); observed.len()],
            observed,
            policy: intervals.footer.gaps.read(),
            key: intervals.footer.key.clone(),
            compared: compared(&intervals.footer, &schema),
            encoder: KeyEncoder::new(&schema, &intervals.footer.key)?,
            last: None,
            rows: 0,
            findings: IntervalFindings::default(),
        })
    }

    fn read(&mut self, intervals: &Intervals) -> Result<()> {
        let key = self.key.clone();
        for batch in intervals.read(None)? {
            let batch = batch?;
            let digests = row_digests(&batch.rows, self.compared.iter().map(String::as_str))?;
            let keys = self.encoder.encode(&batch.rows)?;
            let nulls = null_keys(&batch.rows, &key);
            for (row, interval) in batch.intervals.iter().enumerate() {
                self.expand(interval, digests[row]);
                let show = || format!("{} from {} to {}", show_key(&batch.rows, &key, row), interval.start, shown_end(interval));
                if nulls[row] {
                    self.findings.null_key.add(show);
                }
                self.check(interval, keys.row(row).owned(), digests[row], show);
            }
            self.rows += batch.intervals.len() as u64;
        }
        Ok(())
    }

    /// Adds a row where it begins to hold and takes it away where it no longer does.
    fn expand(&mut self, interval: &Interval, digest: u128) {
        let first = self.observed.partition_point(|date| *date < interval.start);
        let after = interval.end.map_or(self.observed.len(), |end| self.observed.partition_point(|date| *date <= end));
        if first < after {
            let mut row = RowSum::default();
            row.add(&[digest]);
            // Merged, not added: a step may have had more rows taken away than added.
            self.steps[first].merge(row);
            if let Some(step) = self.steps.get_mut(after) {
                step.take(digest);
            }
        }
    }

    fn check(&mut self, interval: &Interval, key: OwnedRow, digest: u128, show: impl Fn() -> String) {
        let findings = &mut self.findings;
        if interval.end.is_some_and(|end| end < interval.start) {
            findings.backwards.add(&show);
        }
        if self.observed.binary_search(&interval.start).is_err() {
            findings.unobserved.add(&show);
        }
        if let Some(end) = interval.end
            && !ends_rightly(&self.observed, self.policy, end)
        {
            findings.wrong_end.add(&show);
        }
        if let Some((last_key, last, last_digest)) = &self.last {
            match last_key.cmp(&key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Greater => findings.unsorted.add(&show),
                std::cmp::Ordering::Equal if last.start > interval.start => findings.unsorted.add(&show),
                std::cmp::Ordering::Equal if !last.precedes(interval) => findings.overlapping.add(&show),
                std::cmp::Ordering::Equal => {
                    if *last_digest == digest && continues(&self.observed, self.policy, last, interval) {
                        findings.divided.add(&show);
                    }
                }
            }
        }
        self.last = Some((key, *interval, digest));
    }

    /// The rows of each observed date.
    fn running_sums(self) -> Vec<RowSum> {
        let mut running = RowSum::default();
        let run = |step| {
            running.merge(step);
            running
        };
        self.steps.into_iter().map(run).collect()
    }
}

fn shown_end(interval: &Interval) -> String {
    interval.end.map_or_else(|| "now".to_owned(), |end| end.to_string())
}

/// Whether an inclusive end is one that the policy gives to a run that a later snapshot ended.
fn ends_rightly(observed: &[NaiveDate], policy: GapPolicy, end: NaiveDate) -> bool {
    let next = observed.partition_point(|date| *date <= end);
    match (next.checked_sub(1).map(|last| observed[last]), observed.get(next)) {
        (Some(last), Some(next)) => policy.run_end(last, *next) == end,
        _ => false,
    }
}

/// Whether `next` begins on the observed date after the last on which `last` holds, with no gap that divides them.
fn continues(observed: &[NaiveDate], policy: GapPolicy, last: &Interval, next: &Interval) -> bool {
    let Some(end) = last.end else { return false };
    let at = observed.partition_point(|date| *date <= end);
    at > 0 && observed.get(at) == Some(&next.start) && policy.joins(observed[at - 1], next.start)
}

/// Which rows have a null in their key.
fn null_keys(batch: &RecordBatch, key: &[String]) -> Vec<bool> {
    let mut null = vec![false; batch.num_rows()];
    for nulls in key.iter().filter_map(|name| batch.column_by_name(name)).filter_map(|column| column.logical_nulls()) {
        null.iter_mut().enumerate().for_each(|(row, null)| *null |= nulls.is_null(row));
    }
    null
}

/// One snapshot to be read.
struct Job<'a> {
    date: NaiveDate,
    objects: &'a [Object],
    /// The types of the snapshots before, for text formats.
    pinned: Option<SchemaRef>,
}

/// The snapshots to be read: all of asof's own, and of a foreign lake those that the intervals were made from.
fn jobs<'a>(inspected: &'a Inspected, intervals: Option<&Intervals>) -> Vec<Job<'a>> {
    let partitions = &inspected.found.partitions;
    if inspected.table.own {
        return partitions.iter().map(|(date, objects)| Job { date: *date, objects, pinned: None }).collect();
    }
    let mut jobs = Vec::new();
    let mut wide: Option<SchemaRef> = None;
    for (at, date) in intervals.map(Intervals::observed).unwrap_or_default().into_iter().enumerate() {
        if let Some(objects) = partitions.get(&date) {
            jobs.push(Job { date, objects, pinned: wide.clone() });
        }
        if let Some(schema) = intervals.and_then(|intervals| intervals.schema_of(at).ok()) {
            wide = match wide {
                Some(wide) => Some(unify(&wide, &schema).map_or(wide, |(wide, _)| wide)),
                None => Some(schema),
            };
        }
    }
    jobs
}

/// What reading a snapshot showed.
#[derive(Default)]
struct Look {
    problems: Vec<(ProblemKind, String)>,
    /// Whether it was read to its end.
    complete: bool,
    /// The fingerprint that its footer says.
    recorded: Option<Fingerprint>,
    /// The sum of its rows over all columns.
    whole: RowSum,
    /// The sum of its rows over the compared columns.
    compared: RowSum,
}

fn look(table: &Table, job: &Job<'_>, footer: Option<&IntervalsFooter>) -> Look {
    let mut look = Look::default();
    if let Err((kind, error)) = look.read(table, job, footer) {
        look.problems.push((kind, sentence(&error, &table.name)));
    }
    look
}

impl Look {
    fn read(&mut self, table: &Table, job: &Job<'_>, intervals: Option<&IntervalsFooter>) -> Result<(), (ProblemKind, Error)> {
        let unreadable = |error: Error| (ProblemKind::Unreadable, error);
        if table.own && job.objects.len() > 1 {
            let what = format!("{} files stand where one snapshot should: {}", job.objects.len(), job.objects[1].path.display());
            return Err((ProblemKind::Unreadable, Error::refused(what)));
        }
        let snapshot = table.open(job.date, job.objects, job.pinned.as_ref()).map_err(|error| {
            let whole = !table.own || ParquetObject::open(&job.objects[0].path).is_ok();
            (if whole && table.own { ProblemKind::Footer } else { ProblemKind::Unreadable }, error)
        })?;
        let schema = snapshot.schema.clone();
        let footer = snapshot.footer.clone();
        self.recorded = footer.as_ref().map(|footer| footer.fingerprint);
        let key = footer.as_ref().map_or(&table.key, |footer| &footer.key).clone();
        let mut order = KeyOrder::new(&schema, key).map_err(|error| (ProblemKind::Footer, error))?;
        let names = intervals.map(|footer| compared(footer, &schema)).filter(|names| names.len() < schema.fields().len());
        for batch in snapshot.read(None).map_err(unreadable)? {
            let batch = batch.map_err(unreadable)?;
            self.whole.add(&all_digests(&batch).map_err(unreadable)?);
            if let Some(names) = &names {
                self.compared.add(&row_digests(&batch, names.iter().map(String::as_str)).map_err(unreadable)?);
            }
            if table.own {
                order.look(&batch).map_err(unreadable)?;
            }
        }
        if names.is_none() {
            self.compared = self.whole;
        }
        self.complete = true;
        self.problems.extend(order.in_words().map(|what| (ProblemKind::Keys, what)));
        if let Some(footer) = &footer {
            self.hold_against(footer);
        }
        Ok(())
    }

    /// Compares the rows with what the footer says of them.
    fn hold_against(&mut self, footer: &SnapshotFooter) {
        let (rows, fingerprint) = (self.whole.rows(), self.whole.fingerprint());
        if rows != footer.rows {
            self.problems.push((ProblemKind::Footer, format!("its footer says {} rows, and there are {rows}", footer.rows)));
        } else if fingerprint != footer.fingerprint {
            let what = format!("its footer says fingerprint {}, and its rows give {fingerprint}", footer.fingerprint);
            self.problems.push((ProblemKind::Footer, what));
        }
    }
}

/// Holds the rows of a snapshot against its key: none null, strictly ascending.
struct KeyOrder {
    key: Vec<String>,
    encoder: KeyEncoder,
    last: Option<OwnedRow>,
    null: Finding,
    twice: Finding,
    unsorted: Finding,
}

impl KeyOrder {
    fn new(schema: &SchemaRef, key: Vec<String>) -> Result<Self> {
        let encoder = KeyEncoder::new(schema, &key)?;
        Ok(KeyOrder { key, encoder, last: None, null: Finding::default(), twice: Finding::default(), unsorted: Finding::default() })
    }

    fn look(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.key.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        let keys = self.encoder.encode(batch)?;
        let nulls = null_keys(batch, &self.key);
        for row in 0..batch.num_rows() {
            let current = keys.row(row);
            let order = match (row, &self.last) {
                (0, None) => std::cmp::Ordering::Less,
                (0, Some(last)) => last.row().cmp(&current),
                _ => keys.row(row - 1).cmp(&current),
            };
            let show = || show_key(batch, &self.key, row);
            if nulls[row] {
                self.null.add(show);
            }
            match order {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => self.twice.add(show),
                std::cmp::Ordering::Greater => self.unsorted.add(show),
            }
        }
        self.last = Some(keys.row(batch.num_rows() - 1).owned());
        Ok(())
    }

    fn in_words(&self) -> impl Iterator<Item = String> {
        [
            (&self.null, ["row has a null in the key", "rows have a null in the key"]),
            (&self.twice, ["row has the key of the row before it", "rows have the key of the row before them"]),
            (&self.unsorted, ["row has a key below that of the row before it", "rows have a key below that of the row before them"]),
        ]
        .into_iter()
        .filter(|(finding, _)| finding.count > 0)
        .map(|(finding, what)| finding.sentence(what))
    }
}

/// Names up to five keys by which the intervals differ from a snapshot.
fn second_look(table: &Table, intervals: &Intervals, job: &Job<'_>) -> Result<String> {
    let snapshot = table.open(job.date, job.objects, job.pinned.as_ref())?;
    let (schema, _) = unify(&intervals.table_schema(), &snapshot.schema).map_err(|clash| clash.refusal(table.name.as_str(), job.date))?;
    let (key, names) = (&intervals.footer.key, compared(&intervals.footer, &schema));
    let encoder = KeyEncoder::new(&schema, key)?;
    let keyed = |batch: Result<RecordBatch>| -> Result<KeyedBatch> {
        let batch = batch?;
        let digests = row_digests(&batch, names.iter().map(String::as_str))?;
        Ok(KeyedBatch { keys: encoder.encode(&batch)?, digests, batch })
    };
    let mut expanded = sorted(intervals.as_of(job.date, None)?, &schema, key)?.map(keyed);
    let mut stands = sorted(snapshot.read(None)?, &schema, key)?.map(keyed);
    let mut differing = Finding::default();
    diff(&mut expanded, &mut stands, |difference| {
        differing.add(|| match difference {
            Difference::Added(batch, row) => format!("{} is missing in the intervals", show_key(batch, key, row)),
            Difference::Removed(batch, row) => format!("{} is too many in the intervals", show_key(batch, key, row)),
            Difference::Changed(ours, theirs) => {
                format!("{} differs in {}", show_key(theirs.0, key, theirs.1), differing_columns(ours, theirs, &names))
            }
        });
        Ok(())
    })?;
    Ok(differing.sentence(["key", "keys"]))
}

/// Rows by key, brought into one schema.
fn sorted(batches: Batches, schema: &SchemaRef, key: &[String]) -> Result<Batches> {
    let mut sorter = Sorter::new(key, BUDGET);
    for batch in batches {
        sorter.push(conform(&batch?, schema)?)?;
    }
    sorter.finish(schema)
}

/// `price (21, and 22 in the snapshot)`, for each column in which two rows differ.
fn differing_columns(ours: (&RecordBatch, usize), theirs: (&RecordBatch, usize), names: &[String]) -> String {
    let digest = |(batch, row): (&RecordBatch, usize), name: &str| row_digests(&batch.slice(row, 1), [name]).ok();
    let value = |(batch, row): (&RecordBatch, usize), name: &str| match batch.column_by_name(name) {
        Some(column) if column.is_valid(row) => quoted(column, row),
        _ => "null".to_owned(),
    };
    let differing = names.iter().filter(|name| digest(ours, name) != digest(theirs, name));
    differing
        .map(|name| format!("{name} ({}, and {} in the snapshot)", value(ours, name), value(theirs, name)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Does the work for each item on a few threads; results are in the order of the items.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(READERS).min(items.len());
    let run = || {
        let mut mine = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return mine };
            mine.push((at, work(item)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What killed processes left in the folders of asof's own objects.
fn leftovers(workspace: &Workspace<'_>, inspected: &Inspected) -> Vec<String> {
    let mut folders: Vec<&std::path::Path> = inspected.intervals_path.as_deref().and_then(std::path::Path::parent).into_iter().collect();
    if inspected.table.own {
        folders.push(&inspected.table.root);
    }
    let mut left = Vec::new();
    for (depth, root) in folders.into_iter().enumerate() {
        gather_leftovers(workspace, root, depth > 0, &mut left);
    }
    left.sort();
    left
}

fn gather_leftovers(workspace: &Workspace<'_>, folder: &std::path::Path, deeper: bool, left: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".asof-") && name.ends_with(".tmp") {
            left.push(workspace.shown(&entry.path()));
        } else if deeper && is_data(&name) && entry.path().is_dir() {
            gather_leftovers(workspace, &entry.path(), false, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array};

    use super::super::compact::CompactOptions;
    use super::super::inspect::lakes::{TestLake, date, pick, rewrite};
    use super::*;
    use crate::config::TableConfig;
    use crate::engine::intervals::to_days;
    use crate::storage::footer::{Content, Footer};

    fn compacted() -> TestLake {
        let lake = TestLake::filled();
        lake.compact(&CompactOptions::default());
        lake
    }

    fn verified(lake: &TestLake) -> VerifyReport {
        verify(&lake.workspace(), &[]).expect("a report")
    }

    /// Date, kind and words of each problem.
    fn problems(lake: &TestLake) -> Vec<(Option<String>, ProblemKind, String)> {
        let report = verified(lake);
        assert_eq!(report.is_sound(), report.problems.is_empty());
        report.problems.into_iter().map(|problem| (problem.date.map(|date| date.to_string()), problem.kind, problem.what)).collect()
    }

    fn kinds(lake: &TestLake) -> Vec<(Option<String>, ProblemKind)> {
        problems(lake).into_iter().map(|(date, kind, _)| (date, kind)).collect()
    }

    fn on(day: &str) -> Option<String> {
        Some(day.to_owned())
    }

    /// A batch with one column put in the place of another of the same name.
    fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
        let at = batch.schema().index_of(name).expect("a column");
        let mut columns = batch.columns().to_vec();
        columns[at] = column;
        RecordBatch::try_new(batch.schema(), columns).expect("a batch")
    }

    fn with_date(batch: &RecordBatch, name: &str, row: usize, day: &str) -> RecordBatch {
        let column = batch.column_by_name(name).expect("a column");
        let days = column.as_any().downcast_ref::<Date32Array>().expect("dates");
        let changed = days.iter().enumerate().map(|(at, was)| if at == row { Some(to_days(date(day))) } else { was });
        with(batch, name, Arc::new(changed.collect::<Date32Array>()))
    }

    fn snapshot_footer(footer: &mut Footer) -> &mut SnapshotFooter {
        let Content::Snapshot(footer) = &mut footer.content else { panic!("a snapshot") };
        footer
    }

    fn intervals_footer(footer: &mut Footer) -> &mut IntervalsFooter {
        let Content::Intervals(footer) = &mut footer.content else { panic!("intervals") };
        footer
    }

    #[test]
    fn a_lake_that_asof_wrote_is_sound() {
        let lake = compacted();
        let report = verified(&lake);
        assert!(report.is_sound(), "{:?}", report.problems);
        let proof = &report.tables[0];
        assert_eq!((proof.snapshots, proof.rows, proof.intervals, proof.round_trips), (3, 9, Some(7), 3));
        assert!(proof.strangers.is_empty() && proof.leftovers.is_empty());
    }

    #[test]
    fn every_convention_and_gap_policy_makes_a_round_trip() {
        for options in [
            CompactOptions { gaps: Some("split".into()), ..CompactOptions::default() },
            CompactOptions { end: Some("exclusive".into()), open_end: Some("null".into()), ..CompactOptions::default() },
            CompactOptions { track: vec!["price".into()], ..CompactOptions::default() },
            CompactOptions { ignore: vec!["tag".into()], ..CompactOptions::default() },
        ] {
            let lake = TestLake::filled();
            lake.compact(&options);
            let report = verified(&lake);
            assert!(report.is_sound(), "{options:?}: {:?}", report.problems);
            assert_eq!(report.tables[0].round_trips, 3);
        }
    }

    #[test]
    fn random_histories_make_the_round_trip_and_intervals_that_lose_a_row_do_not() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let lake = TestLake::new();
        let mut day = date("2024-01-01");
        for _ in 0..12 {
            let rows: Vec<String> =
                (0..8).map(|id| (id, random(4))).filter(|(_, n)| *n > 0).map(|(id, n)| format!("{id},{}", n / 2)).collect();
            lake.take(&day.to_string(), &format!("id,n\n9,0\n{}\n", rows.join("\n")));
            day = day + chrono::Days::new(1 + random(3));
            if random(3) == 0 {
                lake.compact(&CompactOptions::default());
            }
        }
        lake.compact(&CompactOptions::default());
        let report = verified(&lake);
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!(report.tables[0].round_trips, 12);
        rewrite(&lake.intervals(), |batch| batch.slice(1, batch.num_rows() - 1), |footer| intervals_footer(footer).intervals -= 1);
        assert!(kinds(&lake).iter().any(|(_, kind)| *kind == ProblemKind::RoundTrip));
    }

    #[test]
    fn a_truncated_snapshot_is_unreadable_and_the_others_are_still_proven() {
        let lake = compacted();
        let bytes = std::fs::read(lake.object("2024-01-05")).expect("bytes");
        std::fs::write(lake.object("2024-01-05"), &bytes[..bytes.len() / 2]).expect("cut");
        assert_eq!(kinds(&lake), [(on("2024-01-05"), ProblemKind::Unreadable)]);
        assert_eq!(verified(&lake).tables[0].round_trips, 2);
    }

    #[test]
    fn without_intervals_the_key_comes_from_the_last_footer_that_can_be_read() {
        let lake = TestLake::filled();
        std::fs::write(lake.object("2024-01-05"), "PAR1").expect("cut");
        assert_eq!(kinds(&lake), [(on("2024-01-05"), ProblemKind::Unreadable)]);
        let report = verified(&lake);
        assert_eq!((report.tables[0].snapshots, report.tables[0].intervals, report.tables[0].not_compacted), (2, None, 3));
    }

    #[test]
    fn another_dates_object_is_found_by_its_footer() {
        let lake = compacted();
        std::fs::copy(lake.object("2024-01-01"), lake.object("2024-01-02")).expect("copied");
        let problems = problems(&lake);
        assert_eq!(problems.len(), 1);
        assert_eq!((&problems[0].0, problems[0].1), (&on("2024-01-02"), ProblemKind::Footer));
        assert!(problems[0].2.ends_with("says that it is item of 2024-01-01"), "{}", problems[0].2);
    }

    #[test]
    fn a_row_that_was_changed_inside_a_snapshot_is_found_and_its_key_and_column_named() {
        let lake = compacted();
        rewrite(&lake.object("2024-01-02"), |batch| with(&batch, "price", Arc::new(Int64Array::from(vec![10, 22]))), |_| {});
        let problems = problems(&lake);
        assert_eq!((problems[0].1, problems[1].1), (ProblemKind::Footer, ProblemKind::RoundTrip));
        assert!(problems[0].2.starts_with("its footer says fingerprint "), "{}", problems[0].2);
        assert_eq!(
            problems[1].2,
            "the intervals give 2 rows that are not the snapshot's 2: 1 key: id=2 differs in price (21.0, and 22.0 in the snapshot)"
        );
    }

    #[test]
    fn a_row_that_lacks_in_a_snapshot_is_found_by_its_count() {
        let lake = compacted();
        rewrite(&lake.object("2024-01-05"), |batch| batch.slice(0, 3), |_| {});
        let problems = problems(&lake);
        assert_eq!(problems[0].2, "its footer says 4 rows, and there are 3");
        assert!(problems[1].2.ends_with("1 key: id=4 is too many in the intervals"), "{}", problems[1].2);
    }

    #[test]
    fn keys_that_are_unsorted_twice_or_null_are_found() {
        let damage: [(&[u32], &str); 2] = [
            (&[1, 0, 2, 3], "1 row has a key below that of the row before it: id=1"),
            (&[0, 1, 1, 1], "2 rows have the key of the row before them: id=2; id=2"),
        ];
        for (rows, expected) in damage {
            let lake = TestLake::filled();
            rewrite(&lake.object("2024-01-05"), |batch| pick(&batch, rows), |_| {});
            let problems = problems(&lake);
            assert_eq!((problems[0].1, problems[0].2.as_str()), (ProblemKind::Keys, expected));
        }
        let lake = TestLake::filled();
        rewrite(&lake.object("2024-01-02"), |batch| with(&batch, "id", Arc::new(Int64Array::from(vec![None, Some(2)]))), |_| {});
        assert_eq!(kinds(&lake)[0], (on("2024-01-02"), ProblemKind::Keys));
        assert!(problems(&lake)[0].2.starts_with("1 row has a null in the key"));
    }

    #[test]
    fn a_rewritten_snapshot_is_stale_and_says_what_to_type() {
        let lake = compacted();
        lake.take("2024-01-02", "id,price\n1,10\n2,99\n");
        let found = problems(&lake);
        assert_eq!(
            found,
            [(on("2024-01-02"), ProblemKind::Stale, "the snapshot of 2024-01-02 was rewritten since; asof compact item".to_owned())]
        );
        assert_eq!(verified(&lake).tables[0].round_trips, 2);
        lake.compact(&CompactOptions::default());
        assert!(verified(&lake).is_sound());
    }

    #[test]
    fn a_snapshot_that_is_not_compacted_yet_is_no_problem() {
        let lake = compacted();
        lake.take("2024-01-06", "id,price\n1,10\n");
        let report = verified(&lake);
        assert!(report.is_sound());
        assert_eq!((report.tables[0].snapshots, report.tables[0].not_compacted, report.tables[0].round_trips), (4, 1, 3));
    }

    #[test]
    fn a_pruned_snapshot_is_held_against_what_was_recorded() {
        let lake = compacted();
        lake.prune("2024-01-01");
        let report = verified(&lake);
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.tables[0].round_trips, report.tables[0].pruned), (3, 1));
        rewrite(&lake.intervals(), |batch| with_price(&batch, 0, 11.0), |_| {});
        assert!(kinds(&lake).contains(&(on("2024-01-01"), ProblemKind::RoundTrip)));
    }

    #[test]
    fn a_pruned_snapshot_with_columns_that_are_not_compared_is_counted_only() {
        let lake = TestLake::filled();
        lake.compact(&CompactOptions { track: vec!["price".into()], ..CompactOptions::default() });
        lake.prune("2024-01-01");
        let report = verified(&lake);
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.tables[0].round_trips, report.tables[0].counted_only), (2, 1));
    }

    fn with_price(batch: &RecordBatch, row: usize, price: f64) -> RecordBatch {
        let column = batch.column_by_name("price").expect("a column");
        let prices = column.as_any().downcast_ref::<Float64Array>().expect("floats");
        let changed = prices.iter().enumerate().map(|(at, was)| if at == row { Some(price) } else { was });
        with(batch, "price", Arc::new(changed.collect::<Float64Array>()))
    }

    #[test]
    fn truncated_intervals_are_unreadable_and_snapshots_are_still_read() {
        let lake = compacted();
        let bytes = std::fs::read(lake.intervals()).expect("bytes");
        std::fs::write(lake.intervals(), &bytes[..bytes.len() - 9]).expect("cut");
        assert_eq!(kinds(&lake), [(None, ProblemKind::Unreadable)]);
        assert_eq!(verified(&lake).tables[0].snapshots, 3);
    }

    #[test]
    fn intervals_that_overlap_are_found() {
        let lake = compacted();
        // The rows are 1, 2 (20), 2 (21), 2 (21, x), 3 (30), 3 (30.5), 4: the first of 2 now runs over the second.
        rewrite(&lake.intervals(), |batch| with_date(&batch, "active_end", 1, "2024-01-04"), |_| {});
        let found = problems(&lake);
        assert!(
            found.iter().any(|(_, kind, what)| *kind == ProblemKind::Intervals
                && what == "1 interval begins before the key's one before it ends: id=2 from 2024-01-02 to 2024-01-04"),
            "{found:?}"
        );
        assert!(found.iter().any(|(date, kind, _)| (date, *kind) == (&on("2024-01-02"), ProblemKind::RoundTrip)), "{found:?}");
    }

    #[test]
    fn intervals_that_miss_a_row_are_found_and_the_key_named() {
        let lake = compacted();
        rewrite(&lake.intervals(), |batch| batch.slice(0, batch.num_rows() - 1), |_| {});
        let found = problems(&lake);
        assert_eq!((found[0].1, found[0].2.as_str()), (ProblemKind::Footer, "the footer says 7 intervals, and there are 6"));
        assert_eq!((found[1].0.clone(), found[1].1), (on("2024-01-05"), ProblemKind::RoundTrip));
        assert!(found[1].2.ends_with("1 key: id=4 is missing in the intervals"), "{}", found[1].2);
    }

    #[test]
    fn intervals_with_a_wrong_value_are_found_on_every_date_it_holds() {
        let lake = compacted();
        rewrite(&lake.intervals(), |batch| with_price(&batch, 0, 11.0), |_| {});
        let found = problems(&lake);
        assert_eq!(found.len(), 3);
        assert!(found[0].2.ends_with("id=1 differs in price (11.0, and 10.0 in the snapshot)"), "{}", found[0].2);
    }

    #[test]
    fn an_end_that_was_altered_is_found_even_where_no_snapshot_tells() {
        let lake = TestLake::new();
        lake.take("2024-01-01", "id,price\n1,10\n2,20\n");
        lake.take("2024-01-05", "id,price\n1,10\n");
        lake.compact(&CompactOptions::default());
        rewrite(&lake.intervals(), |batch| with_date(&batch, "active_end", 1, "2024-01-03"), |_| {});
        assert_eq!(
            problems(&lake),
            [(None, ProblemKind::Intervals, "1 interval ends where no snapshot ends it: id=2 from 2024-01-01 to 2024-01-03".to_owned())]
        );
        rewrite(&lake.intervals(), |batch| with_date(&batch, "active_end", 1, "9999-12-31"), |_| {});
        assert_eq!(kinds(&lake), [(on("2024-01-05"), ProblemKind::RoundTrip)]);
        rewrite(&lake.intervals(), |batch| with_date(&batch, "active_end", 1, "2023-12-31"), |_| {});
        assert!(problems(&lake).iter().any(|(_, _, what)| what.starts_with("1 interval ends before it starts")));
    }

    #[test]
    fn intervals_out_of_order_or_beginning_on_no_observed_date_are_found() {
        let lake = compacted();
        rewrite(&lake.intervals(), |batch| pick(&batch, &[0, 2, 1, 3, 4, 5, 6]), |_| {});
        let found = problems(&lake);
        assert_eq!(found.len(), 1, "the rows are the same: {found:?}");
        assert!(found[0].2.starts_with("1 interval is not in the order of key and start: id=2 from 2024-01-01"), "{}", found[0].2);
        let lake = compacted();
        rewrite(&lake.intervals(), |batch| with_date(&batch, "active_start", 6, "2024-01-04"), |_| {});
        assert!(problems(&lake)[0].2.starts_with("1 interval starts on a date without a snapshot: id=4"));
    }

    #[test]
    fn a_foreign_table_makes_the_round_trip_without_footers_and_in_any_order() {
        let mut lake = TestLake::new();
        let raw = lake.folder.path().join("raw");
        std::fs::create_dir_all(&raw).expect("a folder");
        std::fs::write(raw.join("2024-01-01.csv"), "code,n\n007,2\n001,1\n").expect("written");
        std::fs::write(raw.join("2024-01-02.csv"), "code,n\n001,1\n007,2.5\n").expect("written");
        let config = TableConfig {
            key: vec!["code".into()],
            snapshots: Some("raw".into()),
            layout: Some("%Y-%m-%d.csv".into()),
            ..TableConfig::default()
        };
        lake.config.tables.insert("item".into(), config);
        lake.compact(&CompactOptions::default());
        let report = verified(&lake);
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.tables[0].round_trips, report.tables[0].intervals), (2, Some(3)));
        std::fs::write(raw.join("2024-01-02.csv"), "code,n\n001,1\n007,3\n").expect("written");
        assert_eq!(kinds(&lake), [(on("2024-01-02"), ProblemKind::Stale)]);
        std::fs::write(raw.join("2024-01-02.csv"), "code,n\n001,1\n007,\"3\n").expect("written");
        assert_eq!(kinds(&lake).len(), 1);
    }

    #[test]
    fn strangers_and_leftovers_are_told_and_are_no_problem() {
        let lake = compacted();
        let root = lake.folder.path().join("lake/item/snapshots");
        std::fs::create_dir_all(root.join("old")).expect("a folder");
        std::fs::write(root.join("snapshot_date=2024-01-02/.asof-x.tmp"), "").expect("a leftover");
        let report = verified(&lake);
        assert!(report.is_sound());
        assert_eq!(report.tables[0].strangers, ["old"]);
        assert_eq!(report.tables[0].leftovers, ["lake/item/snapshots/snapshot_date=2024-01-02/.asof-x.tmp"]);
        std::fs::copy(lake.object("2024-01-02"), root.join("snapshot_date=2024-01-02/copy.parquet")).expect("copied");
        let found = problems(&lake);
        assert_eq!((found.len(), found[0].1), (1, ProblemKind::Unreadable));
        assert!(found[0].2.starts_with("2 files stand where one snapshot should"), "{}", found[0].2);
    }

    #[test]
    fn a_footer_that_says_less_than_the_rows_is_found() {
        let lake = TestLake::filled();
        rewrite(&lake.object("2024-01-01"), |batch| batch, |footer| snapshot_footer(footer).rows = 2);
        assert_eq!(problems(&lake)[0].2, "its footer says 2 rows, and there are 3");
    }
}
