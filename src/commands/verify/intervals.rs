//! Reading intervals: their invariants, and their expansion on every observed date at once.

use chrono::NaiveDate;

use super::{Finding, ProblemKind, Verification, null_keys};
use crate::domain::digest::RowSum;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Interval;
use crate::domain::key_order::{KeyEncoder, KeySequence, KeyStep};
use crate::engine::digests::row_digests;
use crate::engine::intervals::Intervals;
use crate::engine::table::show_key;
use crate::error::{Error, Result};

/// The rows of each observed date, by the bytes of intervals that break no invariant and are as
/// their footer says.
///
/// # Errors
/// A refusal that says what is wrong with them; a failure to read them.
pub(in crate::commands) fn expansions(intervals: &Intervals) -> Result<Vec<RowSum>> {
    let footer = &intervals.footer;
    let wrong = |what: String| Err(Error::refused(what));
    let observed = intervals.observed();
    if !observed.is_sorted_by(|a, b| a < b) {
        return wrong("the intervals' observed dates are not in order".to_owned());
    }
    let mut scan = IntervalScan::new(intervals, observed)?;
    scan.read(intervals)?;
    intervals.object().verify_unread()?;
    if let Some((finding, what)) = scan.findings.in_words().next() {
        return wrong(finding.sentence(what));
    }
    if scan.rows != footer.intervals {
        return wrong(format!(
            "the footer says {} intervals, and there are {}",
            footer.intervals, scan.rows
        ));
    }
    Ok(scan.running_sums())
}

impl Verification<'_> {
    /// Checks the invariants of intervals, and expands them on every observed date at once. Gives
    /// nothing if the expansion would mean nothing.
    pub(super) fn check_intervals(&mut self, intervals: &Intervals) -> Option<Vec<RowSum>> {
        let footer = &intervals.footer;
        if footer.table != self.table.name.as_str() {
            self.problem(
                None,
                ProblemKind::Footer,
                format!("the intervals say that they are of table {}", footer.table),
            );
        }
        let observed = intervals.observed();
        if !observed.is_sorted_by(|a, b| a < b) {
            self.problem(
                None,
                ProblemKind::Footer,
                "the intervals' observed dates are not in order",
            );
            return None;
        }
        let mut scan = match IntervalScan::new(intervals, observed) {
            Ok(scan) => scan,
            Err(error) => {
                self.problem(
                    None,
                    ProblemKind::Footer,
                    format!("the intervals cannot be read: {error}"),
                );
                return None;
            }
        };
        let object = intervals.object();
        let outcome = scan.read(intervals).and_then(|()| object.verify_unread());
        self.proof.without_checksums += u64::from(!object.has_checksums());
        for (finding, what) in scan.findings.in_words() {
            self.problem(None, ProblemKind::Intervals, finding.sentence(what));
        }
        if let Err(error) = outcome {
            self.problem(
                None,
                ProblemKind::Unreadable,
                format!("the intervals cannot be read: {error}"),
            );
            return None;
        }
        self.proof.intervals = Some(scan.rows);
        if scan.rows != footer.intervals {
            self.problem(
                None,
                ProblemKind::Footer,
                format!(
                    "the footer says {} intervals, and there are {}",
                    footer.intervals, scan.rows
                ),
            );
        }
        Some(scan.running_sums())
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
            (
                &self.null_key,
                [
                    "interval has a null in the key",
                    "intervals have a null in the key",
                ],
            ),
            (
                &self.unsorted,
                [
                    "interval is not in the order of key and start",
                    "intervals are not in the order of key and start",
                ],
            ),
            (
                &self.overlapping,
                [
                    "interval begins before the key's previous interval ends",
                    "intervals begin before the key's previous interval ends",
                ],
            ),
            (
                &self.backwards,
                [
                    "interval ends before it starts",
                    "intervals end before they start",
                ],
            ),
            (
                &self.unobserved,
                [
                    "interval starts on a date without a snapshot",
                    "intervals start on dates without a snapshot",
                ],
            ),
            (
                &self.wrong_end,
                [
                    "interval ends where no snapshot ends it",
                    "intervals end where no snapshot ends them",
                ],
            ),
            (
                &self.divided,
                [
                    "interval goes on with the same row as the one before it",
                    "intervals go on with the same row as the one before them",
                ],
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
    sequence: KeySequence,
    last: Option<(Interval, u128)>,
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
            compared: intervals.comparison().columns(&schema),
            encoder: KeyEncoder::new(&schema, &intervals.footer.key)?,
            sequence: KeySequence::default(),
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
            let steps = self.sequence.steps(&self.encoder.encode(&batch.rows)?);
            let nulls = null_keys(&batch.rows, &key);
            for (row, interval) in batch.intervals.iter().enumerate() {
                self.expand(interval, digests[row]);
                let show = || {
                    format!(
                        "{} from {} to {}",
                        show_key(&batch.rows, &key, row),
                        interval.start,
                        shown_end(interval)
                    )
                };
                if nulls[row] {
                    self.findings.null_key.add(show);
                }
                self.check(interval, steps[row], digests[row], show);
            }
            self.rows += batch.intervals.len() as u64;
        }
        Ok(())
    }

    /// Adds a row where it begins to hold and takes it away where it no longer does.
    fn expand(&mut self, interval: &Interval, digest: u128) {
        let first = self.observed.partition_point(|date| *date < interval.start);
        let after = interval.end.map_or(self.observed.len(), |end| {
            self.observed.partition_point(|date| *date <= end)
        });
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

    fn check(
        &mut self,
        interval: &Interval,
        step: KeyStep,
        digest: u128,
        show: impl Fn() -> String,
    ) {
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
        if let Some((last, last_digest)) = &self.last {
            match step {
                KeyStep::Ascends => {}
                KeyStep::Descends => findings.unsorted.add(&show),
                KeyStep::Repeats if last.start > interval.start => findings.unsorted.add(&show),
                KeyStep::Repeats if !last.precedes(interval) => findings.overlapping.add(&show),
                KeyStep::Repeats => {
                    if *last_digest == digest
                        && continues(&self.observed, self.policy, last, interval)
                    {
                        findings.divided.add(&show);
                    }
                }
            }
        }
        self.last = Some((*interval, digest));
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
    interval
        .end
        .map_or_else(|| "now".to_owned(), |end| end.to_string())
}

/// Whether an inclusive end is one that the policy gives to a run that a later snapshot ended.
fn ends_rightly(observed: &[NaiveDate], policy: GapPolicy, end: NaiveDate) -> bool {
    let next = observed.partition_point(|date| *date <= end);
    match (
        next.checked_sub(1).map(|last| observed[last]),
        observed.get(next),
    ) {
        (Some(last), Some(next)) => policy.run_end(last, *next) == end,
        _ => false,
    }
}

/// Whether `next` begins on the observed date after the last on which `last` holds, with no gap
/// that divides them.
fn continues(observed: &[NaiveDate], policy: GapPolicy, last: &Interval, next: &Interval) -> bool {
    let Some(end) = last.end else { return false };
    let at = observed.partition_point(|date| *date <= end);
    at > 0 && observed.get(at) == Some(&next.start) && policy.joins(observed[at - 1], next.start)
}
