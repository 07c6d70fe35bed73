//! `asof verify`: proves on the user's own data that intervals reproduce every snapshot.
//!
//! **What is proven.** Each snapshot in the lake is whole, sorted, without null or duplicate
//! keys, and has the rows and fingerprint that its footer says. Intervals are sorted, do not
//! overlap, and begin and end where the gap policy allows. And the round trip: for every observed
//! date D, expand(intervals, D) equals snapshot(D), typed, row for row, on the compared columns.
//! Intervals of a condition or of selected columns are compared with the same rows and columns of
//! the snapshot. A date whose snapshot was pruned is compared with the recorded fingerprint.
//!
//! **What is read, and how often.** The intervals once, each snapshot once. A sum of row digests is
//! a group ([`RowSum`](crate::domain::digest::RowSum)): each interval adds its row at the first
//! observed date that it holds on and takes it away after the last, and the running sum is the
//! expansion of every date. Only a date that fails is read a second time, with the intervals, to
//! name its keys, and only the first five of those.
//!
//! **What is held.** One sum for each observed date, and a batch for each thread that reads
//! snapshots; for the second look two sorters.
//!
//! Outputs of jobs are read once, too (`outputs`), and so are copies that were replaced, dropped or
//! refused (`set_aside`).
//!
//! A problem never ends the run: it is collected, and [`VerifyReport::is_ok`] decides.

mod intervals;
mod named;
mod outputs;
mod round_trip;
mod set_aside;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch};
use chrono::NaiveDate;
use serde::Serialize;

pub(in crate::commands) use self::intervals::expansions;
use self::named::Named;
pub use self::outputs::OutputProof;
use self::outputs::{OutputVerification, verify_ad_hoc, verify_path};
pub(in crate::commands) use self::set_aside::damage_of_refused;
use self::snapshots::{Compared, SnapshotCheck, SnapshotFindings, jobs, look};
use super::Workspace;
use crate::domain::digest::RowSum;
use crate::domain::file_names::{is_data, is_staged};
use crate::engine::as_of::TableInventory;
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::parallel::{self, object_threads};
use crate::storage::lake::folders::Entry;
use crate::storage::lake::location::Location;

/// How many keys or rows a problem shows.
const SHOWN: usize = 5;

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
    /// Something was rewritten since the intervals or an output were made from it, or the output
    /// would not be made now.
    Stale,
    /// What an output was made from cannot be read.
    Inputs,
    /// An output has other rows than a fresh run gives.
    Output,
    /// Intervals do not give a snapshot back.
    RoundTrip,
}

impl ProblemKind {
    /// Whether something is damaged. Otherwise a compaction makes it right.
    pub fn is_damage(self) -> bool {
        self != ProblemKind::Stale
    }
}

/// What is to be verified.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Tables, jobs, and paths of files of intervals and of outputs; nothing for all tables and
    /// jobs.
    pub names: Vec<String>,
    /// Whether outputs are compared with those of a fresh run.
    pub recompute: bool,
}

impl VerifyOptions {
    /// What is named, without a fresh run.
    pub fn of(names: &[String]) -> Self {
        VerifyOptions {
            names: names.to_vec(),
            recompute: false,
        }
    }
}

/// What verification found of one table or job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything holds.
    Ok,
    /// Nothing is damaged, but what intervals or outputs were made from was rewritten since.
    OutOfDate,
    /// Something is damaged.
    Failed,
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A table, with its snapshots and intervals.
    Table(TableName),
    /// The outputs of a job.
    Job(String),
    /// The outputs below a path.
    Outputs(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table, the job or the path.
    #[serde(flatten)]
    pub of: Subject,
    /// The date it concerns, unless it concerns the intervals or a job as a whole.
    pub date: Option<NaiveDate>,
    /// What kind of thing.
    pub kind: ProblemKind,
    /// What is wrong, in words.
    pub what: String,
}

