//! One function for each command: from its arguments to its options, its report and its exit code.

mod looking;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::args::{
    AdHocArgs, AdoptArgs, BackfillArgs, CheckArgs, Command, CompactArgs, DropArgs, EventsJoinArgs,
    ExpandArgs, JoinArgs, PartitionsArgs, PlanArgs, PruneArgs, RepairArgs, RestoreArgs,
    SnapshotArgs, VerifyArgs,
};
use super::metrics::RunMetrics;
use super::printer::Printer;
use super::render::{TimedPartitions, render};
use crate::clock::Stopwatch;
use crate::commands::adopt::{AdoptOptions, adopt_table};
use crate::commands::backfill::{
    AdHoc, BackfillOptions, BackfillReport, DatesInColumn, backfill, plan_for_engine,
};
use crate::commands::check::project::{ProjectCheckOptions, check_project};
use crate::commands::check::{CheckOptions, check};
use crate::commands::compact::{CompactOptions, Scd2Options, compact_tables};
use crate::commands::expand::{ExpandOptions, expand};
use crate::commands::init::init;
use crate::commands::join::{JoinOptions, join};
use crate::commands::latest::{latest_put_aside, latest_refused, latest_snapshot};
use crate::commands::partitions::{PartitionsOptions, partitions};
use crate::commands::prune::{PruneOptions, prune};
use crate::commands::repair::{RepairOptions, repair};
use crate::commands::schema::schema;
use crate::commands::snapshot::{SnapshotOptions, SnapshotRun, adopt, snapshot, snapshot_tables};
use crate::commands::undo::{DropOptions, RestoreOptions, drop_snapshot, restore};
use crate::commands::verify::{VerifyOptions, verify};
use crate::commands::{Progress, Workspace};
use crate::config::JobConfig;
use crate::domain::known_at::KnownAt;
use crate::error::{Error, Kind, Result};
use crate::model::{DateRange, Day};

/// The page that `report` writes if no other is named.
const PAGE: &str = "asof-report.html";

/// The exit code of `status --exit-code` and `report --exit-code` where something is not up to
/// date.
const NOT_UP_TO_DATE: u8 = 6;

/// Runs a command and prints its report; returns the exit code.
pub(super) fn carry_out(
    command: Command,
    workspace: &Workspace<'_>,
    printer: &Printer,
    metrics: &RunMetrics,
) -> Result<u8> {
    let run = CommandRun {
        workspace,
        printer,
        metrics,
    };
    match command {
        Command::Init(args) => render(printer, &init(workspace, args.schema)?)?,
        Command::Snapshot(args) => return run.snapshot(&args),
        Command::Check(args) => return run.check(args),
        Command::Adopt(args) => return run.adopt(*args),
        Command::Compact(args) => return run.compact(*args),
        Command::Backfill(args) => return run.backfill(*args),
        Command::Plan(args) => return run.plan(args),
        Command::Join(args) => run.join(*args)?,
        Command::Show(args) => run.show(args)?,
        Command::Diff(args) => run.diff(args)?,
        Command::Describe(args) => run.describe(args)?,
        Command::History(args) => run.history(args)?,
        Command::Status(args) => return run.status(&args),
        Command::Report(args) => return run.report(args),
        Command::Schema(args) => render(printer, &schema(workspace, &args.table)?)?,
        Command::Verify(args) => return run.verify(args),
        Command::Expand(args) => run.expand(args)?,
        Command::Drop(args) => run.drop_snapshot(args)?,
        Command::Restore(args) => run.restore(args)?,
        Command::Prune(args) => return run.prune(&args),
        Command::Repair(args) => return run.repair(&args),
        Command::Partitions(args) => run.partitions(args)?,
        Command::Completions { .. } | Command::Man { .. } | Command::Demo(_) => {}
    }
    Ok(0)
}

/// Finds the latest date of something of a table.
type LatestOfTable = fn(&Workspace<'_>, &str) -> Result<NaiveDate>;

/// One run of one command.
struct CommandRun<'a> {
    workspace: &'a Workspace<'a>,
    printer: &'a Printer,
    metrics: &'a RunMetrics,
}

