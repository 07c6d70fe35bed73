//! What a snapshot reads and writes, for OpenLineage.

use super::plan::SnapshotPlan;
use super::{SnapshotOptions, SnapshotReport};
use crate::commands::Workspace;
use crate::commands::sources::WrittenSource;
use crate::commands::workspace::{OpenRun, dataset_at};
use crate::domain::lineage::LineageDataset;
use crate::error::{Error, Result};
use crate::storage::lake::location::Location;

/// A run of which OpenLineage is told, with its datasets.
pub(super) struct SnapshotLineage<'a> {
    run: OpenRun<'a>,
    source: Option<LineageDataset>,
    table: LineageDataset,
}

impl<'a> SnapshotLineage<'a> {
    /// Tells that a snapshot is being taken; nothing if nobody asks for events, or if nothing is to
    /// be published.
    pub(super) fn start(
        workspace: &'a Workspace<'_>,
        plan: &SnapshotPlan<'_>,
        options: &SnapshotOptions,
    ) -> Option<Self> {
        let name = &plan.table.name;
        let dates = Some((plan.date, plan.date));
        let run = workspace.lineage_run("SNAPSHOT", format!("snapshot.{name}"), dates)?;
        if options.dry_run {
            return None;
        }
        let source = of_files(plan).or_else(|| of_database(workspace, plan, options));
        let table = dataset_at(&plan.table.root);
        run.start(source.as_slice(), std::slice::from_ref(&table));
        Some(SnapshotLineage { run, source, table })
    }

    /// Sends the event that ends the run: complete, or failed.
    pub(super) fn end(self, ended: &Result<SnapshotReport>) {
        let SnapshotLineage {
            run,
            mut source,
            mut table,
        } = self;
        if let Ok(report) = ended {
            let columns = report.schema.iter();
            table.columns = columns
                .map(|column| (column.name.clone(), column.data_type.clone()))
                .collect();
            table.rows = report.rows;
            table.bytes = report.bytes;
            table.files = report.bytes.map(|_| 1);
            if let Some(source) = &mut source {
                source.columns.clone_from(&table.columns);
                source.rows = report
                    .rows
                    .map(|rows| rows + report.dropped_rows.unwrap_or_default());
            }
        }
        let failure = ended.as_ref().err().map(Error::to_string);
        run.end(source.as_slice(), &[table], failure.as_deref());
    }
}

/// The files of a source as one dataset: a file, or the folder that holds all of them.
fn of_files(plan: &SnapshotPlan<'_>) -> Option<LineageDataset> {
    let files = plan
        .source
        .files()
        .filter(|files| !files.is_standard_input)?;
    let (first, others) = files.objects.split_first()?;
    let mut place = first.location.clone();
    let holds_all = |folder: &Location| others.iter().all(|file| file.location.is_within(folder));
    while !others.is_empty() && !holds_all(&place) {
        place = place.parent()?;
    }
    Some(LineageDataset {
        files: Some(files.objects.len() as u64),
        bytes: Some(files.objects.iter().map(|file| file.size).sum()),
        ..dataset_at(&place)
    })
}

/// The table of a database. A query is not taken apart: it has the name of the database.
fn of_database(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    options: &SnapshotOptions,
) -> Option<LineageDataset> {
    let table = &plan.table.name;
    let source = WrittenSource::of(workspace, table, plan.date, &options.source).ok()??;
    let (url, table) = source.database(table)?;
    let (namespace, name) = named(url, table.as_deref())?;
    Some(LineageDataset {
        namespace,
        name,
        ..LineageDataset::default()
    })
}

/// The namespace and the name of a table by OpenLineage's conventions, without user and password.
fn named(url: &str, table: Option<&str>) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once(':')?;
    let (scheme, port, schema) = match scheme {
        "postgres" | "postgresql" => ("postgres", 5432, Some("public")),
        "mysql" | "mariadb" => ("mysql", 3306, None),
        scheme => {
            let file = rest.trim_start_matches("//");
            return Some((format!("{scheme}:{file}"), table.unwrap_or(file).to_owned()));
        }
    };
    let parsed = url::Url::parse(url).ok()?;
    let host = parsed.host_str().filter(|host| !host.is_empty());
    let host = host.unwrap_or("localhost");
    let namespace = format!("{scheme}://{host}:{}", parsed.port().unwrap_or(port));
    let database = parsed.path().trim_matches('/').to_owned();
    let name = match (table, schema) {
        (None, _) => database,
        (Some(table), Some(schema)) if !table.contains('.') => {
            format!("{database}.{schema}.{table}")
        }
        (Some(table), None) if table.contains('.') => table.to_owned(),
        (Some(table), _) => format!("{database}.{table}"),
    };
    Some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_databases_are_named_without_their_passwords() {
        let of = |url: &str, table| named(url, table).expect("a name");
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(
            of("postgres://reader:hunter2@db/shop", Some("item")),
            pair("postgres://db:5432", "shop.public.item")
        );
        assert_eq!(
            of("postgresql://db:5433/shop", Some("pim.item")),
            pair("postgres://db:5433", "shop.pim.item")
        );
        assert_eq!(
            of("mariadb://u@h/shop", Some("item")),
            pair("mysql://h:3306", "shop.item")
        );
        assert_eq!(of("mysql://h/shop", None), pair("mysql://h:3306", "shop"));
        assert_eq!(
            of("sqlite:shop.db", Some("item")),
            pair("sqlite:shop.db", "item")
        );
    }
}
