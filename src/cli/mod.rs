//! The only part that prints, reads the environment, or knows the command line.

pub mod args;
mod demo;
mod printer;
mod show;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::{CommandFactory, Parser};

use self::args::{
    AdHocArgs, BackfillArgs, Cli, ColumnTypes, Command, CompactArgs, EventsJoinArgs, Global,
    JoinArgs, SnapshotArgs,
};
use self::printer::Printer;
use crate::clock::{Clock, Stopwatch};
use crate::commands::backfill::{AdHoc, BackfillOptions, DatesInColumn, backfill};
use crate::commands::check::{CheckOptions, check};
use crate::commands::compact::{CompactOptions, compact};
use crate::commands::diff::{DiffOptions, diff};
use crate::commands::expand::{ExpandOptions, expand};
use crate::commands::history::{HistoryOptions, history};
use crate::commands::init::init;
use crate::commands::job_status::job_status;
use crate::commands::join::{JoinOptions, join};
use crate::commands::partitions::{PartitionsOptions, partitions};
use crate::commands::schema::schema;
use crate::commands::show::{ShowOptions, show};
use crate::commands::snapshot::{SnapshotOptions, snapshot};
use crate::commands::status::status;
use crate::commands::verify::verify;
use crate::commands::{DeclaredTypes, Progress, Workspace};
use crate::config::{Config, JobConfig};
use crate::error::{Error, Kind, Result};
use crate::model::{DateRange, Day, MemoryBudget};
use crate::source::Dialect;

/// The environment variable that pins the clock, for tests and demonstrations.
const NOW: &str = "ASOF_NOW";

/// Runs the program on this process's arguments, and returns its exit code.
pub fn main() -> u8 {
    crate::storage::parquet::untrusted::silence_decoders();
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    run(std::env::args_os(), &folder)
}

/// Runs the program on arguments, the first of which is its own name, in a folder.
pub fn run(arguments: impl IntoIterator<Item = OsString>, folder: &Path) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if !error.use_stderr() {
                return 0;
            }
            if wants_json {
                let text = error.to_string();
                let message = text
                    .split("\n\n")
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: ");
                let _ = failure(
                    &Printer::new(&Global {
                        json: true,
                        ..Global::default()
                    }),
                    &Error::usage(message),
                );
            }
            return Kind::Usage.exit_code();
        }
    };
    let printer = Printer::new(&cli.global);
    let json = cli.global.json;
    match dispatch(cli, folder, &printer) {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            if json {
                let _ = failure(&printer, &error);
            }
            error.kind().exit_code()
        }
    }
}

/// Prints a failure as the one JSON document.
fn failure(printer: &Printer, error: &Error) -> Result<()> {
    printer.document(&serde_json::json!({
        "error": { "kind": error.kind(), "exit_code": error.kind().exit_code(), "message": error.to_string(), "hints": error.hints() }
    }))
}

fn dispatch(cli: Cli, folder: &Path, printer: &Printer) -> Result<u8> {
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "asof", &mut script);
            printer.bytes(&script)?;
            Ok(0)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Error::io(format!("cannot write the manual: {error}")))?;
            printer.bytes(&page)?;
            Ok(0)
        }
        Command::Demo(args) => demo::demo(&args.dir, folder, &cli.global, printer),
        command => {
            let mut workspace = workspace(&cli.global, folder, printer)?;
            workspace.declared = declared(&command)?;
            // Its report has them.
            let is_check = matches!(command, Command::Check(_));
            let code = carry_out(command, &workspace, printer);
            if !is_check {
                workspace
                    .observations()
                    .iter()
                    .for_each(|note| printer.note(note));
            }
            printer.requests();
            printer.phases();
            code
        }
    }
}

/// The types that the command line declares.
fn declared(command: &Command) -> Result<DeclaredTypes> {
    let of_tables = |types: &Option<ColumnTypes>, csv: &[Dialect], tables: &[String]| match types {
        Some(_) if tables.len() > 1 => Err(Error::usage("--types requires exactly one table")
            .hint("types = { COLUMN = \"TYPE\" } in asof.toml")),
        _ if tables.len() > 1 && !csv.is_empty() => {
            Err(Error::usage("--csv requires exactly one table")
                .hint("csv = { SETTING = VALUE } in asof.toml"))
        }
        types => Ok(DeclaredTypes {
            of_tables: types.clone().unwrap_or_default(),
            csv_of_tables: dialect(csv),
            ..DeclaredTypes::default()
        }),
    };
    let of_events = |types: &Option<ColumnTypes>, csv: &[Dialect]| DeclaredTypes {
        of_events: types.clone().unwrap_or_default(),
        csv_of_events: dialect(csv),
        ..DeclaredTypes::default()
    };
    match command {
        Command::Snapshot(args) => of_tables(&args.types, &args.csv, &args.tables),
        Command::Compact(args) => of_tables(&args.types, &args.csv, &args.tables),
        Command::Check(args) => {
            let types = args.types.clone().unwrap_or_default();
            let csv = dialect(&args.csv);
            Ok(DeclaredTypes {
                of_tables: types.clone(),
                of_events: types,
                csv_of_tables: csv.clone(),
                csv_of_events: csv,
            })
        }
        Command::Backfill(args) => Ok(of_events(&args.types, &args.csv)),
        Command::Join(args) => Ok(of_events(&args.types, &args.csv)),
        _ => Ok(DeclaredTypes::default()),
    }
}

