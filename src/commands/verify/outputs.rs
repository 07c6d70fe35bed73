//! Outputs of jobs, or below a path. Each must be whole, and be what its path and its footer say;
//! the inputs that its footer records must be those of now. With `--recompute`, a fresh run must
//! give the same rows.
//!
//! Each output is read once, by a few threads. A fresh run writes a month of dates at a time to the
//! temporary folder, and compares them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use super::{Problem, ProblemKind, Subject, is_zero};
use crate::commands::Workspace;
use crate::commands::backfill::{
    AdHocOutput, DateAction, JobOutput, OutputFolder, ResolvedJob, outputs_of,
};
use crate::domain::staleness::DateState;
use crate::engine::table::all_digests;
use crate::error::{Context, Error, Kind, Result};
use crate::interrupt::temporary;
use crate::model::DateRange;
use crate::parallel::{self, object_threads};
use crate::source::files_of;
use crate::storage::lake::location::{Location, Object};
use crate::storage::parquet::folder_record::RECORD;
use crate::storage::parquet::footer::{Content, OutputFooter};
use crate::storage::parquet::object::ParquetObject;

/// How many dates are computed anew at a time.
const DATES_AT_ONCE: usize = 31;

/// What was checked of the outputs of one job, or of those below a path.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OutputProof {
    /// The job, or the path.
    #[serde(flatten)]
    pub of: Subject,
    /// How many outputs were read to their end.
    pub outputs: u64,
    /// Their rows.
    pub rows: u64,
    /// How many outputs have current inputs. Absent if a path was named, and not a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to_date: Option<u64>,
    /// How many outputs have an input that cannot be read, so nothing can be compared.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_compared: u64,
    /// How many have the rows of a fresh run, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recomputed: Option<u64>,
    /// How many carry no checksums.
    #[serde(skip_serializing_if = "is_zero")]
    pub without_checksums: u64,
}

impl OutputProof {
    fn new(of: Subject) -> Self {
        OutputProof {
            of,
            outputs: 0,
            rows: 0,
            up_to_date: None,
            not_compared: 0,
            recomputed: None,
            without_checksums: 0,
        }
    }

    fn add(&mut self, findings: &OutputFindings) {
        self.outputs += 1;
        self.rows += findings.rows;
        self.without_checksums += u64::from(!findings.has_checksums);
    }
}

/// Verifies outputs below a path, or in a file, whichever job wrote them.
///
/// # Errors
/// A failure to list them, or if there are none.
pub(super) fn verify_path(place: &Location, name: &str) -> Result<(OutputProof, Vec<Problem>)> {
    let outputs = outputs_among(files_of(place)?)?;
    let outputs: Vec<_> = outputs.iter().map(|output| (None, output)).collect();
    Ok(verify_outputs(name, &outputs))
}

/// Verifies the outputs of an ad-hoc job that the lake remembers; nothing if they are gone.
///
/// # Errors
/// A failure to list them.
pub(super) fn verify_ad_hoc(
    workspace: &Workspace<'_>,
    remembered: &AdHocOutput,
) -> Result<Option<(OutputProof, Vec<Problem>)>> {
    let root = remembered.root(workspace)?;
    let outputs = remembered.outputs(&root)?;
    if outputs.is_empty() {
        return Ok(None);
    }
    let job = remembered.job.as_str();
    let outputs: Vec<_> = outputs
        .iter()
        .map(|(date, output)| (Some((job, *date)), output))
        .collect();
    let (proof, mut problems) = verify_outputs(&workspace.shown(&root), &outputs);
    for problem in &mut problems {
        problem.what += "; to write it anew, run its backfill again with --only all";
    }
    Ok(Some((proof, problems)))
}