/// What was checked of one table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
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
    /// How many of those have no snapshot any more and were compared with the recorded fingerprint.
    pub pruned: u64,
    /// How many dates without a snapshot were compared with the recorded number of rows only,
    /// because columns are left out of the comparison.
    pub counted_only: u64,
    /// How many dates without a snapshot cannot be checked, because the intervals are of the rows
    /// of a condition.
    #[serde(skip_serializing_if = "is_zero")]
    pub unchecked: u64,
    /// The condition that the rows of the intervals meet.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub selected_rows: Option<String>,
    /// The selected columns of the intervals, if not all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
    /// How many copies that were replaced, dropped or refused were read to their end.
    #[serde(skip_serializing_if = "is_zero")]
    pub set_aside: u64,
    /// How many objects carry no checksums: they were written by an earlier asof.
    #[serde(skip_serializing_if = "is_zero")]
    pub without_checksums: u64,
    /// How many snapshots the intervals do not know yet.
    pub not_compacted: u64,
    /// Names among the snapshots that are not of the layout, up to five, and objects that are not
    /// named after the table.
    pub unrecognized_paths: Vec<String>,
    /// What killed processes left behind; the next run of their command removes it after a day.
    pub leftovers: Vec<String>,
}

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// One a table.
    pub tables: Vec<TableProof>,
    /// One a job that has outputs, and one a path.
    pub outputs: Vec<OutputProof>,
    /// By table, intervals first, then by date; then by job and date.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is damaged. Intervals may be out of date: [`VerifyReport::verdict`].
    pub fn is_ok(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| !problem.kind.is_damage())
    }

    /// What was found of a table or a job.
    pub fn verdict(&self, of: &Subject) -> Verdict {
        let problems = self.problems.iter().filter(|problem| problem.of == *of);
        let worst = problems.map(|problem| problem.kind.is_damage()).max();
        match worst {
            None => Verdict::Ok,
            Some(false) => Verdict::OutOfDate,
            Some(true) => Verdict::Failed,
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Verifies tables and the outputs of jobs, one after the other.
///
/// # Errors
/// A usage error for a name that is unknown, a refusal if there is nothing to verify, and what
/// concerns a table or a job as a whole; damage to an object is a problem in the report.
pub fn verify(workspace: &Workspace<'_>, options: &VerifyOptions) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let named = Named::of(workspace, &options.names)?;
    for inventory in named.inventories {
        let mut verification = Verification::begin(workspace, &inventory);
        verification.run(&inventory);
        report.tables.push(verification.proof);
        report.problems.extend(verification.problems);
    }
    for job in &named.jobs {
        let verification = OutputVerification::run(workspace, job, options.recompute)?;
        let is_empty = verification.proof.outputs == 0 && verification.problems.is_empty();
        if !is_empty || !options.names.is_empty() {
            report.outputs.push(verification.proof);
            // A damaged snapshot is one problem, whatever was made from it.
            let told = report.problems.clone();
            let is_new = |problem: &Problem| {
                let is_told = |told: &Problem| object_of(problem) == object_of(told);
                problem.kind != ProblemKind::Inputs || !told.iter().any(is_told)
            };
            report
                .problems
                .extend(verification.problems.into_iter().filter(is_new));
        }
    }
    for (name, place) in &named.outputs {
        report.add_outputs(verify_path(place, name)?);
    }
    for remembered in &named.ad_hoc {
        match verify_ad_hoc(workspace, remembered) {
            Ok(None) => {}
            Ok(Some(verified)) => report.add_outputs(verified),
            Err(error) => workspace.progress.note(&format!(
                "the outputs of an ad-hoc job are not verified: {error}"
            )),
        }
    }
    report.refuse_if_empty(workspace)?;
    Ok(report)
}

impl VerifyReport {
    fn add_outputs(&mut self, (proof, problems): (OutputProof, Vec<Problem>)) {
        self.outputs.push(proof);
        self.problems.extend(problems);
    }

    /// A lake that is not there, by a name that was mistyped, is not OK for having nothing wrong in
    /// it.
    fn refuse_if_empty(&self, workspace: &Workspace<'_>) -> Result<()> {
        let is_empty = |proof: &TableProof| proof.snapshots == 0 && proof.intervals.is_none();
        let no_outputs = self.outputs.iter().all(|proof| proof.outputs == 0);
        if !self.is_ok() || !self.tables.iter().all(is_empty) || !no_outputs {
            return Ok(());
        }
        let names: Vec<&str> = self
            .tables
            .iter()
            .map(|proof| proof.table.as_str())
            .collect();
        let Some(first) = self.tables.first() else {
            let jobs = self.outputs.iter().filter_map(|proof| match &proof.of {
                Subject::Job(job) => Some(job.as_str()),
                _ => None,
            });
            let jobs: Vec<&str> = jobs.collect();
            let what = format!(
                "there is no output of {}: nothing to verify",
                jobs.join(", ")
            );
            return Err(Error::refused(what).hint(format!("asof status {}", jobs.join(" "))));
        };
        let (noun, have) = if names.len() == 1 {
            ("table", "has")
        } else {
            ("tables", "have")
        };
        Err(Error::refused(format!(
            "{noun} {} {have} no snapshots: nothing to verify",
            names.join(", ")
        ))
        .hint(workspace.table(&first.table, &[])?.filling()))
    }
}

/// The object that a problem names, and what is wrong with it, without what was being done.
fn object_of(problem: &Problem) -> &str {
    let what = problem.what.as_str();
    what.find('\'').map_or(what, |at| &what[at..])
}

/// The verification of one table.
struct Verification<'a> {
    workspace: &'a Workspace<'a>,
    table: &'a SnapshotTable,
    proof: TableProof,
    problems: Vec<Problem>,
    second_looks: usize,
}

impl<'a> Verification<'a> {
    fn begin(workspace: &'a Workspace<'a>, inventory: &'a TableInventory) -> Self {
        let table = &inventory.table;
        let mut unrecognized_paths = inventory.found.unrecognized_paths.clone();
        if table.own {
            let expected = format!("{}.parquet", table.name);
            let misnamed = inventory
                .found
                .partitions
                .values()
                .flatten()
                .filter(|object| object.location.name() != expected);
            unrecognized_paths.extend(misnamed.take(SHOWN).map(|object| object.relative.clone()));
        }
        let proof = TableProof {
            table: table.name.clone(),
            snapshots: 0,
            rows: 0,
            intervals: None,
            round_trips: 0,
            pruned: 0,
            counted_only: 0,
            unchecked: 0,
            set_aside: 0,
            without_checksums: 0,
            selected_rows: None,
            select: Vec::new(),
            not_compacted: 0,
            unrecognized_paths,
            leftovers: leftovers(workspace, inventory),
        };
        Verification {
            workspace,
            table,
            proof,
            problems: Vec::new(),
            second_looks: 0,
        }
    }

    fn problem(&mut self, date: Option<NaiveDate>, kind: ProblemKind, what: impl Into<String>) {
        self.problems.push(Problem {
            of: Subject::Table(self.table.name.clone()),
            date,
            kind,
            what: what.into(),
        });
    }

    fn run(&mut self, inventory: &TableInventory) {
        let unreadable = |error: &Error| format!("the intervals cannot be read: {error}");
        let intervals = match &inventory.intervals {
            Ok(intervals) => intervals.as_ref(),
            Err(error) => {
                self.problem(None, ProblemKind::Unreadable, unreadable(error));
                None
            }
        };
        if let (Some(_), Some(what)) = (intervals, inventory.nothing_found()) {
            self.problem(None, ProblemKind::Unreadable, what);
        }
        let expanded = intervals.and_then(|intervals| self.check_intervals(intervals));
        let jobs = jobs(inventory, intervals);
        if let Some(intervals) = intervals {
            self.proof.selected_rows = intervals.footer.condition.clone();
            self.proof.select = intervals.footer.select.clone();
        }
        let compared = match intervals.map(Compared::new).transpose() {
            Ok(compared) => compared,
            Err(error) => {
                return self.problem(None, ProblemKind::Unreadable, unreadable(&error));
            }
        };
        let looks = self.look_at_all(&jobs, compared.as_ref());
        let mut looks = jobs.iter().zip(looks).peekable();
        if let Some(intervals) = intervals {
            self.round_trips(inventory, intervals, expanded.as_deref(), &mut looks);
        }
        for (job, look) in looks {
            self.take(job, look);
        }
        let known: BTreeSet<NaiveDate> = intervals
            .map(Intervals::observed)
            .unwrap_or_default()
            .into_iter()
            .collect();
        let dates = inventory.found.partitions.keys();
        self.proof.not_compacted = dates.filter(|date| !known.contains(date)).count() as u64;
        let aside = set_aside::look(self.workspace, self.table);
        self.proof.set_aside = aside.whole;
        for (date, kind, what) in aside.problems {
            self.problem(date, kind, what);
        }
    }

    /// Reads the snapshots, in parallel.
    fn look_at_all(
        &self,
        jobs: &[SnapshotCheck<'_>],
        compared: Option<&Compared>,
    ) -> Vec<SnapshotFindings> {
        let done = AtomicU64::new(0);
        let threads = object_threads(self.table.root.store().is_some());
        parallel::map(threads, jobs, |job| {
            let done = done.fetch_add(1, Ordering::Relaxed);
            let doing = format!("verify {}", self.table.name);
            self.workspace
                .progress
                .step(&doing, done, jobs.len() as u64);
            look(self.table, job, compared)
        })
    }

    /// Compares each observed date of the intervals with its snapshot, or, if that was pruned, with
    /// what the intervals recorded of it. Without `expanded`, the intervals cannot be expanded and
    /// the snapshots are only taken down.
    fn round_trips<'j>(
        &mut self,
        inventory: &TableInventory,
        intervals: &Intervals,
        expanded: Option<&[RowSum]>,
        looks: &mut Peekable<impl Iterator<Item = (&'j SnapshotCheck<'j>, SnapshotFindings)>>,
    ) {
        for (at, observed) in intervals.footer.observed.iter().enumerate() {
            while let Some((job, look)) = looks.next_if(|(job, _)| job.date < observed.date) {
                self.take(job, look);
            }
            let pair = looks
                .next_if(|(job, _)| job.date == observed.date)
                .and_then(|(job, look)| Some((job, self.take(job, look)?)));
            let Some(sum) = expanded.map(|sums| sums[at]) else {
                continue;
            };
            match pair {
                Some((job, look)) => self.round_trip(intervals, at, job, &look, sum),
                None if inventory.found.partitions.contains_key(&observed.date) => {}
                None if intervals.dropped.contains(&observed.date) => {
                    let what = format!(
                        "the snapshot of {} was dropped since; asof compact {}",
                        observed.date, self.table.name
                    );
                    self.problem(Some(observed.date), ProblemKind::Stale, what);
                }
                None => self.pruned_round_trip(intervals, at, sum),
            }
        }
    }

    /// Records what a snapshot showed; gives it back if it was read to its end.
    fn take(
        &mut self,
        job: &SnapshotCheck<'_>,
        look: SnapshotFindings,
    ) -> Option<SnapshotFindings> {
        for (kind, what) in &look.problems {
            self.problem(Some(job.date), *kind, what);
        }
        if !look.complete {
            return None;
        }
        self.proof.snapshots += 1;
        self.proof.rows += look.whole.rows();
        self.proof.without_checksums += u64::from(look.has_checksums == Some(false));
        Some(look)
    }
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
        let more = if self.count > self.shown.len() as u64 {
            "; ..."
        } else {
            ""
        };
        format!("{} {phrase}: {}{more}", self.count, self.shown.join("; "))
    }
}

