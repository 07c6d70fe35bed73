//! The data of the comparison with other tools, and the parts of the work that no tool can leave
//! out, done with asof's own library.
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
use std::path::PathBuf;
use std::thread;

use chrono::{Days, NaiveDate};
use clap::{Args, Parser, Subcommand};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

mod events;
mod floor;
mod lake;
mod sources;
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
    /// Write the same table on each day as CSV, NDJSON and Parquet, with sorted and with shuffled
    /// rows
    Sources {
        #[command(flatten)]
        size: Size,
    },
    /// Decode all columns of all Parquet files below a folder, a file a core
    Decode { folder: PathBuf },
    /// Do what a compaction cannot leave out: decode the first snapshot, read what the others
    /// changed, and encode the intervals, which are there already; print how long each took
    Floor {
        lake: PathBuf,
        /// The file of intervals to write
        #[arg(long)]
        out: PathBuf,
    },
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
        Some(Command::Sources { size }) => sources::write(&size.out, size.days, size.rows),
        Some(Command::Decode { folder }) => floor::decode(&folder),
        Some(Command::Floor { lake, out }) => floor::compaction(&lake, &out),
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

/// How files are written that are not asof's own.
fn properties(row_group: usize) -> Result<WriterProperties> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(row_group))
        .build())
}