/// Reads outputs to their end, each with the job and the date that it must be of, if any.
fn verify_outputs(
    name: &str,
    outputs: &[(Option<(&str, NaiveDate)>, &JobOutput)],
) -> (OutputProof, Vec<Problem>) {
    let of = Subject::Outputs(name.to_owned());
    let mut proof = OutputProof::new(of.clone());
    let mut problems = Vec::new();
    let first = outputs.first();
    let remote = first.is_some_and(|(_, output)| output.place().store().is_some());
    let looks = parallel::map(object_threads(remote), outputs, |(expected, output)| {
        look(*expected, output)
    });
    for ((expected, _), look) in outputs.iter().zip(looks) {
        match look {
            Ok(findings) => proof.add(&findings),
            Err((kind, what)) => problems.push(Problem {
                of: of.clone(),
                date: expected.map(|(_, date)| date),
                kind,
                what,
            }),
        }
    }
    (proof, problems)
}

/// The verification of one job's outputs.
pub(super) struct OutputVerification<'a> {
    workspace: &'a Workspace<'a>,
    job: &'a str,
    pub(super) proof: OutputProof,
    pub(super) problems: Vec<Problem>,
}

/// What an output showed.
struct OutputFindings {
    rows: u64,
    has_checksums: bool,
}

impl<'a> OutputVerification<'a> {
    /// Verifies the outputs of a job.
    ///
    /// # Errors
    /// A usage error for a job that there is not; a failure to list its outputs.
    pub(super) fn run(workspace: &'a Workspace<'a>, job: &'a str, recompute: bool) -> Result<Self> {
        let proof = OutputProof {
            recomputed: recompute.then_some(0),
            ..OutputProof::new(Subject::Job(job.to_owned()))
        };
        let mut verification = OutputVerification {
            workspace,
            job,
            proof,
            problems: Vec::new(),
        };
        let outputs = outputs_of(workspace, job)?;
        let whole = verification.look_at_all(&outputs);
        let up_to_date = verification.compare_with_inputs(&outputs, &whole);
        if recompute {
            let whole: Vec<NaiveDate> = up_to_date
                .into_iter()
                .filter(|date| whole.contains(date))
                .collect();
            for dates in whole.chunks(DATES_AT_ONCE) {
                verification.compare_with_fresh_run(&outputs, dates);
            }
        }
        verification.problems.sort_by_key(|problem| problem.date);
        Ok(verification)
    }

    fn problem(&mut self, date: Option<NaiveDate>, kind: ProblemKind, what: impl Into<String>) {
        self.problems.push(Problem {
            of: Subject::Job(self.job.to_owned()),
            date,
            kind,
            what: what.into(),
        });
    }

    /// Reads every output, and returns the dates of those that are whole.
    fn look_at_all(&mut self, outputs: &BTreeMap<NaiveDate, JobOutput>) -> Vec<NaiveDate> {
        let outputs: Vec<(&NaiveDate, &JobOutput)> = outputs.iter().collect();
        let remote = outputs
            .first()
            .is_some_and(|(_, output)| output.place().store().is_some());
        let looks = parallel::map(object_threads(remote), &outputs, |(date, output)| {
            look(Some((self.job, **date)), output)
        });
        let mut whole = Vec::new();
        for ((date, output), look) in outputs.into_iter().zip(looks) {
            match look {
                Ok(findings) => {
                    self.proof.add(&findings);
                    whole.push(*date);
                }
                Err((kind, what)) => {
                    let what = format!("{what}; {}", self.repair(*date, output));
                    self.problem(Some(*date), kind, what);
                }
            }
        }
        whole
    }

    /// What writes an output anew. A backfill does not replace a file of which it cannot know that
    /// asof wrote it.
    fn repair(&self, date: NaiveDate, output: &JobOutput) -> String {
        let footer = |object: &Object| ParquetObject::open(&object.location)?.footer();
        let first = match output {
            JobOutput::Folder(_) => "to write it anew",
            JobOutput::Object(object) if matches!(footer(object), Ok(Some(_))) => {
                "to write it anew"
            }
            _ => "to write it anew, delete it, then",
        };
        format!(
            "{first}: asof backfill {} --from {date} --to {date} --only all",
            self.job
        )
    }

