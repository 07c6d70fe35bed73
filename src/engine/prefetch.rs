//! Work that is done a little ahead of whoever needs its results, on threads of its own.
//!
//! [`OrderedPool`] takes tasks from an iterator, does a few of them at a time, and gives the
//! results in the order of the tasks. It never begins more than `most` tasks whose results have not
//! been taken, so what waits is bounded. When it is dropped, tasks that a thread is at are
//! finished, and no others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Error, Result};

/// A piece of work.
pub type Task<R> = Box<dyn FnOnce() -> Result<R> + Send>;

/// The results of tasks, in their order; see the module.
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
        let start = |number: usize| {
            let queue = queue.clone();
            let over = over.clone();
            let run = move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(work) = next else { return };
                    if !over.load(Ordering::Relaxed) {
                        work();
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("ahead-{number}"));
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
    fn results_come_in_order_and_no_more_is_begun_than_allowed() {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut ahead = OrderedPool::new(4, 3, tasks(&begun, 20)).expect("threads");
        for number in 0..20 {
            let result = ahead.next().expect("a result");
            assert!(begun.load(Ordering::SeqCst) <= number + 3);
            match result {
                Ok(given) => assert_eq!(given, number),
                Err(error) => assert_eq!((number, error.to_string()), (7, "seven".to_owned())),
            }
        }
        assert!(ahead.next().is_none());
    }

    #[test]
    fn what_nobody_takes_is_not_begun() {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut ahead = OrderedPool::new(2, 2, tasks(&begun, 20)).expect("threads");
        ahead.next();
        drop(ahead);
        assert!(begun.load(Ordering::SeqCst) <= 3);
    }
}
