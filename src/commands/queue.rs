//! The order in which tables are begun, with a limit on those that one database server is asked
//! about at a time.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A place in the list of tables, and the database server that it is read from, if it is.
pub(in crate::commands) struct QueuedTable {
    /// Its number.
    pub(in crate::commands) number: usize,
    /// The server.
    pub(in crate::commands) server: Option<String>,
}

/// Tables that wait for a thread to take them.
pub(in crate::commands) struct TableQueue {
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
    pub(in crate::commands) fn new(waiting: Vec<QueuedTable>, connections: usize) -> Self {
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
    pub(in crate::commands) fn begin(&self) -> Option<BegunTable<'_>> {
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
pub(in crate::commands) struct BegunTable<'a> {
    queue: &'a TableQueue,
    table: QueuedTable,
}

impl BegunTable<'_> {
    /// The number of the table.
    pub(in crate::commands) fn number(&self) -> usize {
        self.table.number
    }
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
        assert_eq!([&first, &second, &third].map(BegunTable::number), [0, 2, 3]);
        drop(first);
        let fourth = next();
        assert_eq!(fourth.number(), 1);
        drop(fourth);
        assert_eq!(next().number(), 4);
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
