//! Looking at one table without stopping at what is damaged: what `verify` and `status` begin with.
//!
//! Read: one listing of the snapshots, the footer of the intervals, and, if the key stands nowhere else, footers
//! of snapshots from the last one backwards until one can be read. No rows.

use std::path::PathBuf;

use super::Workspace;
use crate::engine::intervals::Intervals;
use crate::engine::table::Table;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::footer::{Content, SnapshotFooter};
use crate::storage::lake::Lake;
use crate::storage::object::ParquetObject;
use crate::storage::partitions::{self, Found, Object};

/// A table as it was found.
pub(super) struct Inspected {
    /// The table; its key is empty if nothing that can be read names one.
    pub(super) table: Table,
    /// Its snapshots. Unlike [`Table::find`], a date may have several files.
    pub(super) found: Found,
    /// Where its intervals are or would be; nothing without a lake.
    pub(super) intervals_path: Option<PathBuf>,
    /// Its intervals, or why they cannot be read.
    pub(super) intervals: Result<Option<Intervals>>,
}

/// Looks at a table.
///
/// # Errors
/// What concerns the table as a whole: a wrong configuration, a folder that cannot be listed.
pub(super) fn inspect(workspace: &Workspace<'_>, name: &TableName) -> Result<Inspected> {
    let has_lake = workspace.lake.is_some() || workspace.config.lake.is_some();
    let intervals_path = has_lake.then(|| workspace.intervals_path(name, None)).transpose()?;
    let intervals = intervals_path.as_deref().map_or(Ok(None), Intervals::open);
    let recorded = intervals.as_ref().ok().and_then(Option::as_ref).map(|intervals| intervals.footer.key.clone());
    let (table, found) = table(workspace, name, recorded.unwrap_or_default())?;
    Ok(Inspected { table, found, intervals_path, intervals })
}

fn table(workspace: &Workspace<'_>, name: &TableName, recorded: Vec<String>) -> Result<(Table, Found)> {
    let config = workspace.table_config(name);
    if config.snapshots.is_some() || !config.key.is_empty() || !recorded.is_empty() {
        let key = if config.key.is_empty() { recorded } else { Vec::new() };
        let table = workspace.table(name, &key)?;
        let found = find(&table)?;
        return Ok((table, found));
    }
    let root = workspace.lake()?.snapshots(name);
    let mut table = Table { name: name.clone(), key: Vec::new(), root, layout: Lake::layout()?, own: true, types: config.type_rules()? };
    let found = find(&table)?;
    let footers = found.partitions.values().rev().filter_map(|objects| footer_of(&objects[0]).ok().flatten());
    table.key = footers.map(|footer| footer.key).find(|key| !key.is_empty()).unwrap_or_default();
    Ok((table, found))
}

fn find(table: &Table) -> Result<Found> {
    if table.own && !table.root.exists() {
        return Ok(Found::default());
    }
    partitions::find(&table.root, &table.layout, None)
}

/// What a snapshot in asof's own lake says of itself; nothing if asof did not write it.
///
/// # Errors
/// A failure if it cannot be opened; a refusal if it is no whole Parquet file.
pub(super) fn footer_of(object: &Object) -> Result<Option<SnapshotFooter>> {
    match ParquetObject::open(&object.path)?.footer()?.map(|footer| footer.content) {
        Some(Content::Snapshot(footer)) => Ok(Some(footer)),
        _ => Ok(None),
    }
}

/// An error's sentence without the table and date that a report names beside it.
pub(super) fn sentence(error: &Error, table: &TableName) -> String {
    let whole = error.to_string();
    let Some(rest) = whole.strip_prefix(&format!("table {table}, ")) else { return whole };
    match rest.split_once(": ") {
        Some((date, what)) if crate::model::parse_date(date).is_ok() => what.to_owned(),
        _ => whole,
    }
}

/// Small lakes for the tests of the commands that look at them.
#[cfg(test)]
pub(super) mod lakes {
    use std::fs::File;
    use std::path::{Path, PathBuf};

    use arrow::array::RecordBatch;
    use chrono::NaiveDate;
    use chrono_tz::Tz;

