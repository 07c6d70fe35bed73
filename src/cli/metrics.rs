//! `--metrics`: the outcome of a run, as Prometheus metrics in a file for the textfile collector of
//! node_exporter.
//!
//! All metrics are gauges in base units. Those of tables are what the lake holds when the run has
//! ended, so they are right after a run that failed too: the last success is that of an earlier
//! night then. The file is replaced whole, whether the run succeeded or not. A file that cannot be
//! written is noted, and changes no exit code.
//!
//! node_exporter refuses a metric that two files have. So each command writes metrics of its own:
//! `snapshot` those of snapshots and refused copies, `compact` those of intervals, `backfill` what
//! became of dates, `verify` its problems. `status` writes all that is known of tables and jobs, in
//! the place of the others. Metrics of the run have the name of the file, without its ending, as a
//! label.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};
use tracing::debug;

use super::args::{Cli, Command};
use super::printer::Printer;
use crate::clock::{Clock, Stopwatch};
use crate::commands::backfill::{BackfillReport, DateAction};
use crate::commands::job_status::JobStatus;
use crate::commands::table_facts::{TableFacts, table_facts};
use crate::commands::verify::{Subject, VerifyReport};
use crate::commands::{Progress as _, Workspace};
use crate::error::{Context, Result};
use crate::storage::lake::commit::Staged;
use crate::storage::lake::location::Location;

/// A metric: its name, its help and its labels.
struct Family {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
}

const EXIT_CODE: Family = Family {
    name: "asof_run_exit_code",
    help: "The exit code of the command's last run; 0 if it succeeded.",
    labels: &["command", "run"],
};
const STARTED: Family = Family {
    name: "asof_run_start_timestamp_seconds",
    help: "When the command's last run began.",
    labels: &["command", "run"],
};
const DURATION: Family = Family {
    name: "asof_run_duration_seconds",
    help: "How long the command's last run took.",
    labels: &["command", "run"],
};
const LAST_SUCCESS: Family = Family {
    name: "asof_snapshot_last_success_timestamp_seconds",
    help: "When the rows of the newest snapshot were read.",
    labels: &["table"],
};
const SNAPSHOT_DATE: Family = Family {
    name: "asof_snapshot_date_timestamp_seconds",
    help: "The date of the newest snapshot, as its midnight in UTC.",
    labels: &["table"],
};
const ROWS: Family = Family {
    name: "asof_snapshot_rows",
    help: "The rows of the newest snapshot.",
    labels: &["table"],
};
const BYTES: Family = Family {
    name: "asof_snapshot_size_bytes",
    help: "The size of the newest snapshot.",
    labels: &["table"],
};
const REFUSED: Family = Family {
    name: "asof_refused_copies",
    help: "The refused copies that wait to be published or discarded.",
    labels: &["table"],
};
const INTERVALS: Family = Family {
    name: "asof_intervals",
    help: "The intervals of the table.",
    labels: &["table"],
};
const INTERVALS_BYTES: Family = Family {
    name: "asof_intervals_size_bytes",
    help: "The size of the intervals.",
    labels: &["table"],
};
const INTERVALS_DATE: Family = Family {
    name: "asof_intervals_date_timestamp_seconds",
    help: "The date of the last snapshot that the intervals know, as its midnight in UTC.",
    labels: &["table"],
};
const BACKFILL_DATES: Family = Family {
    name: "asof_backfill_dates",
    help: "The dates of the last backfill, by what became of them.",
    labels: &["job", "action"],
};
const BACKFILL_ROWS: Family = Family {
    name: "asof_backfill_rows",
    help: "The rows that the last backfill wrote.",
    labels: &["job"],
};
const JOB_DATES: Family = Family {
    name: "asof_job_dates",
    help: "The dates of the job, by the state of their outputs.",
    labels: &["job", "state"],
};
const PROBLEMS: Family = Family {
    name: "asof_verify_problems",
    help: "The problems that the last verification found.",
    labels: &["kind", "name"],
};

