//! The data of the comparison with other tools, and a plain read of it.
//!
//! `benches/compare/run` calls it; see docs/benchmarks/compare.md. Data is seeded: the same
//! arguments give the same rows.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use asof::storage::lake::location::Location;
use asof::storage::parquet::object::ParquetObject;
use chrono::{Days, NaiveDate};
use clap::{Args, Parser, Subcommand};

mod events;
mod lake;
mod table;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The date of day 0.
const FIRST: NaiveDate = NaiveDate::from_ymd_opt(2024, 1, 1).expect("it is a date");

#[derive(Parser)]
struct Arguments {
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write a lake with the daily snapshots of a table `item`
    Lake {
        #[command(flatten)]
        size: Size,
        #[arg(long, value_enum)]
        shape: table::Shape,
    },
    /// Write daily events, a folder a date, whose item_id refers to the rows of a lake with integer
    /// keys
    Events {
        #[command(flatten)]
        size: Size,
        /// How many events a day has
        #[arg(long)]
        events: u64,
    },
    /// Decode all columns of all Parquet files below a folder, a file a core
    Decode { folder: PathBuf },
    /// Print what changes when data must be made anew
    Stamp,
}

#[derive(Args)]
struct Size {
    /// The folder to write to
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    days: u16,
    /// About how many rows the table has each day
    #[arg(long)]
    rows: u64,
}

fn main() -> Result {
    match Arguments::parse().command {
        Some(Command::Lake { size, shape }) => lake::write(&size.out, shape, size.days, size.rows),
        Some(Command::Events { size, events }) => {
            events::write(&size.out, size.days, size.rows, events)
        }
        Some(Command::Decode { folder }) => decode(&folder),
        Some(Command::Stamp) => {
            println!("{}", lake::stamp()?);
            Ok(())
        }
        None => {
            println!("this is run by benches/compare/run");
            Ok(())
        }
    }
}

/// A number that looks random and is the same on every run.
fn mix(number: u64, salt: u64) -> u64 {
    let mut x =
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 29)
}

fn date_of(day: u16) -> NaiveDate {
    FIRST + Days::new(u64::from(day))
}

fn cores() -> Result<u16> {
    Ok(u16::try_from(thread::available_parallelism()?.get())?)
}

/// Does the days on all cores, a run of days in a row each.
fn on_all_cores(days: u16, work: impl Fn(Range<u16>) -> Result + Sync) -> Result {
    let each = days.div_ceil(cores()?);
    thread::scope(|scope| {
        let runs = (0..days).step_by(usize::from(each.max(1)));
        let threads: Vec<_> = runs
            .map(|start| {
                scope.spawn({
                    let work = &work;
                    move || work(start..(start + each).min(days))
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

/// Decodes every column of every file and does nothing with it.
fn decode(folder: &Path) -> Result {
    let files = files_below(folder)?;
    let next = AtomicUsize::new(0);
    let rows = AtomicU64::new(0);
    let work = || -> Result {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            for batch in ParquetObject::open(&Location::local(file))?.read(None)? {
                rows.fetch_add(batch?.num_rows() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()?).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    println!("{} rows", rows.into_inner());
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