/// The dialect of a flag that may be given several times; later settings count.
fn dialect(given: &[Dialect]) -> Dialect {
    given.iter().fold(Dialect::default(), |before, dialect| {
        dialect.clone().or(before)
    })
}

/// Puts together what commands are given.
fn workspace<'a>(global: &Global, folder: &Path, printer: &'a Printer) -> Result<Workspace<'a>> {
    let named = global.config.as_ref().map(|path| folder.join(path));
    if let Some(path) = named.as_ref().filter(|path| !path.exists()) {
        return Err(
            Error::usage(format!("there is no configuration '{}'", path.display()))
                .hint("asof init, to write an asof.toml"),
        );
    }
    let file = named.or_else(|| Config::nearest(folder));
    let config = file.map_or_else(|| Ok(Config::default()), |path| Config::load(&path))?;
    let pinned = std::env::var(NOW).ok();
    let clock = Clock::read(pinned.as_deref())?.in_zone(config.zone()?);
    let mut builder = Workspace::builder(config)
        .folder(folder)
        .clock(clock)
        .memory(global.memory.unwrap_or_else(half_of_the_machine))
        .environment(std::env::vars())
        .allow_unsafe_store(global.allow_unsafe_store)
        .progress(printer);
    if let Some(lake) = global.lake.as_ref().filter(|lake| !lake.is_empty()) {
        builder = builder.lake(lake);
    }
    let workspace = builder.build()?;
    printer.count(workspace.stores.requests());
    Ok(workspace)
}

/// Half of the memory that this machine, or the container that this process is in, has.
fn half_of_the_machine() -> MemoryBudget {
    let Ok(mut system) = sysinfo::System::new() else {
        return MemoryBudget::default();
    };
    system.refresh_memory();
    let limited = system
        .cgroup_limits()
        .map(|limits| limits.total_memory)
        .filter(|limit| *limit > 0);
    let has = limited.map_or(system.total_memory(), |limit| {
        limit.min(system.total_memory())
    });
    if has == 0 {
        MemoryBudget::default()
    } else {
        MemoryBudget(has / 2)
    }
}

fn carry_out(command: Command, workspace: &Workspace<'_>, printer: &Printer) -> Result<u8> {
    let on = |day: Day| day.on(workspace.clock.today());
    match command {
        Command::Init => {
            let path = init(workspace)?;
            show::init(printer, &workspace.shown(&path))?;
        }
        Command::Snapshot(args) => {
            let reports = snapshot(
                workspace,
                &args.tables,
                &snapshot_options(&args, on),
                &mut std::io::stdin(),
            )?;
            printer.clear();
            show::snapshot(printer, &reports)?;
        }
        Command::Check(args) => {
            let options = CheckOptions {
                name: args.name,
                date: args.date.map(on),
                source: args.source,
                source_format: args.source_format.map(Into::into),
                key: args.key,
                dedup: args.dedup,
            };
            let report = check(workspace, &options, &mut std::io::stdin())?;
            show::check(printer, &report)?;
            report.notes.iter().for_each(|note| printer.note(note));
            report
                .problems
                .iter()
                .for_each(|problem| printer.error(problem));
            if let Some(problem) = report.problems.first() {
                return Ok(problem.kind().exit_code());
            }
        }
        Command::Compact(args) => {
            let tables = args.tables.clone();
            let reports = compact(workspace, &tables, &compact_options(*args, on))?;
            printer.clear();
            show::compact(printer, &reports)?;
        }
        Command::Backfill(args) => return run_backfill(*args, workspace, printer),
        Command::Join(args) => run_join(*args, workspace, printer)?,
        Command::Show(args) => {
            let options = ShowOptions {
                table: args.table,
                date: on(args.day.or(args.date).unwrap_or(Day::Today)),
                condition: args.condition,
                select: args.select,
                out: args.out,
                limit: args.limit,
            };
            show::show(printer, &show(workspace, &options)?)?;
        }
        Command::Diff(args) => {
            let (from, to) = match (args.day, args.later) {
                (Some(from), Some(to)) => (Some(from), Some(to)),
                (Some(to), None) => (None, Some(to)),
                _ => (args.from, args.to),
            };
            let options = DiffOptions {
                table: args.table,
                from: from.map(on),
                to: on(to.unwrap_or(Day::Today)),
                limit: args.limit,
            };
            show::diff(printer, &diff(workspace, &options)?)?;
        }
        Command::History(args) => {
            show::history(
                printer,
                &history(
                    workspace,
                    &HistoryOptions {
                        table: args.table,
                        key: args.key,
                    },
                )?,
            )?;
        }
        Command::Status(args) => {
            let job = args
                .name
                .as_ref()
                .filter(|name| workspace.config.jobs.contains_key(*name));
            let (jobs, tables) = match (&args.name, job) {
                (_, Some(job)) => (vec![job.clone()], None),
                (Some(table), None) => (Vec::new(), Some(vec![table.clone()])),
                (None, None) => (
                    workspace.config.jobs.keys().cloned().collect(),
                    Some(Vec::new()),
                ),
            };
            let from = args.from.map(on);
            let to = args.to.map(on);
            if let (Some(from), Some(to)) = (from, to) {
                DateRange::new(from, to)?;
            }
            let tables = tables.map(|names| status(workspace, &names)).transpose()?;
            let alone = tables.is_none();
            let mut states = Vec::new();
            for name in &jobs {
                match job_status(workspace, name, from, to) {
                    Ok(state) => states.push(state),
                    Err(error) if alone => return Err(error),
                    // The others, and the tables, can be looked at all the same.
                    Err(error) => workspace.progress.note(&format!("job {name}: {error}")),
                }
            }
            show::status(printer, tables.as_ref(), args.name.is_some(), &states)?;
        }
        Command::Schema(args) => show::schema(printer, &schema(workspace, &args.table)?)?,
        Command::Verify(args) => {
            let report = verify(workspace, &args.tables)?;
            printer.clear();
            show::verify(printer, &report)?;
            if !report.is_ok() {
                return Ok(Kind::Refused.exit_code());
            }
        }
        Command::Expand(args) => {
            let options = ExpandOptions {
                table: args.table,
                from: on(args.from),
                to: on(args.to),
                out: args.out,
                dry_run: args.dry_run,
                intervals: args.intervals,
            };
            let report = expand(workspace, &options)?;
            printer.clear();
            show::expand(printer, &report)?;
        }
        Command::Partitions(args) => {
            let options = PartitionsOptions {
                path: args.path,
                layout: args.layout,
                from: on(args.from),
                to: on(args.to),
                strategy: args.strategy.into(),
            };
            let watch = Stopwatch::start();
            let report = partitions(workspace, &options)?;
            show::partitions(printer, &report, watch.elapsed())?;
        }
        Command::Completions { .. } | Command::Man | Command::Demo(_) => {}
    }
    Ok(0)
}