/// The metrics of one run.
pub(super) struct RunMetrics {
    /// The file; nothing is gathered without one.
    file: Option<PathBuf>,
    command: &'static str,
    watch: Stopwatch,
    started: Option<DateTime<Utc>>,
    registry: Registry,
    families: Mutex<BTreeMap<&'static str, GaugeVec>>,
}

impl RunMetrics {
    /// Of the run that the command line asks for, in a folder.
    pub(super) fn of(cli: &Cli, folder: &Path) -> Self {
        RunMetrics {
            file: cli.global.metrics.as_ref().map(|file| folder.join(file)),
            command: cli.command.name(),
            watch: Stopwatch::start(),
            started: Clock::read(std::env::var(super::setup::NOW).ok().as_deref())
                .ok()
                .map(|clock| clock.now()),
            registry: Registry::new(),
            families: Mutex::default(),
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "Prometheus counts in floating-point numbers"
    )]
    fn count(&self, family: &Family, labels: &[&str], value: u64) {
        self.set(family, labels, value as f64);
    }

    fn set(&self, family: &Family, labels: &[&str], value: f64) {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = match families.get(family.name) {
            Some(gauges) => gauges.clone(),
            None => {
                let made = GaugeVec::new(Opts::new(family.name, family.help), family.labels);
                let Ok(gauges) = made else { return };
                let _ = self.registry.register(Box::new(gauges.clone()));
                families.insert(family.name, gauges.clone());
                gauges
            }
        };
        if let Ok(gauge) = gauges.get_metric_with_label_values(labels) {
            gauge.set(value);
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "seconds of today need 31 of 53 bits"
    )]
    fn time(&self, family: &Family, labels: &[&str], instant: DateTime<Utc>) {
        self.set(family, labels, instant.timestamp() as f64);
    }

    fn date(&self, family: &Family, labels: &[&str], date: NaiveDate) {
        self.time(family, labels, date.and_time(NaiveTime::MIN).and_utc());
    }

    /// Looks at the tables of a command, after it has run. One that cannot be looked at has no
    /// metrics.
    pub(super) fn look(&self, workspace: &Workspace<'_>, tables: &TablesOf) {
        if self.file.is_none() {
            return;
        }
        for name in tables.names(workspace) {
            let facts = match table_facts(workspace, &name) {
                Ok(facts) => facts,
                Err(error) => {
                    debug!(%error, "no metrics of table {name}");
                    continue;
                }
            };
            if self.command != "compact" {
                self.snapshots(&name, &facts);
            }
            if self.command != "snapshot" {
                self.intervals(&name, &facts);
            }
        }
    }

    fn snapshots(&self, name: &str, facts: &TableFacts) {
        let labels = [name];
        if let Some(newest) = &facts.newest {
            self.date(&SNAPSHOT_DATE, &labels, newest.date);
            self.count(&BYTES, &labels, newest.bytes);
            if let Some(rows) = newest.rows {
                self.count(&ROWS, &labels, rows);
            }
            if let Some(taken_at) = newest.taken_at {
                self.time(&LAST_SUCCESS, &labels, taken_at);
            }
        }
        self.count(&REFUSED, &labels, facts.refused);
    }

    fn intervals(&self, name: &str, facts: &TableFacts) {
        let labels = [name];
        if let Some(intervals) = &facts.intervals {
            self.count(&INTERVALS, &labels, intervals.count);
            self.count(&INTERVALS_BYTES, &labels, intervals.bytes);
            if let Some(last) = intervals.last {
                self.date(&INTERVALS_DATE, &labels, last);
            }
        }
    }

