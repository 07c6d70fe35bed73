//! The workspace of a command: its configuration, environment, clock and declared types.

use std::path::Path;

use super::args::{ColumnTypes, Command, EventsOptions, Global};
use super::printer::Printer;
use crate::clock::Clock;
use crate::commands::{DeclaredTypes, Workspace};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;
use crate::source::Dialect;

/// The environment variable that pins the clock, for tests and demonstrations.
pub(super) const NOW: &str = "ASOF_NOW";

/// The types that the command line declares.
pub(super) fn declared(command: &Command) -> Result<DeclaredTypes> {
    // Of `asof snapshot` without a name, as of several, they would be about all tables.
    let is_of_one = match command {
        Command::Snapshot(args) => args.tables.len() == 1,
        Command::Compact(args) => args.tables.len() <= 1,
        _ => true,
    };
    let of_tables = |types: &Option<ColumnTypes>, csv: &[Dialect]| match types {
        Some(_) if !is_of_one => Err(Error::usage("--types requires exactly one table name")
            .hint("types = { COLUMN = \"TYPE\" } in asof.toml")),
        _ if !is_of_one && !csv.is_empty() => {
            Err(Error::usage("--csv requires exactly one table name")
                .hint("csv = { SETTING = VALUE } in asof.toml"))
        }
        types => Ok(DeclaredTypes {
            of_tables: types.clone().unwrap_or_default(),
            csv_of_tables: dialect(csv),
            ..DeclaredTypes::default()
        }),
    };
    let of_events = |options: &EventsOptions| DeclaredTypes {
        of_events: options.types.clone().unwrap_or_default(),
        csv_of_events: dialect(&options.csv),
        ..DeclaredTypes::default()
    };
    match command {
        Command::Snapshot(args) => of_tables(&args.types, &args.csv),
        Command::Compact(args) => of_tables(&args.types, &args.csv),
        Command::Adopt(args) => of_tables(&args.types, &args.csv),
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
        Command::Backfill(args) => Ok(of_events(&args.options)),
        Command::Join(args) => Ok(of_events(&args.options)),
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
pub(super) fn workspace<'a>(
    global: &Global,
    folder: &Path,
    printer: &'a Printer,
) -> Result<Workspace<'a>> {
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
