//! Threads: how many there are for which work, and the ways in which work is divided.
//!
//! | work | function |
//! | --- | --- |
//! | the same for each item of a slice, all results wanted | [`map`] |
//! | the same for each item of a stream, results wanted one by one, in order | [`each`] |
//! | tasks whose results are taken one by one, in order, a few ahead of whoever takes them | [`OrderedPool`] |
//!
//! | threads | function |
//! | --- | --- |
//! | one a processor | [`processors`] |
//! | that hold batches of a table each | [`decoding_threads`] |
//! | that read whole objects, from a disk or a store | [`object_threads`] |
//! | that read footers and other small things | [`footer_threads`] |

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::interrupt::Cancellation;

/// The most threads that hold batches of a table.
const DECODING: usize = 8;
/// How many threads wait for an object store.
const WAITING: usize = 16;

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many threads decode tables at a time; each holds batches, so memory limits them.
pub fn decoding_threads() -> usize {
    processors().min(DECODING)
}

/// How many threads read whole objects at a time: from a store, where reading is waiting, more
/// than from a disk.
pub fn object_threads(is_store: bool) -> usize {
    if is_store {
        WAITING
    } else {
        decoding_threads()
    }
}

/// How many threads read footers and other small things at a time.
pub fn footer_threads(is_store: bool) -> usize {
    if is_store {
        processors().max(WAITING)
    } else {
        processors()
    }
}

/// Does the work for each item on some threads; results are in the order of the items.
pub fn map<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut mine = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return mine;
            };
            mine.push((at, work(item)));
        }
    };
    let cancellation = Cancellation::current();
    let run = || match &cancellation {
        Some(cancellation) => cancellation.within(take),
        None => take(),
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

/// A piece of work for an [`OrderedPool`].
pub type Task<R> = Box<dyn FnOnce() -> Result<R> + Send>;

/// The results of tasks, in their order, prefetched on threads of the pool's own.
///
/// The pool takes tasks from an iterator and does a few of them at a time. It never begins more
/// than `most` tasks whose results have not been taken, so what waits is bounded. When it is
/// dropped, tasks that a thread is at are finished, and no others.
pub struct OrderedPool<R, I> {
    tasks: I,
    most: usize,
    waiting: VecDeque<Receiver<Result<R>>>,
    /// Nobody wants results any more.
    over: Arc<AtomicBool>,
    /// Where the threads take their work from; gone when there is to be no more.
    work: Option<Sender<Box<dyn FnOnce() + Send>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<R: Send + 'static, I: Iterator<Item = Task<R>>> OrderedPool<R, I> {
    /// Results of `tasks` by a number of threads, which have up to `most` tasks begun or done and
    /// not taken.
    ///
    /// # Errors
    /// A failure to start a thread.
    pub fn new(
        threads: usize,
        most: usize,
        tasks: impl IntoIterator<IntoIter = I>,
    ) -> Result<Self> {
        let (work, queue) = channel::<Box<dyn FnOnce() + Send>>();
        let queue = Arc::new(Mutex::new(queue));
        let over = Arc::new(AtomicBool::new(false));
        let cancellation = Cancellation::current();
        let start = |number: usize| {
            let queue = queue.clone();
            let over = over.clone();
            let take = move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(work) = next else { return };
                    if !over.load(Ordering::Relaxed) {
                        work();
                    }
                }
            };
            let cancellation = cancellation.clone();
            let run = move || match cancellation {
                Some(cancellation) => cancellation.within(take),
                None => take(),
            };
            let thread = std::thread::Builder::new().name(format!("prefetch-{number}"));
            thread
                .spawn(run)
                .map_err(|error| Error::io(format!("cannot start a thread: {error}")))
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<Vec<_>>>()?;
        Ok(OrderedPool {
            tasks: tasks.into_iter(),
            most: most.max(1),
            waiting: VecDeque::new(),
            over,
            work: Some(work),
            threads,
        })
    }

    fn fill(&mut self) {
        while self.waiting.len() < self.most {
            let (Some(task), Some(work)) = (self.tasks.next(), &self.work) else {
                return;
            };
            let (done, result) = sync_channel(1);
            // Whoever waited may be gone, and the threads, if one of them panicked: taking the
            // result tells.
            let _ = work.send(Box::new(move || drop(done.send(task()))));
            self.waiting.push_back(result);
        }
    }
}

impl<R: Send + 'static, I: Iterator<Item = Task<R>>> Iterator for OrderedPool<R, I> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        self.fill();
        let result = self.waiting.pop_front()?;
        Some(
            result
                .recv()
                .unwrap_or_else(|_| Err(Error::internal("a thread of asof panicked"))),
        )
    }
}

impl<R, I> Drop for OrderedPool<R, I> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.waiting.clear();
        self.work = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Does the work for each item of a stream on all processors; results are in the order of the
/// items, and at most a few wait.
///
/// # Errors
/// A failure to start a thread.
pub fn each<T: Send + 'static, R: Send + 'static>(
    items: impl Iterator<Item = Result<T>>,
    work: impl Fn(T) -> Result<R> + Send + Sync + 'static,
) -> Result<impl Iterator<Item = Result<R>>> {
    let work = Arc::new(work);
    let tasks = items.map(move |item| -> Task<R> {
        let work = work.clone();
        Box::new(move || work(item?))
    });
    let threads = processors();
    OrderedPool::new(threads, threads + 2, tasks)
}

/// The items of lists, one by one, and the errors between them.
pub fn flatten<T>(lists: impl Iterator<Item = Result<Vec<T>>>) -> impl Iterator<Item = Result<T>> {
    lists.flat_map(|list| {
        let (items, error) = match list {
            Ok(items) => (items, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        items.into_iter().map(Ok).chain(error)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn tasks(begun: &Arc<AtomicUsize>, count: usize) -> Vec<Task<usize>> {
        let task = |number: usize| -> Task<usize> {
            let begun = begun.clone();
            Box::new(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                // Later ones are done sooner.
                std::thread::sleep(std::time::Duration::from_millis(
                    if number.is_multiple_of(2) { 3 } else { 0 },
                ));
                if number == 7 {
                    Err(Error::io("seven"))
                } else {
                    Ok(number)
                }
            })
        };
        (0..count).map(task).collect()
    }

    #[test]
    fn results_of_a_map_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..50).collect();
        let work = |item: &usize| {
            std::thread::sleep(std::time::Duration::from_micros(50 - *item as u64));
            item * 2
        };
        for threads in [0, 1, 3, 80] {
            let expected: Vec<usize> = match threads {
                0 => Vec::new(),
                _ => items.iter().map(|item| item * 2).collect(),
            };
            assert_eq!(map(threads, &items, work), expected, "{threads} threads");
        }
    }

    #[test]
    fn results_come_in_order_and_no_more_is_begun_than_allowed() {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut pool = OrderedPool::new(4, 3, tasks(&begun, 20)).expect("threads");
        for number in 0..20 {
            let result = pool.next().expect("a result");
            assert!(begun.load(Ordering::SeqCst) <= number + 3);
            match result {
                Ok(given) => assert_eq!(given, number),
                Err(error) => assert_eq!((number, error.to_string()), (7, "seven".to_owned())),
            }
        }
        assert!(pool.next().is_none());
    }

    #[test]
    fn what_nobody_takes_is_not_begun() {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut pool = OrderedPool::new(2, 2, tasks(&begun, 20)).expect("threads");
        pool.next();
        drop(pool);
        assert!(begun.load(Ordering::SeqCst) <= 3);
    }
}
