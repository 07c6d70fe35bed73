//! How the time of a command divides: what `-v` says at the end, so that the next bottleneck is
//! seen.
//!
//! Time is charged to one [`Phase`] at a time on each thread: what is done within a phase and
//! belongs to another one is charged to that. Threads add up, so that the sum of all phases may be
//! more than the time that went by; what no phase is charged for is waiting, or not worth a phase.
//! It is measured a batch at a time, and read by people only.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Stopwatch;

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for listings, and for bytes of a disk or a store.
    Read,
    /// From bytes of a file to columns.
    Decode,
    /// Digests of keys and rows.
    Hash,
    /// Rows of a snapshot against those of the one before.
    Compare,
    /// Rows into the order of the key.
    Sort,
    /// Keys of events looked up, and rows put together.
    Join,
    /// A query or an expression.
    Query,
    /// From columns to bytes of a file.
    Encode,
    /// Waiting for a disk or a store to take bytes.
    Write,
}

impl Phase {
    /// All of them, in the order in which data passes them.
    pub const ALL: [Phase; 9] = [
        Phase::Read,
        Phase::Decode,
        Phase::Hash,
        Phase::Compare,
        Phase::Sort,
        Phase::Join,
        Phase::Query,
        Phase::Encode,
        Phase::Write,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Read => "read",
            Phase::Decode => "decode",
            Phase::Hash => "hash",
            Phase::Compare => "compare",
            Phase::Sort => "sort",
            Phase::Join => "join",
            Phase::Query => "query",
            Phase::Encode => "encode",
            Phase::Write => "write",
        }
    }

    /// Does work that is charged to this phase.
    pub fn spend<T>(self, work: impl FnOnce() -> T) -> T {
        let _charge = Charge::begin(self);
        work()
    }

    /// An iterator whose items are made in this phase.
    pub fn each<I: Iterator>(self, items: I) -> Phased<I> {
        Phased { phase: self, items }
    }
}

/// What each phase was charged for, in nanoseconds.
static SPENT: [AtomicU64; Phase::ALL.len()] = [const { AtomicU64::new(0) }; Phase::ALL.len()];

thread_local! {
    /// What this thread is charged for, and since when.
    static CURRENT: Cell<Option<(Phase, Stopwatch)>> = const { Cell::new(None) };
}

fn charge(current: Option<(Phase, Stopwatch)>) {
    if let Some((phase, since)) = current {
        let nanoseconds = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        SPENT[phase as usize].fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// Charges a phase until it is dropped, and then again the one before.
struct Charge {
    outer: Option<Phase>,
}

impl Charge {
    fn begin(phase: Phase) -> Self {
        let outer = CURRENT.replace(Some((phase, Stopwatch::start())));
        charge(outer);
        Charge {
            outer: outer.map(|(phase, _)| phase),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        charge(CURRENT.replace(self.outer.map(|phase| (phase, Stopwatch::start()))));
    }
}

/// An iterator whose items are made in a phase; see [`Phase::each`].
pub struct Phased<I> {
    phase: Phase,
    items: I,
}

impl<I: Iterator> Iterator for Phased<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.phase.spend(|| self.items.next())
    }
}

/// The phases that this process has been charged for, with their time over all threads.
pub fn spent() -> Vec<(Phase, Duration)> {
    let each = Phase::ALL.into_iter().map(|phase| {
        (
            phase,
            Duration::from_nanos(SPENT[phase as usize].load(Ordering::Relaxed)),
        )
    });
    each.filter(|(_, time)| !time.is_zero()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(phase: Phase) -> Duration {
        spent()
            .into_iter()
            .find(|(known, _)| *known == phase)
            .map_or(Duration::ZERO, |(_, time)| time)
    }

    #[test]
    fn what_is_done_within_a_phase_is_charged_once() {
        // Other tests of this process may be charged meanwhile, but nobody queries and writes at
        // once.
        let asleep = Duration::from_millis(30);
        let query = of(Phase::Query);
        let write = of(Phase::Write);
        Phase::Query.spend(|| Phase::Write.spend(|| std::thread::sleep(asleep)));
        assert!(of(Phase::Write) - write >= asleep);
        let items: Vec<u8> = Phase::Query
            .each([1, 2].into_iter().inspect(|_| std::thread::sleep(asleep)))
            .collect();
        assert_eq!(items, [1, 2]);
        assert!(of(Phase::Query) - query >= asleep * 2);
        assert!(CURRENT.get().is_none());
    }
}
