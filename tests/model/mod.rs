//! The program against a naive model, over seeded random histories of a table.
//!
//! `history` makes a history, `oracle` says in a few lines what must come of it, `lake` puts it
//! into a folder and runs the library's commands, `check` compares. Nothing here but `lake` and
//! `check` names the program.
//!
//! A failure names its seed: `ASOF_MODEL_SEED=17 cargo test --test journeys model` runs that
//! history alone, and `ASOF_MODEL_HISTORIES=5000` runs more of them.

mod arrow_io;
mod check;
mod history;
mod lake;
mod oracle;
mod value;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use asof::commands::engine::Engine;

/// How many histories are run when nothing is asked for.
const HISTORIES: u64 = 520;
/// How many are run on a cluster, where each takes a minute.
#[cfg(feature = "spark")]
const HISTORIES_ON_SPARK: u64 = 12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: '{text}'"))
    })
}

/// Runs one history; gives what went wrong.
fn failure(seed: u64, engine: &Engine) -> Option<String> {
    let outcome = catch_unwind(|| check::history(seed, engine.clone()));
    let what = outcome.err()?;
    let text = what
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| what.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(format!(
        "ASOF_MODEL_SEED={seed}: {}",
        text.unwrap_or_default()
    ))
}

#[test]
fn every_history_comes_out_as_the_model_says() {
    run(HISTORIES, &Engine::Local);
}

/// The same on a cluster: `tests/run --spark model`.
#[cfg(feature = "spark")]
#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn every_history_comes_out_on_spark_as_the_model_says() {
    let remote = std::env::var("ASOF_TEST_SPARK_REMOTE")
        .expect("ASOF_TEST_SPARK_REMOTE is not set: run the tests with tests/run --spark");
    run(HISTORIES_ON_SPARK, &Engine::Spark(Some(remote.into())));
}

/// Runs so many histories, or those that the environment names.
fn run(histories: u64, engine: &Engine) {
    if let Some(seed) = number("ASOF_MODEL_SEED") {
        return check::history(seed, engine.clone());
    }
    let histories = number("ASOF_MODEL_HISTORIES").unwrap_or(histories);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < histories)
                {
                    failures.lock().unwrap().extend(failure(seed, engine));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {histories} histories failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