    /// Compares the recorded inputs of the outputs with the current ones, and returns the dates
    /// whose inputs have not changed. An unreadable input is one problem, however many outputs use
    /// it.
    fn compare_with_inputs(
        &mut self,
        outputs: &BTreeMap<NaiveDate, JobOutput>,
        whole: &[NaiveDate],
    ) -> Vec<NaiveDate> {
        let states = match self.states(outputs) {
            Ok(states) => states,
            Err(error) => {
                let what = format!("its inputs cannot be compared: {error}");
                self.problem(None, ProblemKind::Inputs, what);
                return Vec::new();
            }
        };
        let mut up_to_date = Vec::new();
        let mut unreadable: BTreeMap<String, (NaiveDate, u64)> = BTreeMap::new();
        let repair = format!("asof backfill {}", self.job);
        for (date, state) in states {
            match state {
                Ok(DateState::UpToDate) => up_to_date.push(date),
                Ok(DateState::Stale(reason)) => {
                    let what = format!(
                        "{reason}; to bring it up to date: {repair} --from {date} --to {date}"
                    );
                    self.problem(Some(date), ProblemKind::Stale, what);
                }
                Ok(DateState::Failed(reason)) => {
                    let what = format!("the last run failed: {reason}");
                    self.problem(Some(date), ProblemKind::Stale, what);
                }
                Ok(DateState::Orphaned) => {
                    let what = format!(
                        "its events are gone; to remove it: {repair} --from {date} --to {date} --only orphaned"
                    );
                    self.problem(Some(date), ProblemKind::Stale, what);
                }
                Ok(DateState::Missing) => {}
                // What is wrong with the output itself has been told.
                Err(_) if !whole.contains(&date) => {}
                // The rules of now find no copy for it: nothing is damaged.
                Err(error) if error.kind() == Kind::Refused && !error.is_damage() => {
                    let what = format!("a run would fail now: {error}");
                    self.problem(Some(date), ProblemKind::Stale, what);
                }
                Err(error) => unreadable.entry(error.to_string()).or_insert((date, 0)).1 += 1,
            }
        }
        for (why, (date, outputs)) in unreadable {
            self.proof.not_compared += outputs;
            let of = if outputs == 1 { "output" } else { "outputs" };
            let what = format!("the inputs of {outputs} {of} cannot be compared: {why}");
            self.problem(Some(date), ProblemKind::Inputs, what);
        }
        self.proof.up_to_date = Some(up_to_date.len() as u64);
        up_to_date
    }

    /// Where the dates of outputs stand.
    fn states(
        &self,
        outputs: &BTreeMap<NaiveDate, JobOutput>,
    ) -> Result<Vec<(NaiveDate, Result<DateState>)>> {
        let (Some(first), Some(last)) = (outputs.keys().next(), outputs.keys().next_back()) else {
            return Ok(Vec::new());
        };
        let range = DateRange::new(*first, *last)?;
        let job = ResolvedJob::resolve_to_look(self.workspace, self.job, range)?;
        let with_events = job.dates(range);
        let dates: Vec<NaiveDate> = with_events
            .iter()
            .copied()
            .filter(|date| outputs.contains_key(date))
            .collect();
        let orphans = job.orphans(&with_events).into_iter();
        let orphans = orphans.map(|(date, found)| (date, found.map(|()| DateState::Orphaned)));
        Ok(dates
            .iter()
            .copied()
            .zip(job.states(&dates))
            .chain(orphans)
            .collect())
    }

    /// Runs some dates anew, and compares the rows.
    fn compare_with_fresh_run(
        &mut self,
        outputs: &BTreeMap<NaiveDate, JobOutput>,
        dates: &[NaiveDate],
    ) {
        let compared = self.fresh_run(dates, |verification, date, fresh| {
            let Some(output) = outputs.get(&date) else {
                return;
            };
            let difference = match output {
                JobOutput::Object(object) => first_difference(&object.location, fresh),
                JobOutput::Folder(folder) => difference_in_any_order(&folder.files, fresh),
            };
            match difference {
                Ok(None) => {
                    let recomputed = &mut verification.proof.recomputed;
                    *recomputed = recomputed.map(|dates| dates + 1);
                }
                Ok(Some(what)) => {
                    let what = format!("a fresh run gives different rows: {what}");
                    verification.problem(Some(date), ProblemKind::Output, what);
                }
                Err(error) => {
                    verification.problem(Some(date), ProblemKind::Unreadable, error.to_string());
                }
            }
        });
        if let Err(error) = compared {
            let what = format!("it cannot be run anew: {error}");
            self.problem(dates.first().copied(), ProblemKind::Inputs, what);
        }
    }