/// Which rows have a null in their key.
fn null_keys(batch: &RecordBatch, key: &[String]) -> Vec<bool> {
    let mut null = vec![false; batch.num_rows()];
    for nulls in key
        .iter()
        .filter_map(|name| batch.column_by_name(name))
        .filter_map(|column| column.logical_nulls())
    {
        null.iter_mut()
            .enumerate()
            .for_each(|(row, null)| *null |= nulls.is_null(row));
    }
    null
}

/// What killed processes left in the folders of asof's own objects.
fn leftovers(workspace: &Workspace<'_>, inventory: &TableInventory) -> Vec<String> {
    let mut left = Vec::new();
    if let Some(folder) = inventory.intervals_path.as_ref().and_then(Location::parent) {
        gather_leftovers(workspace, &folder, false, &mut left);
    }
    if inventory.table.own {
        gather_leftovers(workspace, &inventory.table.root, true, &mut left);
    }
    left.sort();
    left
}

fn gather_leftovers(
    workspace: &Workspace<'_>,
    folder: &Location,
    deeper: bool,
    left: &mut Vec<String>,
) {
    // In a store, looking into each date's folder would be a request a date.
    let deeper = deeper && folder.as_local().is_some();
    for Entry { name, is_folder } in folder.entries().unwrap_or_default() {
        if is_staged(&name) {
            left.push(workspace.shown(&folder.join(&name)));
        } else if deeper && is_folder && is_data(&name) {
            gather_leftovers(workspace, &folder.join(&name), false, left);
        }
    }
}
