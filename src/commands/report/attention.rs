//! What a person should look at, with the command to run.

use chrono::NaiveDate;

use super::{Attention, AttentionKind, AttentionPart};
use crate::commands::job_status::JobStatus;
use crate::commands::status::TableStatus;
use crate::error::word;
use crate::model::DateRange;

/// The dates on which the intervals of a table do not agree with its copies, by what is wrong.
fn out_of_date(status: &TableStatus) -> [(AttentionKind, &[NaiveDate], &'static str); 4] {
    let not_compacted = match status.intervals {
        Some(_) => status.not_compacted.as_slice(),
        None => &[],
    };
    [
        (
            AttentionKind::Rewritten,
            status.stale.as_deref().unwrap_or_default(),
            "rewritten since the compaction",
        ),
        (
            AttentionKind::Dropped,
            &status.dropped_since,
            "dropped since the compaction",
        ),
        (
            AttentionKind::Retyped,
            &status.retyped,
            "with types that were declared differently since the compaction",
        ),
        (
            AttentionKind::NotCompacted,
            not_compacted,
            "not compacted yet",
        ),
    ]
}

/// What of a table needs attention.
pub fn attention_of_table(status: &TableStatus) -> Vec<Attention> {
    let name = word(status.table.as_str());
    let new = |kind, dates: &[NaiveDate], what: String, try_with: Option<String>| Attention {
        of: status.table.to_string(),
        part: AttentionPart::Table,
        kind,
        range: span(dates),
        dates: dates.len() as u64,
        what,
        try_with,
    };
    let unreadable = status.unreadable.iter().map(|object| {
        let dates: Vec<NaiveDate> = object.date.into_iter().collect();
        let try_with = Some(format!("asof verify {name}"));
        new(
            AttentionKind::Unreadable,
            &dates,
            object.what.clone(),
            try_with,
        )
    });
    let refused = status
        .refused
        .iter()
        .filter(|copy| !copy.has_snapshot)
        .map(|waiting| {
            let what = waiting.copy.reasons.join("; ");
            let dates = [waiting.copy.snapshot_date];
            new(
                AttentionKind::Refused,
                &dates,
                what,
                Some(waiting.look_with.clone()),
            )
        });
    let out_of_date = out_of_date(status);
    let out_of_date = out_of_date
        .into_iter()
        .filter(|(_, dates, _)| !dates.is_empty());
    let out_of_date = out_of_date.map(|(kind, dates, what)| {
        new(
            kind,
            dates,
            what.to_owned(),
            Some(format!("asof compact {name}")),
        )
    });
    unreadable.chain(refused).chain(out_of_date).collect()
}

/// What of a job that can be planned needs attention.
pub fn attention_of_job(status: &JobStatus) -> Vec<Attention> {
    let name = word(&status.job);
    let new = |kind, dates: &[NaiveDate], what: String, try_with| Attention {
        of: status.job.clone(),
        part: AttentionPart::Job,
        kind,
        range: span(dates),
        dates: dates.len() as u64,
        what,
        try_with,
    };
    let states = [
        (AttentionKind::Failed, "failed"),
        (AttentionKind::Stale, "stale"),
        (AttentionKind::Missing, "missing"),
        (AttentionKind::Orphaned, "orphaned"),
    ];
    let states = states.into_iter().filter_map(|(kind, state)| {
        let dates = status.dates.iter();
        let dates = dates.filter(|date| date.state.name() == state);
        let dates: Vec<NaiveDate> = dates.map(|date| date.date).collect();
        let range = span(&dates)?;
        let try_with = match kind {
            AttentionKind::Orphaned => format!("asof status {name}"),
            _ => format!(
                "asof backfill {name} --from {} --to {}",
                range.from(),
                range.to()
            ),
        };
        Some(new(kind, &dates, state.to_owned(), Some(try_with)))
    });
    states.collect()
}

/// That a job cannot be planned.
pub(super) fn attention_of_failure(job: &str, error: &str) -> Attention {
    Attention {
        of: job.to_owned(),
        part: AttentionPart::Job,
        kind: AttentionKind::Failed,
        range: None,
        dates: 0,
        what: error.to_owned(),
        try_with: Some(format!("asof check {}", word(job))),
    }
}

fn span(dates: &[NaiveDate]) -> Option<DateRange> {
    DateRange::new(*dates.first()?, *dates.last()?).ok()
}