    fn fresh_run(
        &mut self,
        dates: &[NaiveDate],
        mut compare: impl FnMut(&mut Self, NaiveDate, &Location),
    ) -> Result<()> {
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return Ok(());
        };
        let range = DateRange::new(*first, *last)?;
        let folder =
            temporary(tempfile::tempdir).io_context(|| "cannot make a temporary folder".into())?;
        let root = Location::local(folder.path());
        let job = ResolvedJob::resolve_to_look(self.workspace, self.job, range)?;
        let places: Vec<Location> = dates
            .iter()
            .map(|date| job.object_below(&root, *date))
            .collect();
        let report = job.run_anew(self.workspace, range, &root)?;
        for (date, place) in dates.iter().zip(&places) {
            let of_date = report.dates.iter().find(|report| report.date == *date);
            match of_date {
                Some(report) if report.action == DateAction::Written => compare(self, *date, place),
                Some(report) => {
                    let why = report.error.as_deref().unwrap_or("it was not run");
                    let what = format!("it cannot be run anew: {why}");
                    self.problem(Some(*date), ProblemKind::Inputs, what);
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// The outputs among files: each is one, but for those that an engine wrote beside an `_asof.json`.
fn outputs_among(files: Vec<Object>) -> Result<Vec<JobOutput>> {
    let mut outputs = Vec::new();
    let mut by_folder: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for file in files {
        let folder = file.location.parent();
        let folder = folder.map_or_else(String::new, |folder| folder.to_string());
        by_folder.entry(folder).or_default().push(file);
    }
    for files in by_folder.into_values() {
        match OutputFolder::of(&files)? {
            Some(folder) => outputs.push(JobOutput::Folder(Box::new(folder))),
            None => outputs.extend(files.into_iter().map(JobOutput::Object)),
        }
    }
    Ok(outputs)
}

/// Reads an output to its end, which must be of the job and the date that are expected, if any are.
fn look(
    expected: Option<(&str, NaiveDate)>,
    output: &JobOutput,
) -> Result<OutputFindings, (ProblemKind, String)> {
    match output {
        JobOutput::Object(object) => look_at_object(expected, object),
        JobOutput::Folder(folder) => look_at_folder(expected, folder),
    }
}

/// Reads the files of an engine to their ends.
fn look_at_folder(
    expected: Option<(&str, NaiveDate)>,
    folder: &OutputFolder,
) -> Result<OutputFindings, (ProblemKind, String)> {
    let unreadable = |error: Error| (ProblemKind::Unreadable, error.to_string());
    let OutputFooter { job_name, date, .. } = &folder.record.output;
    if expected.is_some_and(|(job, of)| job != job_name || of != *date) {
        let place = folder.folder.join(RECORD);
        let what = format!("'{place}' says that it is of job {job_name} and {date}");
        return Err((ProblemKind::Footer, what));
    }
    let mut rows = 0;
    for file in &folder.files {
        let opened = ParquetObject::open_listed(file).map_err(unreadable)?;
        let mut found = 0;
        for batch in opened.read(None).map_err(unreadable)? {
            found += batch.map_err(unreadable)?.num_rows() as u64;
        }
        let name = file.location.name();
        let mut recorded = folder.record.files.iter();
        let says = recorded.find(|recorded| recorded.name == name);
        if let Some(says) = says.filter(|says| says.rows != found) {
            let what = format!(
                "'{}' should have {} rows, and has {found}",
                file.location, says.rows
            );
            return Err((ProblemKind::Footer, what));
        }
        rows += found;
    }
    Ok(OutputFindings {
        rows,
        has_checksums: false,
    })
}

/// Reads an output to its end, which must be of the job and the date that are expected, if any are.
fn look_at_object(
    expected: Option<(&str, NaiveDate)>,
    object: &Object,
) -> Result<OutputFindings, (ProblemKind, String)> {
    let unreadable = |error: Error| (ProblemKind::Unreadable, error.to_string());
    let wrong = |what: String| {
        let what = format!("'{}' {what}", object.location);
        (ProblemKind::Footer, what)
    };
    let opened = ParquetObject::open_listed(object).map_err(unreadable)?;
    let footer = opened.footer().map_err(unreadable)?;
    let says = match footer.map(|footer| footer.content) {
        Some(Content::Output(footer)) => {
            if let Some((job, date)) = expected
                && (footer.job_name != job || footer.date != date)
            {
                let OutputFooter { job_name, date, .. } = footer;
                return Err(wrong(format!(
                    "says that it is of job {job_name} and {date}"
                )));
            }
            footer.rows
        }
        Some(Content::Join(footer)) if expected.is_none() => footer.rows,
        _ => return Err(wrong("was not written by asof backfill".to_owned())),
    };
    opened.verify_unread().map_err(unreadable)?;
    let mut rows = 0;
    for batch in opened.read(None).map_err(unreadable)? {
        rows += batch.map_err(unreadable)?.num_rows() as u64;
    }
    if rows != says {
        return Err(wrong(format!("says {says} rows, and there are {rows}")));
    }
    Ok(OutputFindings {
        rows,
        has_checksums: opened.has_checksums(),
    })
}

/// What differs between the rows of an engine's files and those of a fresh run, in words. An
/// engine's rows are in no order.
fn difference_in_any_order(files: &[Object], fresh: &Location) -> Result<Option<String>> {
    let mut stands = RowsInAnyOrder::default();
    for file in files {
        stands.add(&file.location)?;
    }
    let mut of_now = RowsInAnyOrder::default();
    of_now.add(fresh)?;
    Ok(match stands == of_now {
        true => None,
        false if stands.rows == of_now.rows => Some("some values are others".to_owned()),
        false => Some(format!(
            "the output has {} rows, and the fresh run has {}",
            stands.rows, of_now.rows
        )),
    })
}

/// What rows are, whatever their order: how many there are, and the sum of their digests.
#[derive(Default, PartialEq, Eq)]
struct RowsInAnyOrder {
    rows: u64,
    sum: u128,
}

impl RowsInAnyOrder {
    fn add(&mut self, place: &Location) -> Result<()> {
        for batch in ParquetObject::open(place)?.read(None)? {
            for digest in all_digests(&batch?)? {
                self.rows += 1;
                self.sum = self.sum.wrapping_add(digest);
            }
        }
        Ok(())
    }
}

/// The first thing in which the rows of two outputs differ, in words.
fn first_difference(stands: &Location, fresh: &Location) -> Result<Option<String>> {
    let digests = |place: &Location| -> Result<_> {
        let batches = ParquetObject::open(place)?.read(None)?;
        Ok(
            batches.flat_map(|batch| match batch.and_then(|batch| all_digests(&batch)) {
                Ok(digests) => digests.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }),
        )
    };
    let mut stands = digests(stands)?;
    let mut fresh = digests(fresh)?;
    for row in 1_u64.. {
        match (stands.next().transpose()?, fresh.next().transpose()?) {
            (None, None) => break,
            (Some(one), Some(other)) if one == other => {}
            (None, Some(_)) => {
                return Ok(Some(format!(
                    "the output has {} rows, and the fresh run has more",
                    row - 1
                )));
            }
            (Some(_), None) => {
                return Ok(Some(format!(
                    "the fresh run has {} rows, and the output has more",
                    row - 1
                )));
            }
            _ => return Ok(Some(format!("row {row} is the first that differs"))),
        }
    }
    Ok(None)
}