fn snapshot_options(args: &SnapshotArgs, on: impl Fn(Day) -> NaiveDate) -> SnapshotOptions {
    SnapshotOptions {
        date: args.date.map(on),
        source: args.source.clone(),
        source_format: args.source_format.map(Into::into),
        key: args.key.clone(),
        dedup: args.dedup.clone(),
        if_exists: args.if_exists.into(),
        backdate: args.backdate,
        force: args.force,
        dry_run: args.dry_run,
    }
}

fn compact_options(args: CompactArgs, on: impl Fn(Day) -> NaiveDate) -> CompactOptions {
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
        start_column: args.start_column,
        end_column: args.end_column,
        end: args.end,
        open_end: args.open_end,
        ignore: args.ignore,
        track: args.track,
        condition: args.condition,
        select: args.select,
        full: args.full,
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

fn run_join(args: JoinArgs, workspace: &Workspace<'_>, printer: &Printer) -> Result<()> {
    let mut ad_hoc = events_join(args.join);
    ad_hoc.job.output = args.out;
    let on = |day: Day| day.on(workspace.clock.today());
    let options = JoinOptions {
        ad_hoc,
        range: DateRange::between(args.from.map(on), args.to.map(on))?,
        using: args.using.into(),
        tolerance: args.tolerance,
        lag: args.lag,
        dry_run: args.dry_run,
    };
    let report = join(workspace, &options)?;
    printer.clear();
    show::join(printer, &report)
}

fn run_backfill(args: BackfillArgs, workspace: &Workspace<'_>, printer: &Printer) -> Result<u8> {
    let on = |day: Day| day.on(workspace.clock.today());
    let options = BackfillOptions {
        range: DateRange::new(on(args.from), on(args.to.unwrap_or(Day::Today)))?,
        only: args.only,
        using: args.using.into(),
        workers: args.workers,
        tolerance: args.tolerance,
        lag: args.lag,
        dry_run: args.dry_run,
        ad_hoc: ad_hoc(args.ad_hoc),
    };
    if options.workers == Some(0) {
        return Err(Error::usage("--workers must be at least 1").hint("--workers 1"));
    }
    let reports = backfill(workspace, &args.jobs, &options)?;
    printer.clear();
    show::backfill(printer, &reports)?;
    let failures: Vec<Kind> = reports
        .iter()
        .filter_map(crate::commands::backfill::BackfillReport::failure)
        .collect();
    let Some(first) = failures.first().copied() else {
        return Ok(0);
    };
    let alike = failures.len() == reports.len() && failures.iter().all(|kind| *kind == first);
    let mut hints: Vec<String> = Vec::new();
    for hint in reports.iter().flat_map(|report| &report.hints) {
        if !hints.contains(hint) {
            hints.push(hint.clone());
        }
    }
    printer.hints(&hints);
    Ok(if alike { first } else { Kind::Partial }.exit_code())
}
