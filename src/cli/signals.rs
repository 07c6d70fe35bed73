//! Signals: SIGINT, SIGTERM and SIGHUP end a run cleanly, with 128 plus the signal's number as exit
//! code. A second signal ends it at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;

use chrono::NaiveDate;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, signal_name};
use tracing::debug;

use super::printer::{Printer, count};
use crate::interrupt::{self, PublishedDates};

/// How many dates are listed; of more, the first and the last are.
const LISTED: usize = 5;

/// Listens for signals on a thread of its own, for as long as the process lives. Without one, a
/// signal ends the process at once.
pub(super) fn listen(printer: &Arc<Printer>) {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let printer = printer.clone();
        let listener = Signals::new([SIGINT, SIGTERM, SIGHUP]).and_then(|mut signals| {
            let wait = move || {
                let is_for_us = |signal: &i32| *signal != SIGINT || !printer.is_paging();
                if let Some(signal) = signals.forever().find(is_for_us) {
                    // The second one is not waited for by anybody but this thread.
                    let again = thread::Builder::new().spawn(move || {
                        if let Some(signal) = signals.forever().next() {
                            let _ = emulate_default_handler(signal);
                        }
                    });
                    drop(again);
                    end(signal, &printer);
                }
            };
            thread::Builder::new().name("signals".into()).spawn(wait)
        });
        if let Err(error) = listener {
            debug!(%error, "signals are not listened for");
        }
    });
}

/// Ends the process, and tells what was published.
fn end(signal: i32, printer: &Printer) -> ! {
    let published = interrupt::stop();
    let name = signal_name(signal).unwrap_or("a signal");
    let message = match in_words(&published) {
        None => format!("interrupted by {name}; nothing was published"),
        Some(published) => format!("interrupted by {name}; published before that: {published}"),
    };
    let exit_code = 128 + signal;
    printer.interrupted(&message, exit_code);
    if printer.json {
        let _ = printer.document(&json!({
            "error": {
                "kind": "interrupted",
                "exit_code": exit_code,
                "message": message,
                "hints": [],
                "published": published,
            }
        }));
    }
    std::process::exit(exit_code)
}

/// `item 2024-03-01, 2024-03-02; sold 2024-03-01 to 2024-03-31 (28 dates)`; nothing if nothing was
/// published.
fn in_words(published: &PublishedDates) -> Option<String> {
    let words = |(name, dates): (&String, &BTreeSet<NaiveDate>)| match (dates.first(), dates.last())
    {
        (Some(first), Some(last)) if dates.len() > LISTED => {
            let dates = count(dates.len() as u64, "date");
            format!("{name} {first} to {last} ({dates})")
        }
        (Some(_), Some(_)) => {
            let dates: Vec<String> = dates.iter().map(NaiveDate::to_string).collect();
            format!("{name} {}", dates.join(", "))
        }
        _ => name.clone(),
    };
    let all: Vec<String> = published.iter().map(words).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_is_told_by_date() {
        let day = |day| NaiveDate::from_ymd_opt(2024, 3, day).expect("a date");
        let mut published = PublishedDates::new();
        assert_eq!(in_words(&published), None);
        published.insert("item".into(), [day(1), day(2)].into());
        published.insert("price".into(), BTreeSet::new());
        published.insert("sold".into(), (1..=28).map(day).collect());
        assert_eq!(
            in_words(&published).expect("something"),
            "item 2024-03-01, 2024-03-02; price; sold 2024-03-01 to 2024-03-28 (28 dates)"
        );
    }
}