    use crate::clock::Clock;
    use crate::commands::compact::{CompactOptions, compact};
    use crate::commands::snapshot::{SnapshotOptions, snapshot};
    use crate::commands::{Progress, Workspace};
    use crate::config::Config;
    use crate::error::Result;
    use crate::model::parse_date;
    use crate::storage::footer::Footer;
    use crate::storage::object::{ObjectWriter, ParquetObject};

    struct Silent;

    impl Progress for Silent {
        fn step(&self, _: &str, _: u64, _: u64) {}
        fn note(&self, _: &str) {}
    }

    pub(in crate::commands) fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    /// A lake in a temporary folder, with a table `item` whose key is `id`.
    pub(in crate::commands) struct TestLake {
        pub(in crate::commands) folder: tempfile::TempDir,
        pub(in crate::commands) config: Config,
    }

    impl TestLake {
        pub(in crate::commands) fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            TestLake { config: Config { base: folder.path().to_owned(), ..Config::default() }, folder }
        }

        pub(in crate::commands) fn workspace(&self) -> Workspace<'_> {
            // Not after the real time: what is staged now would be taken for a leftover.
            let now = "2024-12-31T00:00:00Z".parse().expect("a time");
            Workspace {
                config: self.config.clone(),
                lake: Some("lake".into()),
                folder: self.folder.path().to_owned(),
                clock: Clock::fixed(now, Tz::UTC),
                variable: &|_| None,
                progress: &Silent,
            }
        }

        /// Takes the snapshot of a date from CSV.
        pub(in crate::commands) fn take(&self, day: &str, csv: &str) {
            let source = self.folder.path().join("source.csv");
            std::fs::write(&source, csv).expect("written");
            let options = SnapshotOptions {
                date: Some(date(day)),
                source: Some("source.csv".into()),
                key: vec!["id".into()],
                backdate: true,
                if_exists: crate::commands::snapshot::IfExists::Replace,
                ..SnapshotOptions::default()
            };
            snapshot(&self.workspace(), &["item".into()], &options, &mut std::io::empty()).expect("a snapshot");
        }

        pub(in crate::commands) fn compact(&self, options: &CompactOptions) {
            compact(&self.workspace(), &["item".into()], options).expect("intervals");
        }

        /// Three snapshots with a gap before the last: a change, a key that goes and comes back, a new column.
        pub(in crate::commands) fn filled() -> Self {
            let lake = TestLake::new();
            lake.take("2024-01-01", "id,price\n1,10\n2,20\n3,30\n");
            lake.take("2024-01-02", "id,price\n1,10\n2,21\n");
            lake.take("2024-01-05", "id,price,tag\n1,10,\n2,21,x\n3,30.5,\n4,40,\n");
            lake
        }

        pub(in crate::commands) fn object(&self, day: &str) -> PathBuf {
            self.folder.path().join(format!("lake/item/snapshots/snapshot_date={day}/item.parquet"))
        }

        pub(in crate::commands) fn intervals(&self) -> PathBuf {
            self.folder.path().join("lake/item/intervals/item.parquet")
        }

        /// Deletes the snapshot of a date, as `prune` does.
        pub(in crate::commands) fn prune(&self, day: &str) {
            std::fs::remove_dir_all(self.object(day).parent().expect("a folder")).expect("removed");
        }
    }

    /// Writes an object anew with other rows, and what its footer says unless `footer` changes it.
    pub(in crate::commands) fn rewrite(path: &Path, rows: impl Fn(RecordBatch) -> RecordBatch, footer: impl Fn(&mut Footer)) {
        let object = ParquetObject::open(path).expect("it opens");
        let mut written = object.footer().expect("it reads").expect("a footer");
        footer(&mut written);
        let batches: Vec<RecordBatch> = object.read(None).expect("a stream").collect::<Result<_>>().expect("rows");
        let mut writer = ObjectWriter::create(File::create(path).expect("a file"), object.schema(), &[], path).expect("a writer");
        for batch in batches {
            writer.write(rows(batch)).expect("written");
        }
        writer.finish(&written).expect("finished");
    }

    /// The named rows of a batch, in this order.
    pub(in crate::commands) fn pick(batch: &RecordBatch, rows: &[u32]) -> RecordBatch {
        arrow::compute::take_record_batch(batch, &arrow::array::UInt32Array::from(rows.to_vec())).expect("rows")
    }
}
