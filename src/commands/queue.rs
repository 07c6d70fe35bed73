//! Work on several tables in parallel, with a limit on those that one database server is asked
//! about at a time.
//!
//! Tables are begun in order. As many are worked on at a time as there are processors, but at least
//! four and at most eight: to read is to wait.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Workspace;
use crate::parallel::processors;

/// The fewest and the most tables that are worked on at a time, if there are as many.
const PARALLEL: (usize, usize) = (4, 8);
/// How large the stack of a thread is: nested values and query plans are walked recursively.
pub(super) const STACK: usize = 16 << 20;

/// How many of a number of tables are worked on at a time.
pub(super) fn tables_at_a_time(tables: usize) -> usize {
    let (least, most) = PARALLEL;
    processors().clamp(least, most).min(tables.max(1))
}

/// Does the work for each table, by its number, on some threads. `servers` are the database servers
/// that tables are read from; `doing` is what the progress calls the work. Results are in the order
/// of the tables; there is none for a table whose thread panicked.
pub(super) fn for_each_table<R: Send>(
    workspace: &Workspace<'_>,
    doing: &str,
    servers: Vec<Option<String>>,
    threads: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<Option<R>> {
    let tables = servers.len();
    let results: Mutex<Vec<Option<R>>> = Mutex::new(servers.iter().map(|_| None).collect());
    let waiting = servers.into_iter().enumerate();
    let waiting = waiting.map(|(number, server)| QueuedTable { number, server });
    let queue = TableQueue::new(waiting.collect(), workspace.config.limits.connections());
    let work = || {
        while let Some(begun) = queue.begin() {
            let result = work(begun.table.number);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results[begun.table.number] = Some(result);
            let ended = results.iter().flatten().count();
            drop(results);
            workspace.progress.step(doing, ended as u64, tables as u64);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .filter_map(|number| {
                let thread = thread::Builder::new().name(format!("{doing}-{number}"));
                thread.stack_size(STACK).spawn_scoped(scope, work).ok()
            })
            .collect();
        // A thread that panicked leaves its table without a result.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the list of tables, and the database server that it is read from, if it is.
struct QueuedTable {
    /// Its number.
    number: usize,
    /// The server.
    server: Option<String>,
}

/// Tables that wait for a thread to take them.
struct TableQueue {
    state: Mutex<QueueState>,
    ended: Condvar,
    /// How many tables of one server are read at a time.
    connections: usize,
}

struct QueueState {
    waiting: Vec<QueuedTable>,
    /// How many tables of each server are being taken.
    busy: BTreeMap<String, usize>,
}

impl TableQueue {
    /// A queue of tables, with a limit for each server, which is at least 1.
    fn new(waiting: Vec<QueuedTable>, connections: usize) -> Self {
        TableQueue {
            state: Mutex::new(QueueState {
                waiting,
                busy: BTreeMap::new(),
            }),
            ended: Condvar::new(),
            connections: connections.max(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the first table whose server is asked about fewer tables than it may be; waits if
    /// there is none yet. Nothing if all tables have begun.
    fn begin(&self) -> Option<BegunTable<'_>> {
        let mut state = self.state();
        loop {
            if state.waiting.is_empty() {
                return None;
            }
            let is_free = |table: &QueuedTable| {
                let busy = table.server.as_ref().and_then(|on| state.busy.get(on));
                busy.is_none_or(|busy| *busy < self.connections)
            };
            if let Some(at) = state.waiting.iter().position(is_free) {
                let table = state.waiting.remove(at);
                if let Some(server) = &table.server {
                    *state.busy.entry(server.clone()).or_default() += 1;
                }
                return Some(BegunTable { queue: self, table });
            }
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A table that is being taken, until this value is dropped.
struct BegunTable<'a> {
    queue: &'a TableQueue,
    table: QueuedTable,
}

impl Drop for BegunTable<'_> {
    fn drop(&mut self) {
        if let Some(server) = &self.table.server {
            if let Some(busy) = self.queue.state().busy.get_mut(server) {
                *busy -= 1;
            }
            self.queue.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn queue(servers: &[Option<&str>], connections: usize) -> TableQueue {
        let tables = servers.iter().enumerate();
        let waiting = tables.map(|(number, server)| QueuedTable {
            number,
            server: server.map(str::to_owned),
        });
        TableQueue::new(waiting.collect(), connections)
    }

    #[test]
    fn tables_begin_in_order_and_pass_those_of_a_busy_server() {
        let queue = queue(&[Some("a"), Some("a"), Some("b"), None, Some("a")], 1);
        let next = || queue.begin().expect("a table");
        let first = next();
        let (second, third) = (next(), next());
        assert_eq!(
            [&first, &second, &third].map(|begun| begun.table.number),
            [0, 2, 3]
        );
        drop(first);
        let fourth = next();
        assert_eq!(fourth.table.number, 1);
        drop(fourth);
        assert_eq!(next().table.number, 4);
        assert!(queue.begin().is_none());
    }

    #[test]
    fn a_server_is_never_asked_about_more_tables_than_it_may_be() {
        let queue = queue(&[Some("a"); 12], 3);
        let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(begun) = queue.begin() {
                        let now = busy.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        busy.fetch_sub(1, Ordering::SeqCst);
                        drop(begun);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
