//! A small lake in a temporary folder, for the tests of commands.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};

use super::Workspace;
use super::compact::{CompactOptions, compact};
use super::snapshot::{IfExists, SnapshotOptions, snapshot};
use super::status::{TableStatus, status};
use super::verify::{Subject, Verdict, VerifyOptions, verify};
use crate::clock::Clock;
use crate::config::{Config, TableConfig};
use crate::error::Result;
use crate::model::parse_date;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::Footer;
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;

/// A date.
pub(crate) fn date(text: &str) -> NaiveDate {
    parse_date(text).expect("a date")
}

/// What `asof status` says of the only table.
pub(crate) fn table_status(lake: &TestLake) -> TableStatus {
    let mut report = status(&lake.workspace(), &[]).expect("a status");
    report.tables.remove(0)
}

/// What `asof verify` says of the table `item`.
pub(crate) fn verdict(lake: &TestLake) -> Verdict {
    let report = verify(&lake.workspace(), &VerifyOptions::default()).expect("verified");
    report.verdict(&Subject::Table("item".parse().expect("a name")))
}

/// A folder with a lake `lake` in it; it is 2024-06-01.
pub(crate) struct TestLake {
    folder: tempfile::TempDir,
    /// What asof.toml says.
    pub(crate) config: Config,
}

impl TestLake {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        TestLake {
            config: Config {
                base: folder.path().to_owned(),
                ..Config::default()
            },
            folder,
        }
    }

    /// Three snapshots of `item` with a gap before the last: a change, a key that goes and comes
    /// back, a new column.
    pub(crate) fn filled() -> Self {
        let lake = TestLake::new();
        lake.take("2024-01-01", "id,price\n1,10\n2,20\n3,30\n");
        lake.take("2024-01-02", "id,price\n1,10\n2,21\n");
        lake.take(
            "2024-01-05",
            "id,price,tag\n1,10,\n2,21,x\n3,30.5,\n4,40,\n",
        );
        lake
    }

    /// The folder that the lake is in.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a command is given.
    pub(crate) fn workspace(&self) -> Workspace<'static> {
        self.workspace_at("2024-06-01T12:00:00Z".parse().expect("a time"))
    }

    /// What a command is given at a time. Not after the real time: what is staged now would be
    /// taken for a leftover.
    pub(crate) fn workspace_at(&self, now: DateTime<Utc>) -> Workspace<'static> {
        Workspace::builder(self.config.clone())
            .lake("lake")
            .folder(self.path())
            .clock(Clock::fixed(now, chrono_tz::Tz::UTC))
            .build()
            .expect("a workspace")
    }

    /// Takes a snapshot of CSV text; `key` are columns with commas between.
    pub(crate) fn snapshot(&self, table: &str, day: &str, key: &str, csv: &str) {
        let source = self.path().join("source.csv");
        std::fs::write(&source, csv).expect("written");
        self.snapshot_of(table, day, key, &source);
    }

    /// Takes a snapshot of a file; `key` are columns with commas between.
    pub(crate) fn snapshot_of(&self, table: &str, day: &str, key: &str, source: &Path) {
        let options = SnapshotOptions {
            date: Some(date(day)),
            key: key.split(',').map(str::to_owned).collect(),
            backdate: true,
            if_exists: IfExists::Replace,
            ..SnapshotOptions::default()
        };
        let options = options.source(source.display().to_string());
        snapshot(&self.workspace(), table, &options, &mut std::io::empty()).expect("a snapshot");
    }

    /// Takes a snapshot of the table `item`, whose key is `id`.
    pub(crate) fn take(&self, day: &str, csv: &str) {
        self.snapshot("item", day, "id", csv);
    }

    /// The object of a snapshot of `item`.
    pub(crate) fn object(&self, day: &str) -> PathBuf {
        self.path().join(format!(
            "lake/item/snapshots/snapshot_date={day}/item.parquet"
        ))
    }

    /// The intervals of `item`.
    pub(crate) fn intervals(&self) -> PathBuf {
        self.path().join("lake/item/intervals/item.parquet")
    }

    /// Brings the intervals up to date.
    pub(crate) fn compact(&self, table: &str) {
        self.compact_with(table, &CompactOptions::default());
    }

    /// Brings the intervals up to date.
    pub(crate) fn compact_with(&self, table: &str, options: &CompactOptions) {
        compact(&self.workspace(), &[table.to_owned()], options).expect("intervals");
    }

    /// Takes a snapshot out of the lake, as `asof prune` would.
    pub(crate) fn forget(&self, table: &str, day: &str) {
        let (kept, away) = self.places(table, day);
        std::fs::rename(kept, away).expect("moved");
    }

    /// Puts a forgotten snapshot back.
    pub(crate) fn recall(&self, table: &str, day: &str) {
        let (kept, away) = self.places(table, day);
        std::fs::rename(away, kept).expect("moved");
    }

    fn places(&self, table: &str, day: &str) -> (PathBuf, PathBuf) {
        let kept = self
            .path()
            .join(format!("lake/{table}/snapshots/snapshot_date={day}"));
        (kept, self.path().join(format!("{table}-{day}")))
    }

    /// Dated copies in CSV that another tool wrote, and a workspace whose configuration knows them.
    pub(crate) fn external(
        &self,
        table: &str,
        key: &str,
        days: &[(&str, &str)],
    ) -> Workspace<'static> {
        for (day, csv) in days {
            let folder = self.path().join(format!("external/{table}/day={day}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("part-0.csv"), csv).expect("written");
        }
        let mut workspace = self.workspace();
        let config = TableConfig {
            snapshots: Some(format!("external/{table}")),
            layout: Some("day=%Y-%m-%d".into()),
            key: key.split(',').map(str::to_owned).collect(),
            ..TableConfig::default()
        };
        workspace.config.tables.insert(table.to_owned(), config);
        workspace
    }
}

/// Writes an object anew with other rows, and what its footer says unless `footer` changes it.
pub(crate) fn rewrite(
    path: &Path,
    rows: impl Fn(RecordBatch) -> RecordBatch,
    footer: impl Fn(&mut Footer),
) {
    let location = Location::local(path);
    let object = ParquetObject::open(&location).expect("it opens");
    let mut written = object.footer().expect("it reads").expect("a footer");
    footer(&mut written);
    let batches: Vec<RecordBatch> = object
        .read(None)
        .expect("a stream")
        .collect::<Result<_>>()
        .expect("rows");
    let mut writer = ObjectWriter::create(
        File::create(path).expect("a file"),
        object.schema(),
        &[],
        &location,
    )
    .expect("a writer");
    for batch in batches {
        writer.write(rows(batch)).expect("written");
    }
    writer.finish(&written).expect("finished");
}

/// The named rows of a batch, in this order.
pub(crate) fn pick(batch: &RecordBatch, rows: &[u32]) -> RecordBatch {
    arrow::compute::take_record_batch(batch, &arrow::array::UInt32Array::from(rows.to_vec()))
        .expect("rows")
}
