//! A history in a folder, and the library's commands on it.

use std::path::{Path, PathBuf};

use asof::clock::Clock;
use asof::commands::Workspace;
use asof::commands::backfill::{AdHoc, BackfillOptions, BackfillReport, backfill};
use asof::commands::compact::{CompactOptions, CompactReport, compact};
use asof::commands::engine::Engine;
use asof::commands::expand::{ExpandOptions, expand};
use asof::commands::snapshot::{IfExists, SnapshotOptions, snapshot};
use asof::commands::verify::{VerifyOptions, VerifyReport, verify};
use asof::config::{Config, JobConfig, TableConfig};
use asof::domain::join::JoinKind;
use asof::domain::layout::Layout;
use asof::engine::as_of::RowSource;
use asof::memory::MemoryBudget;
use asof::model::DateRange;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::arrow_io::{write_csv, write_parquet};
use super::history::{History, How, Kind, Place, Policy, Row, Snapshot};
use super::oracle::Event;

/// A join to be run.
pub(super) struct Join {
    pub(super) how: How,
    pub(super) on: Vec<String>,
    pub(super) select: Vec<String>,
    pub(super) lag: u32,
    pub(super) tolerance: u32,
}

/// A folder with the table `t` in it.
pub(super) struct Lake {
    folder: tempfile::TempDir,
    config: Config,
    pub(super) place: Place,
    /// What compacts into the lake, and runs the second of two backfills.
    pub(super) engine: Engine,
}

impl Lake {
    /// An empty one, set up for a history.
    pub(super) fn of(history: &History, engine: Engine) -> Self {
        let folder = folder();
        let text = |text: &str| Some(text.to_owned());
        let mut table = TableConfig {
            key: history
                .key
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            gaps: text(match history.policy {
                Policy::Carry => "carry",
                Policy::Error => "error",
                Policy::Split => "split",
            }),
            start_column: Some(history.convention.start.clone()),
            end_column: Some(history.convention.end.clone()),
            end: text(if history.convention.exclusive {
                "exclusive"
            } else {
                "inclusive"
            }),
            open_end: text(if history.convention.open_null {
                "null"
            } else {
                "9999-12-31"
            }),
            ignore: history.ignore.clone(),
            track: history.track.clone(),
            ..TableConfig::default()
        };
        if let Place::Parquet(layout) | Place::Csv(layout, _) = history.place {
            table.snapshots = text("external");
            table.layout = text(layout);
        }
        if history.place == Place::Csv(layout(&history.place), true) {
            let columns = history.key.iter().chain(&history.columns);
            table.types = columns
                .map(|column| (column.name.clone(), declared(column.kind).to_owned()))
                .collect();
        }
        let mut config = Config {
            base: folder.path().to_owned(),
            ..Config::default()
        };
        config.tables.insert("t".into(), table);
        Lake {
            folder,
            config,
            place: history.place.clone(),
            engine,
        }
    }

    /// Whether the second of two backfills is that of a cluster.
    pub(super) fn is_on_cluster(&self) -> bool {
        matches!(self.engine, Engine::Spark(_))
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Limits the gap that is carried.
    pub(super) fn limit_gap(&mut self, days: u32) {
        self.config.tables.get_mut("t").unwrap().max_gap = Some(days);
    }

    fn workspace(&self) -> Workspace<'static> {
        let now = "2025-06-01T12:00:00Z".parse().unwrap();
        Workspace::builder(self.config.clone())
            .lake("lake")
            .folder(self.folder.path())
            .clock(Clock::fixed(now, chrono_tz::Tz::UTC))
            .memory(MemoryBudget(64 << 20))
            .build()
            .unwrap()
    }

    /// Puts a snapshot into the lake, in place of the one of its date.
    pub(super) fn put(&self, rng: &mut StdRng, snapshot: &Snapshot, keys: &[String]) {
        let mut rows: Vec<Row> = snapshot
            .rows
            .iter()
            .map(|(key, row)| whole(keys, key, row))
            .collect();
        rows.shuffle(rng);
        let columns = &snapshot.columns;
        match &self.place {
            Place::Own => {
                write_parquet(
                    &self.path("source/a.parquet"),
                    columns,
                    &rows[..rows.len() / 2],
                );
                write_parquet(
                    &self.path("source/b.parquet"),
                    columns,
                    &rows[rows.len() / 2..],
                );
                self.take_snapshot(snapshot);
            }
            Place::Parquet(layout) if layout.ends_with(".parquet") => {
                write_parquet(&self.external(snapshot), columns, &rows)
            }
            Place::Parquet(_) => self.parts(rng, snapshot, &rows, |path, rows| {
                write_parquet(&path.with_extension("parquet"), columns, rows)
            }),
            Place::Csv(..) => self.parts(rng, snapshot, &rows, |path, rows| {
                write_csv(&path.with_extension("csv"), columns, rows)
            }),
        }
    }

    fn external(&self, snapshot: &Snapshot) -> PathBuf {
        self.path("external").join(
            Layout::parse(layout(&self.place))
                .unwrap()
                .path(snapshot.date),
        )
    }

