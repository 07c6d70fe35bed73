//! Work on many things at a time, on plain threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::storage::lake::location::Location;

/// How many threads do work on this machine.
const READERS: usize = 8;
/// How many threads wait for an object store.
const WAITING: usize = 16;

/// How many things below `root` are looked at side by side: on a disk as many as there are
/// processors, in a store, where looking is waiting, more.
pub(super) fn threads(root: &Location) -> usize {
    match root.store() {
        Some(_) => WAITING,
        None => processors(),
    }
}

/// How many things are read side by side.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(READERS)
}

/// Does the work for each item on some threads; results are in the order of the items.
pub(super) fn side_by_side<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut mine = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return mine;
            };
            mine.push((at, work(item)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.min(items.len()))
            .map(|_| scope.spawn(run))
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