impl CommandRun<'_> {
    fn on(&self, day: Day) -> NaiveDate {
        day.on(self.workspace.clock.today())
    }

    /// The date, or what `latest` finds for a table.
    fn on_or_latest(&self, day: Day, table: &str, latest: LatestOfTable) -> Result<NaiveDate> {
        match day {
            Day::Latest => latest(self.workspace, table),
            day => Ok(self.on(day)),
        }
    }

    /// The instant that a time on the command line stands for.
    fn known_at(&self, at: Option<KnownAt>) -> Result<Option<DateTime<Utc>>> {
        let clock = &self.workspace.clock;
        let at = match at {
            None => return Ok(None),
            Some(KnownAt::At(instant)) => instant,
            // Times are recorded in whole seconds. Today has not ended.
            Some(KnownAt::EndOf(day)) if self.on(day) == clock.today() => clock.now(),
            Some(KnownAt::EndOf(day)) => clock.end_of(self.on(day)) - TimeDelta::seconds(1),
        };
        if at > clock.now() {
            let now = clock.now().format("%Y-%m-%dT%H:%M:%SZ");
            let what = format!(
                "--known-at {} is in the future",
                at.format("%Y-%m-%dT%H:%M:%SZ")
            );
            return Err(Error::usage(what).hint(format!("--known-at {now}")));
        }
        Ok(Some(at))
    }

    /// The date; nothing for the latest one, which the command finds by itself.
    fn unless_latest(&self, day: Option<Day>) -> Option<NaiveDate> {
        let day = day.filter(|day| *day != Day::Latest);
        day.map(|day| self.on(day))
    }

    fn snapshot(&self, args: &SnapshotArgs) -> Result<u8> {
        let options = self.snapshot_options(args)?;
        let run: SnapshotRun = match args.tables.as_slice() {
            [table] if options.adopt.is_some() => adopt(self.workspace, table, &options)?.into(),
            [table] => vec![snapshot(
                self.workspace,
                table,
                &options,
                &mut std::io::stdin(),
            )?]
            .into(),
            tables => snapshot_tables(self.workspace, tables, &options)?,
        };
        render(self.printer, &run)?;
        for failed in run.failures() {
            self.printer.error(&failed.error);
        }
        Ok(run.failure().map_or(0, Kind::exit_code))
    }

    fn snapshot_options(&self, args: &SnapshotArgs) -> Result<SnapshotOptions> {
        let on = |option: &str, day: Option<Day>, latest: LatestOfTable| match (day, &*args.tables)
        {
            (Some(day), [table]) => self.on_or_latest(day, table, latest).map(Some),
            (Some(Day::Latest), _) => {
                let what = format!("{option} latest requires exactly one table name");
                Err(Error::usage(what).hint(format!("asof snapshot TABLE {option} latest")))
            }
            (day, _) => Ok(day.map(|day| self.on(day))),
        };
        Ok(SnapshotOptions {
            date: on("--date", args.date, latest_snapshot)?,
            publish: on("--publish", args.publish, latest_refused)?,
            discard: on("--discard", args.discard, latest_refused)?,
            source: args.source.given(),
            key: args.key.clone(),
            dedup: args.dedup.clone(),
            if_exists: args.if_exists.into(),
            backdate: args.backdate,
            force: args.force,
            adopt: args.adopt.clone(),
            dry_run: args.dry_run,
        })
    }

    fn check(&self, args: CheckArgs) -> Result<u8> {
        let given = args.source_option();
        let name = match args.name {
            Some(name) if !args.connect => name,
            name => {
                if let Some(option) = given.filter(|_| name.is_none()) {
                    let what = format!("{option} requires a table, events or a file");
                    return Err(Error::usage(what).hint(format!("asof check TABLE {option} ...")));
                }
                return self.check_project(name, args.connect);
            }
        };
        let options = CheckOptions {
            name,
            date: self.unless_latest(args.date),
            source: args.source.given(),
            key: args.key,
            dedup: args.dedup,
        };
        let report = check(self.workspace, &options, &mut std::io::stdin())?;
        render(self.printer, &report)?;
        report.notes.iter().for_each(|note| self.printer.note(note));
        for problem in &report.problems {
            self.printer.error(problem);
        }
        let problem = report.problems.first();
        Ok(problem.map_or(0, |problem| problem.kind().exit_code()))
    }

    fn check_project(&self, name: Option<String>, connect: bool) -> Result<u8> {
        let report = check_project(self.workspace, &ProjectCheckOptions { connect, name })?;
        render(self.printer, &report)?;
        let notes = report.parts.iter().flat_map(|part| &part.notes);
        notes.for_each(|note| self.printer.note(note));
        let problems = report.parts.iter().flat_map(|part| &part.problems);
        problems.for_each(|problem| self.printer.error(problem));
        Ok(report.failure().map_or(0, Kind::exit_code))
    }

    fn compact(&self, args: CompactArgs) -> Result<u8> {
        let tables = args.tables.clone();
        let options = compact_options(args, |day| self.on(day));
        let run = compact_tables(self.workspace, &tables, &options)?;
        render(self.printer, &run)?;
        for failed in run.failures() {
            self.printer.error(&failed.error);
        }
        Ok(run.failure().map_or(0, Kind::exit_code))
    }

    fn adopt(&self, args: AdoptArgs) -> Result<u8> {
        let options = AdoptOptions {
            source: args.given(),
            table: args.table,
            preset: args.preset.map(Into::into),
            key: args.key,
            start_column: args.start_column,
            end_column: args.end_column,
            end: args.end,
            open_end: args.open_end,
            deleted_column: args.deleted_column,
            leave_out: args.leave_out,
            timezone: args.timezone,
            from: args.from.map(|day| self.on(day)),
            to: args.to.map(|day| self.on(day)),
            dates: args.dates.into(),
            write: args.write,
            expand: args.expand,
        };
        let report = adopt_table(self.workspace, &options, &mut std::io::stdin())?;
        render(self.printer, &report)?;
        let refusal = report.refusal();
        refusal.iter().for_each(|error| self.printer.error(error));
        Ok(refusal.map_or(0, |error| error.kind().exit_code()))
    }

    fn backfill(&self, args: BackfillArgs) -> Result<u8> {
        let to = args.to.unwrap_or(Day::Today);
        let shared = args.options;
        let range = DateRange::new(self.on(args.from), self.on(to))?;
        let known_at = self.known_at(args.known_at)?;
        let mut described = args.ad_hoc;
        // The outputs of a job of asof.toml, and not a job that the command line describes.
        let out = match (known_at, args.jobs.is_empty()) {
            (Some(_), false) => described.out.take(),
            _ => None,
        };
        let options = BackfillOptions {
            known_at,
            out,
            only: args.only,
            accept: args.accept,
            using: shared.using.into(),
            engine: args.engine.into(),
            workers: args.workers,
            tolerance: shared.tolerance,
            lag: shared.lag,
            dry_run: shared.dry_run,
            ad_hoc: ad_hoc(described),
            ..BackfillOptions::of_range(range)
        };
        if options.workers == Some(0) {
            return Err(Error::usage("--workers must be at least 1").hint("--workers 1"));
        }
        let reports = backfill(self.workspace, &args.jobs, &options)?;
        self.metrics.backfill(&reports);
        render(self.printer, reports.as_slice())?;
        self.failures(&reports)
    }

    fn plan(&self, args: PlanArgs) -> Result<u8> {
        let to = args.to.unwrap_or(Day::Today);
        let range = DateRange::new(self.on(args.from), self.on(to))?;
        let options = BackfillOptions {
            using: args.using.into(),
            ..BackfillOptions::of_range(range)
        };
        let plan = plan_for_engine(self.workspace, &args.job, &options)?;
        render(self.printer, &plan)?;
        self.printer.hints(&plan.hints());
        Ok(plan.failure().map_or(0, Kind::exit_code))
    }

    /// Prints the hints of failed jobs, and returns what the scheduler should do.
    fn failures(&self, reports: &[BackfillReport]) -> Result<u8> {
        let failures: Vec<Kind> = reports.iter().filter_map(BackfillReport::failure).collect();
        let Some(first) = failures.first().copied() else {
            return Ok(0);
        };
        let alike = failures.len() == reports.len() && failures.iter().all(|kind| *kind == first);
        self.hints(reports.iter());
        Ok(if alike { first } else { Kind::Partial }.exit_code())
    }

    /// Prints the hints of failed dates, each once.
    fn hints<'r>(&self, reports: impl Iterator<Item = &'r BackfillReport>) {
        let mut hints: Vec<String> = Vec::new();
        for hint in reports.flat_map(|report| &report.hints) {
            if !hints.contains(hint) {
                hints.push(hint.clone());
            }
        }
        self.printer.hints(&hints);
    }

    fn join(&self, args: JoinArgs) -> Result<()> {
        let mut ad_hoc = events_join(args.join);
        ad_hoc.job.output = args.out;
        let shared = args.options;
        let on = |day: Day| self.on(day);
        let options = JoinOptions {
            ad_hoc,
            range: DateRange::between(args.from.map(on), args.to.map(on))?,
            using: shared.using.into(),
            tolerance: shared.tolerance,
            lag: shared.lag,
            dry_run: shared.dry_run,
        };
        render(self.printer, &join(self.workspace, &options)?)
    }

    fn verify(&self, args: VerifyArgs) -> Result<u8> {
        let mut options = VerifyOptions::of(&args.names);
        options.recompute = args.recompute;
        let report = verify(self.workspace, &options)?;
        self.metrics.verified(&report);
        render(self.printer, &report)?;
        Ok(if report.is_ok() {
            0
        } else {
            Kind::Refused.exit_code()
        })
    }

    fn expand(&self, args: ExpandArgs) -> Result<()> {
        let options = ExpandOptions {
            table: args.table,
            from: self.on(args.from),
            to: self.on(args.to),
            out: args.out,
            dry_run: args.dry_run,
            intervals: args.intervals,
        };
        render(self.printer, &expand(self.workspace, &options)?)
    }

    fn drop_snapshot(&self, args: DropArgs) -> Result<()> {
        let options = DropOptions {
            date: self.on_or_latest(args.date, &args.table, latest_snapshot)?,
            table: args.table,
            dry_run: args.dry_run,
        };
        render(self.printer, &drop_snapshot(self.workspace, &options)?)
    }

    fn restore(&self, args: RestoreArgs) -> Result<()> {
        let options = RestoreOptions {
            date: self.on_or_latest(args.date, &args.table, latest_put_aside)?,
            table: args.table,
            copy: args.copy,
            dry_run: args.dry_run,
        };
        render(self.printer, &restore(self.workspace, &options)?)
    }

    fn prune(&self, args: &PruneArgs) -> Result<u8> {
        let options = PruneOptions {
            keep: args.keep(),
            superseded: args.superseded,
            refused: args.refused,
            dry_run: args.dry_run,
        };
        let run = prune(self.workspace, &args.tables, &options)?;
        render(self.printer, &run)?;
        run.errors().for_each(|error| self.printer.error(error));
        Ok(run.failure().map_or(0, Kind::exit_code))
    }

    fn repair(&self, args: &RepairArgs) -> Result<u8> {
        let on = |day: Day| self.on(day);
        let range = DateRange::between(args.from.map(on), args.to.map(on))?;
        let single = args.dates.iter().map(|day| DateRange::single(on(*day)));
        let options = RepairOptions {
            dates: single.chain(range).collect(),
            dry_run: args.dry_run,
        };
        let report = repair(self.workspace, &options)?;
        render(self.printer, &report)?;
        report.errors().for_each(|error| self.printer.error(error));
        self.hints(report.jobs.iter().filter_map(|job| job.backfill.as_ref()));
        Ok(report.failure().map_or(0, Kind::exit_code))
    }

    fn partitions(&self, args: PartitionsArgs) -> Result<()> {
        let options = PartitionsOptions {
            path: args.path,
            layout: args.layout,
            from: self.on(args.from),
            to: self.on(args.to),
            strategy: args.strategy.into(),
        };
        let watch = Stopwatch::start();
        let report = partitions(self.workspace, &options)?;
        render(self.printer, &TimedPartitions::new(report, watch.elapsed()))
    }
}