    /// Rows in one to three files, some of which may be empty.
    fn parts(
        &self,
        rng: &mut StdRng,
        snapshot: &Snapshot,
        rows: &[Row],
        write: impl Fn(&Path, &[Row]),
    ) {
        let folder = self.external(snapshot);
        let _ = std::fs::remove_dir_all(&folder);
        let size = rows.len().div_ceil(rng.random_range(1..4)).max(1);
        for (number, rows) in rows.chunks(size).enumerate() {
            write(&folder.join(format!("part-{number}")), rows);
        }
        if rows.is_empty() {
            write(&folder.join("part-0"), rows);
        }
    }

    fn take_snapshot(&self, taken: &Snapshot) {
        let options = SnapshotOptions::new()
            .date(taken.date)
            .source("source")
            .if_exists(IfExists::Replace)
            .backdate(true)
            .force(true);
        snapshot(&self.workspace(), "t", &options, &mut std::io::empty()).unwrap();
    }

    /// Compacts; `full` into another place than the lake.
    pub(super) fn compact(&self, full: Option<&str>) -> CompactReport {
        let is_on_cluster = full.is_none() && self.place == Place::Own;
        let mut options = CompactOptions::new().full(full.is_some());
        options.out = full.map(str::to_owned);
        if is_on_cluster {
            options = options.engine(self.engine.clone());
        }
        compact(&self.workspace(), &["t".into()], &options)
            .unwrap()
            .remove(0)
    }

    /// The refusal of a compaction.
    pub(super) fn refused_compact(&self) -> String {
        compact(&self.workspace(), &["t".into()], &CompactOptions::default())
            .unwrap_err()
            .to_string()
    }

    pub(super) fn verify(&self) -> VerifyReport {
        verify(&self.workspace(), &VerifyOptions::of(&["t".into()])).unwrap()
    }

    /// Expands every date into a folder.
    pub(super) fn expand(
        &self,
        out: &str,
        from: chrono::NaiveDate,
        to: chrono::NaiveDate,
    ) -> usize {
        let options = ExpandOptions {
            table: "t".into(),
            from,
            to,
            out: out.into(),
            dry_run: false,
            intervals: None,
        };
        expand(&self.workspace(), &options).unwrap().dates.len()
    }

    /// Writes the events of a date.
    pub(super) fn put_events(
        &self,
        date: chrono::NaiveDate,
        columns: &[(String, arrow::datatypes::DataType)],
        events: &[Event],
    ) {
        let rows: Vec<Row> = events.iter().map(|event| event.row.clone()).collect();
        write_parquet(
            &self.path(&format!("events/{date}/events.parquet")),
            columns,
            &rows,
        );
    }

    /// Runs a join on every date of a range.
    pub(super) fn join(
        &self,
        join: &Join,
        range: DateRange,
        using: RowSource,
        out: &str,
    ) -> BackfillReport {
        let job = JobConfig {
            table: Some("t".into()),
            on: join.on.clone(),
            how: Some(match join.how {
                How::Inner => JoinKind::Inner,
                How::Left => JoinKind::Left,
                How::Semi => JoinKind::Semi,
                How::Anti => JoinKind::Anti,
            }),
            select: join.select.clone(),
            output: out.into(),
            ..JobConfig::default()
        };
        self.backfill(job, range, using, join.lag, join.tolerance)
    }

    /// Runs a query on every date of a range.
    #[cfg(feature = "sql")]
    pub(super) fn query(
        &self,
        sql: &str,
        join: &Join,
        range: DateRange,
        using: RowSource,
        out: &str,
    ) -> BackfillReport {
        let job = JobConfig {
            sql: Some(sql.into()),
            output: out.into(),
            ..JobConfig::default()
        };
        self.backfill(job, range, using, join.lag, join.tolerance)
    }

    fn backfill(
        &self,
        job: JobConfig,
        range: DateRange,
        using: RowSource,
        lag: u32,
        tolerance: u32,
    ) -> BackfillReport {
        let out_is_second = job.output.contains("/intervals/");
        let ad_hoc = AdHoc {
            events: Some("events".into()),
            events_layout: Some("%Y-%m-%d".into()),
            job,
            ..AdHoc::default()
        };
        let mut options = BackfillOptions::between(range.from(), range.to())
            .unwrap()
            .workers(1)
            .tolerance(tolerance)
            .lag(lag);
        if out_is_second {
            options = options.engine(self.engine.clone());
        }
        options.using = using;
        options.ad_hoc = Some(ad_hoc);
        backfill(&self.workspace(), &[], &options)
            .unwrap()
            .remove(0)
    }
}

/// A folder, in memory where there is such a disk: what is tested here is not the wait for a sync.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .unwrap()
}

/// A row with its key.
fn whole(keys: &[String], key: &[super::value::Value], row: &Row) -> Row {
    row.clone()
        .into_iter()
        .chain(keys.iter().cloned().zip(key.iter().cloned()))
        .collect()
}

fn layout(place: &Place) -> &'static str {
    match place {
        Place::Own => "snapshot_date=%Y-%m-%d",
        Place::Parquet(layout) | Place::Csv(layout, _) => layout,
    }
}

fn declared(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int | Kind::Long => "int64",
        Kind::Real => "float64",
        Kind::Text => "text",
        Kind::Day => "date",
        Kind::Money => "decimal(10, 2)",
        other => unreachable!("no CSV has {other:?}"),
    }
}
