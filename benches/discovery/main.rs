//! Finding the partitions of a range in an object store: the guided search, one probe a date, and
//! listing everything.
//!
//! `cargo bench --bench discovery` runs the program's own search over a simulated store: three
//! pipelines, lakes of 1, 3 and 10 years, ranges of 1 to 365 days, three strategies, 50 repetitions
//! each. It writes `docs/benchmarks/discovery.md` and a plot of each pipeline, and fails if the
//! guided search needs more requests than it may, if the age of the lake changes what it needs, or
//! if it is beaten in a cell for no reason that is known. `-- --quick` makes 3 repetitions, prints
//! the document and writes nothing.
//!
//! | module | holds |
//! | --- | --- |
//! | [`lake`] | the seeded lake: how many objects each date has, and the keys, made when they are asked for |
//! | [`store`] | the simulated store: pages, round trips, and a clock that only they move |
//! | [`report`] | the document and its conditions |
//! | [`plot`] | the plots |
//!
//! Nothing depends on the machine: time is the sum of simulated round trips, and everything random
//! is a function of a seed, so the document is the same to the byte wherever it is made.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

mod lake;
mod plot;
mod report;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use asof::domain::layout::Layout;
use asof::model::DateRange;
use asof::storage::object_store::search::{Strategy, search};
use chrono::{Days, Months, NaiveDate};

use crate::lake::{Lake, PIPELINES};
use crate::store::Store;

/// How many years the lakes hold.
const YEARS: [u32; 3] = [1, 3, 10];
/// How many days the ranges have. All end on the same day.
const DAYS: [u64; 5] = [1, 7, 30, 90, 365];
/// The strategies, in the order of every table.
const STRATEGIES: [Strategy; 3] = [Strategy::Guided, Strategy::Paths, Strategy::Listing];
/// How many days a lake goes on, before its years and after them, so that no range ends where its
/// lake does.
const MARGIN: u64 = 7;
const REPETITIONS: usize = 50;
const LAYOUT: &str = "year=%Y/month=%m/day=%d";

/// One pipeline, lake and range.
struct Cell {
    /// Which of [`PIPELINES`].
    pipeline: usize,
    years: u32,
    days: u64,
    /// How many objects the range holds.
    objects: usize,
    /// How many the lake holds.
    lake_objects: usize,
    /// The runs of each of [`STRATEGIES`].
    strategies: [Runs; 3],
}

/// What the repetitions of one strategy took, in their order.
#[derive(Default, PartialEq)]
struct Runs {
    requests: Vec<u64>,
    micros: Vec<u64>,
}

fn main() -> ExitCode {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let repetitions = if is_quick { 3 } else { REPETITIONS };
    let cells = measure(repetitions);
    let report = report::Report::new(&cells, repetitions);
    let document = report.document();
    if is_quick {
        println!("{document}");
    } else {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks");
        std::fs::create_dir_all(&folder).expect("the folder of the document");
        std::fs::write(folder.join("discovery.md"), document).expect("the document");
        for pipeline in 0..PIPELINES.len() {
            plot::draw(&folder.join(report::plot_name(pipeline)), pipeline, &cells)
                .expect("the plot");
        }
        println!("{}", report.conditions());
    }
    if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The last day of every range.
fn last_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 12, 24).expect("a date")
}

fn range_of(days: u64) -> DateRange {
    DateRange::new(last_day() - Days::new(days - 1), last_day()).expect("a range")
}

/// The dates of a lake of so many years.
fn dates_of(years: u32) -> DateRange {
    let first = last_day() - Months::new(12 * years) + Days::new(1);
    DateRange::new(first - Days::new(MARGIN), last_day() + Days::new(MARGIN)).expect("a range")
}

/// Runs every cell, on all processors.
fn measure(repetitions: usize) -> Vec<Cell> {
    let layout = Layout::parse(LAYOUT).expect("a layout");
    let mut cells = Vec::new();
    let mut lakes = Vec::new();
    for (pipeline, kind) in PIPELINES.iter().enumerate() {
        for years in YEARS {
            let lake = Lake::new(kind, dates_of(years), &layout);
            for days in DAYS {
                let objects = lake.counts(range_of(days)).values().sum();
                let strategies = std::array::from_fn(|_| Runs::default());
                cells.push(Cell {
                    pipeline,
                    years,
                    days,
                    objects,
                    lake_objects: lake.len(),
                    strategies,
                });
            }
            lakes.push(lake);
        }
    }
    let jobs = cells.len() * STRATEGIES.len() * repetitions;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                return done;
            }
            let (cell, strategy, repetition) = placed(job, repetitions);
            done.push((
                job,
                run(
                    &lakes[cell / DAYS.len()],
                    &layout,
                    cells[cell].days,
                    STRATEGIES[strategy],
                    repetition,
                ),
            ));
        }
    };
    let mut done: Vec<(usize, (u64, u64))> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("every strategy finds the same"))
            .collect()
    });
    done.sort_unstable();
    for (job, (requests, micros)) in done {
        let (cell, strategy, _) = placed(job, repetitions);
        let runs = &mut cells[cell].strategies[strategy];
        runs.requests.push(requests);
        runs.micros.push(micros);
    }
    cells
}

/// The cell, the strategy and the repetition of a job.
fn placed(job: usize, repetitions: usize) -> (usize, usize, usize) {
    let rest = job / repetitions;
    let repetition = job % repetitions;
    (rest / STRATEGIES.len(), rest % STRATEGIES.len(), repetition)
}

/// One search, from the first request to the last answer: how many requests, and how many
/// microseconds of round trips. What it found is compared with what the lake was made of, and so
/// against what the other strategies find.
fn run(
    lake: &Lake,
    layout: &Layout,
    days: u64,
    strategy: Strategy,
    repetition: usize,
) -> (u64, u64) {
    let range = range_of(days);
    let store = Store::new(lake, repetition as u64);
    let outcome = store
        .clock()
        .run(search(&store, lake::ROOT, layout, Some(range), strategy))
        .expect("the store never fails");
    let found: BTreeMap<NaiveDate, usize> = outcome
        .partitions
        .iter()
        .map(|(date, objects)| (*date, objects.len()))
        .collect();
    assert_eq!(found, lake.counts(range), "{strategy:?} over {days} days");
    assert_eq!(
        outcome.requests,
        store.requests(),
        "the search and the store count the same requests"
    );
    (outcome.requests, store.clock().now())
}
