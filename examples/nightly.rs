//! Takes tonight's copy of every table of an `asof.toml`, and brings the intervals up to date.
//!
//! ```sh
//! cargo run --example nightly -- asof.toml item customer
//! ```
//!
//! The exit code is the one that `asof` itself has, so a scheduler knows whether to retry.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints"
)]

use std::process::ExitCode;

use asof::{CompactOptions, Lake, Result, SnapshotOptions};

fn main() -> ExitCode {
    match nightly(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for hint in error.hints() {
                eprintln!("  hint: {hint}");
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn nightly(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let config = arguments.next().unwrap_or_else(|| "asof.toml".to_owned());
    let lake = Lake::options().config_file(config)?.open_configured()?;
    for name in arguments {
        let table = lake.table(&name)?;
        let copy = table.snapshot(&SnapshotOptions::new())?;
        println!("{name} {}: {:?}", copy.snapshot_date, copy.outcome);
        let intervals = table.compact(&CompactOptions::new())?;
        println!(
            "{name}: {} intervals of {} snapshots",
            intervals.intervals, intervals.snapshots
        );
    }
    Ok(())
}
