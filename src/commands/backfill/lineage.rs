//! What a backfill reads and writes, for OpenLineage: one run of the job for the whole range.

use super::job::ResolvedJob;
use super::options::BackfillOptions;
use super::report::{BackfillReport, DateAction};
use crate::commands::Workspace;
use crate::commands::shown_columns::shown_columns;
use crate::commands::workspace::{OpenRun, dataset_at};
use crate::domain::lineage::LineageDataset;
use crate::error::Result;

/// A run of which OpenLineage is told, with its datasets.
pub(super) struct BackfillRun<'a> {
    run: OpenRun<'a>,
    inputs: Vec<LineageDataset>,
    output: LineageDataset,
}

impl<'a> BackfillRun<'a> {
    /// Tells that a job begins; nothing if nobody asks for events, or if nothing is to be written.
    /// A table is named by its snapshots, whether those or intervals serve its rows.
    pub(super) fn start(
        workspace: &'a Workspace<'_>,
        job: &ResolvedJob,
        options: &BackfillOptions,
    ) -> Option<Self> {
        if options.dry_run {
            return None;
        }
        let dates = Some((options.range.from(), options.range.to()));
        let name = format!("backfill.{}", job.name);
        let run = workspace.lineage_run("BACKFILL", name, dates)?;
        let events = job.events.iter().map(|events| &events.root);
        let tables = job.tables.values().map(|history| &history.table.root);
        let inputs: Vec<LineageDataset> = events.chain(tables).map(dataset_at).collect();
        let output = dataset_at(&job.output);
        run.start(&inputs, std::slice::from_ref(&output));
        Some(BackfillRun {
            run,
            inputs,
            output,
        })
    }

    /// Sends the event that ends the run: complete, or failed. Rows and files are those that this
    /// run wrote.
    pub(super) fn end(self, ended: &Result<BackfillReport>) {
        let BackfillRun {
            run,
            inputs,
            mut output,
        } = self;
        let failure = match ended {
            Err(error) => Some(error.to_string()),
            Ok(report) => {
                output.rows = Some(report.dates.iter().filter_map(|date| date.rows).sum());
                output.files = Some(report.count(DateAction::Written) as u64);
                let schema = report
                    .dates
                    .iter()
                    .rev()
                    .find_map(|date| date.schema.as_ref());
                let columns = schema.map(shown_columns).unwrap_or_default();
                output.columns = columns
                    .into_iter()
                    .map(|column| (column.name, column.data_type))
                    .collect();
                failure_of(report)
            }
        };
        run.end(&inputs, &[output], failure.as_deref());
    }
}

/// How many dates failed, and why the first of them did.
fn failure_of(report: &BackfillReport) -> Option<String> {
    let mut failed = report.dates.iter().filter(|date| date.error.is_some());
    let first = failed.next()?;
    let dates = match failed.count() + 1 {
        1 => "1 date failed".to_owned(),
        count => format!("{count} dates failed"),
    };
    let why = first.error.as_deref().unwrap_or_default();
    Some(format!("{dates}; {}: {why}", first.date))
}
