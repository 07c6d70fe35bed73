//! Adopting the dated copies of another tool: each becomes the snapshot of its date, as if asof had
//! taken it then, and the nights after it go on from there.
//!
//! The copies are read where they are, one date after the other, by the rules for a source: types,
//! keys and guards hold for each of them. A date that has a snapshot keeps it. So a run that was
//! refused or interrupted goes on where it ended.

use chrono::NaiveDate;

use super::plan::{Decision, decide};
use super::{SnapshotOptions, SnapshotReport, take_and_tell};
use crate::commands::Workspace;
use crate::domain::layout::Layout;
use crate::domain::placeholders::dated_path;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::{FileSource, FormatRule, LayoutColumns, is_database};
use crate::storage::lake::location::Object;
use crate::storage::lake::partitions::find;

/// Takes the snapshots of all dates that have a copy.
///
/// # Errors
/// A usage error for a layout or a source that cannot hold dated copies; a refusal if there is no
/// copy; whatever refuses a snapshot. Those of the dates before it stand.
pub fn adopt(
    workspace: &Workspace<'_>,
    table: &str,
    options: &SnapshotOptions,
) -> Result<Vec<SnapshotReport>> {
    let name = &match options.source.place {
        Some(_) => table.parse()?,
        None => workspace.known(table)?,
    };
    let layout = Layout::parse(options.adopt.as_deref().unwrap_or_default())?;
    let copies = ExternalCopies::find(workspace, name, layout, options)?;
    let mut reports = Vec::with_capacity(copies.dates.len());
    for (done, (date, objects)) in (0u64..).zip(&copies.dates) {
        let doing = format!("adopt {name}");
        workspace
            .progress
            .step(&doing, done, copies.dates.len() as u64);
        let dated = SnapshotOptions {
            date: Some(*date),
            backdate: true,
            ..options.clone()
        };
        let (report, store_requests) = workspace.counting(|| {
            let source = |_| Ok(Box::new(copies.source(objects)?) as Box<_>);
            match decide(workspace, name, &dated, source)? {
                Decision::Keep(report) => Ok(*report),
                Decision::Take(mut plan) => {
                    plan.table.types.layout = LayoutColumns::of_table(&copies.layout);
                    take_and_tell(workspace, &mut plan, &dated)
                }
                Decision::Discard(_) => Err(Error::internal("nothing is discarded here")),
            }
        })?;
        reports.push(SnapshotReport {
            store_requests,
            ..report
        });
    }
    Ok(reports)
}

/// The dated copies of another tool.
struct ExternalCopies {
    /// Their root, as it was written.
    written: String,
    layout: Layout,
    format: FormatRule,
    /// The files of each date, ascending.
    dates: Vec<(NaiveDate, Vec<Object>)>,
}

impl ExternalCopies {
    fn find(
        workspace: &Workspace<'_>,
        name: &TableName,
        layout: Layout,
        options: &SnapshotOptions,
    ) -> Result<Self> {
        let config = workspace.table_config(name);
        let given = options.source.place.as_ref();
        let Some(written) = given.or(config.source.as_ref()) else {
            return Err(
                Error::usage(format!("table {name} has no source")).hint(format!(
                    "asof snapshot {name} --source DIR --adopt '{layout}'"
                )),
            );
        };
        if dated_path(written).is_some() {
            let what = format!(
                "table {name}: '{written}' is the source of one date, and --adopt reads the copies \
                 of all dates below a folder"
            );
            let today = workspace.clock.today();
            return Err(Error::usage(what).hint("--source FOLDER").hint(format!(
                "asof snapshot {name} --date {today}, if you mean one date"
            )));
        }
        let root = match given {
            Some(given) if given == "-" || is_database(given) => {
                let what =
                    format!("--adopt needs a folder of dated copies, and '{given}' is not one");
                return Err(Error::usage(what).hint("--source DIR"));
            }
            Some(given) => workspace.here(given)?,
            None => workspace.configured(written)?,
        };
        let found =
            find(&root, &layout, None).map_err(|error| error.within(format!("table {name}")))?;
        if found.partitions.is_empty() {
            let what = format!("table {name}: no copy in '{written}' has the layout '{layout}'");
            return Err(Error::refused(what).hint(format!(
                "asof partitions {written} --layout '{layout}' --from 2000-01-01 --to today"
            )));
        }
        let declared = options.source.format.or(config.source_format);
        Ok(ExternalCopies {
            written: written.clone(),
            layout,
            format: FormatRule {
                declared,
                option: "--source-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
            },
            dates: found.partitions.into_iter().collect(),
        })
    }

    /// The source of a date.
    fn source(&self, objects: &[Object]) -> Result<FileSource> {
        let name = match objects {
            [object] => format!("{}/{}", self.written.trim_end_matches('/'), object.relative),
            _ => self.written.clone(),
        };
        Ok(FileSource {
            name,
            format: self.format.of(objects)?,
            objects: objects.to_vec(),
            of_date: None,
        })
    }
}