/// What `asof compact` was asked for. Other options overrule what `--dbt` stands for.
fn compact_options(args: CompactArgs, on: impl Fn(Day) -> NaiveDate) -> CompactOptions {
    let of_dbt = |word: &str| args.dbt.then(|| word.to_owned());
    CompactOptions {
        snapshots: args.snapshots,
        layout: args.layout,
        dedup: args.dedup,
        date_column: args.date_column,
        date_format: args.date_format,
        timezone: args.timezone,
        source_format: args.source_format.map(Into::into),
        key: args.key,
        out: args.out,
        from: args.from.map(&on),
        to: args.to.map(&on),
        gaps: args.gaps,
        max_gap: args.max_gap,
        start_column: args.start_column.or_else(|| of_dbt("dbt_valid_from")),
        end_column: args.end_column.or_else(|| of_dbt("dbt_valid_to")),
        end: args.end.or_else(|| of_dbt("exclusive")),
        open_end: args.open_end.or_else(|| of_dbt("null")),
        ignore: args.ignore,
        track: args.track,
        condition: args.condition,
        select: args.select,
        scd2: Scd2Options {
            path: args.scd2,
            current_column: args.current_column,
            version_column: args.version_column,
            surrogate_key: args.surrogate_key,
            deleted_column: args.deleted_column,
        },
        full: args.full,
        engine: args.engine.into(),
        dry_run: args.dry_run,
    }
}

/// The job that the command line describes, if it describes one.
fn ad_hoc(args: AdHocArgs) -> Option<AdHoc> {
    let join = &args.join;
    let described = join.events.is_some()
        || join.table.is_some()
        || args.sql.is_some()
        || args.out.is_some()
        || !join.on.is_empty();
    let mut ad_hoc = events_join(args.join);
    ad_hoc.job.sql_file = args.sql;
    ad_hoc.job.names = args.names.into_iter().collect();
    ad_hoc.job.output = args.out.unwrap_or_default();
    ad_hoc.job.layout = args.out_layout;
    described.then_some(ad_hoc)
}

/// A join that has no output yet.
fn events_join(args: EventsJoinArgs) -> AdHoc {
    let job = JobConfig {
        table: args.table,
        on: args.on,
        how: args.how.map(Into::into),
        condition: args.condition,
        select: args.select,
        ..JobConfig::default()
    };
    AdHoc {
        events: args.events,
        events_layout: args.events_layout,
        events_dates: DatesInColumn {
            column: args.events_date_column,
            format: args.events_date_format,
            timezone: args.events_timezone,
        },
        events_format: args.events_format.map(Into::into),
        job,
    }
}