    /// Counts the dates of each backfill by what became of them.
    pub(super) fn backfill(&self, reports: &[BackfillReport]) {
        const ACTIONS: [(DateAction, &str); 5] = [
            (DateAction::Written, "written"),
            (DateAction::UpToDate, "up_to_date"),
            (DateAction::Skipped, "skipped"),
            (DateAction::Removed, "removed"),
            (DateAction::Failed, "failed"),
        ];
        for report in reports {
            for (action, name) in ACTIONS {
                let dates = report.count(action) as u64;
                self.count(&BACKFILL_DATES, &[&report.job, name], dates);
            }
            let rows = report.dates.iter().filter_map(|date| date.rows).sum();
            self.count(&BACKFILL_ROWS, &[&report.job], rows);
        }
    }

    /// Counts the dates of jobs by the state of their outputs.
    pub(super) fn jobs(&self, jobs: &[JobStatus]) {
        for job in jobs {
            for state in ["up_to_date", "stale", "missing", "failed", "orphaned"] {
                self.count(&JOB_DATES, &[&job.job, state], job.count(state));
            }
        }
    }

    /// Counts the problems of each table and job.
    pub(super) fn verified(&self, report: &VerifyReport) {
        let tables = report
            .tables
            .iter()
            .map(|proof| Subject::Table(proof.table.clone()));
        let outputs = report.outputs.iter().map(|proof| proof.of.clone());
        for subject in tables.chain(outputs) {
            let problems = report
                .problems
                .iter()
                .filter(|problem| problem.of == subject);
            let (kind, name) = match &subject {
                Subject::Table(name) => ("table", name.as_str()),
                Subject::Job(name) => ("job", name.as_str()),
                Subject::Outputs(path) => ("outputs", path.as_str()),
            };
            self.count(&PROBLEMS, &[kind, name], problems.count() as u64);
        }
    }

    /// Writes the file, now that the run has ended.
    pub(super) fn write(&self, exit_code: u8, printer: &Printer) {
        let Some(file) = &self.file else { return };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let labels = [self.command, &stem];
        self.count(&EXIT_CODE, &labels, exit_code.into());
        if let Some(started) = self.started {
            self.time(&STARTED, &labels, started);
        }
        let took =
            Duration::from_millis(u64::try_from(self.watch.elapsed().as_millis()).unwrap_or(0));
        self.set(&DURATION, &labels, took.as_secs_f64());
        if let Err(error) = self.written(file) {
            printer.note(&error.within("the metrics are not written").to_string());
        }
    }

    fn written(&self, file: &Path) -> Result<()> {
        let doing = || format!("cannot write '{}'", file.display());
        let text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .io_context(doing)?;
        let staged = Staged::create(&Location::local(file))?;
        staged
            .writer()?
            .write_all(text.as_bytes())
            .io_context(doing)?;
        staged.publish_over().map(|_| ())
    }
}

/// The tables that a command is for.
pub(super) enum TablesOf {
    /// Those that are named.
    Named(Vec<String>),
    /// All that have a source.
    WithSource,
    /// All.
    All,
}

impl TablesOf {
    /// Those of the command.
    pub(super) fn of(command: &Command) -> Self {
        let named = |names: &[String], otherwise: TablesOf| match names {
            [] => otherwise,
            names => TablesOf::Named(names.to_vec()),
        };
        match command {
            Command::Snapshot(args) => named(&args.tables, TablesOf::WithSource),
            Command::Compact(args) if args.snapshots.is_none() => {
                named(&args.tables, TablesOf::All)
            }
            Command::Status(args) => named(args.name.as_slice(), TablesOf::All),
            _ => TablesOf::Named(Vec::new()),
        }
    }

    fn names(&self, workspace: &Workspace<'_>) -> Vec<String> {
        match self {
            TablesOf::Named(names) => names.clone(),
            TablesOf::WithSource => {
                let tables = workspace.config.tables.iter();
                let with_source = tables.filter(|(_, table)| table.source.is_some());
                with_source.map(|(name, _)| name.clone()).collect()
            }
            TablesOf::All => {
                let tables = workspace.tables(&[]).unwrap_or_default();
                tables.iter().map(ToString::to_string).collect()
            }
        }
    }
}
