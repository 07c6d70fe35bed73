//! A small lake in a temporary folder, for the tests of commands.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::compact::{CompactOptions, compact};
use super::snapshot::{SnapshotOptions, snapshot};
use super::{Progress, Workspace};
use crate::clock::Clock;
use crate::config::{Config, TableConfig};
use crate::model::parse_date;

/// A date.
pub(crate) fn date(text: &str) -> NaiveDate {
    parse_date(text).expect("a date")
}

struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str, _done: u64, _total: u64) {}
    fn note(&self, _text: &str) {}
}

fn no_variable(_name: &str) -> Option<String> {
    None
}

/// A folder with a lake `lake` in it; it is 2024-06-01.
pub(crate) struct TestLake {
    folder: tempfile::TempDir,
}

impl TestLake {
    /// An empty one.
    pub(crate) fn new() -> Self {
        TestLake { folder: tempfile::tempdir().expect("a folder") }
    }

    /// The folder that the lake is in.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a command is given.
    pub(crate) fn workspace(&self) -> Workspace<'static> {
        Workspace {
            config: Config { base: self.path().to_owned(), ..Config::default() },
            lake: Some("lake".into()),
            folder: self.path().to_owned(),
            clock: Clock::fixed("2024-06-01T12:00:00Z".parse().expect("a time"), chrono_tz::Tz::UTC),
            variable: &no_variable,
            progress: &Silent,
        }
    }

    /// Takes a snapshot of CSV text; `key` are columns with commas between.
    pub(crate) fn snapshot(&self, table: &str, day: &str, key: &str, csv: &str) {
        let source = self.path().join("source.csv");
        std::fs::write(&source, csv).expect("written");
        let options = SnapshotOptions {
            date: Some(date(day)),
            source: Some(source.display().to_string()),
            key: key.split(',').map(str::to_owned).collect(),
            backdate: true,
            ..SnapshotOptions::default()
        };
        snapshot(&self.workspace(), &[table.to_owned()], &options, &mut std::io::empty()).expect("a snapshot");
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
        let kept = self.path().join(format!("lake/{table}/snapshots/snapshot_date={day}"));
        (kept, self.path().join(format!("{table}-{day}")))
    }

    /// Dated copies in CSV that another tool wrote, and a workspace whose configuration knows them.
    pub(crate) fn foreign(&self, table: &str, key: &str, days: &[(&str, &str)]) -> Workspace<'static> {
        for (day, csv) in days {
            let folder = self.path().join(format!("foreign/{table}/day={day}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("part-0.csv"), csv).expect("written");
        }
        let mut workspace = self.workspace();
        let config = TableConfig {
            snapshots: Some(format!("foreign/{table}")),
            layout: Some("day=%Y-%m-%d".into()),
            key: key.split(',').map(str::to_owned).collect(),
            ..TableConfig::default()
        };
        workspace.config.tables.insert(table.to_owned(), config);
        workspace
    }
}
