//! How a run ends that is interrupted: nothing half-written stays, and what was published is known.
//!
//! Whoever listens for signals, which only the program `asof` does, calls [`stop`], and then ends
//! the process. From the call on nothing is published any more. Programs that are running are asked
//! to end, and are killed [`GRACE`] later. Then temporary files and folders are removed.
//!
//! | what | is known by |
//! | --- | --- |
//! | temporary files and folders | [`temporary`] |
//! | folders that are made for an object | [`MadeFolder`] |
//! | programs of users' own | [`RunningProgram`] |
//! | what another machine does for this process | `RemoteWork` |
//! | what was published | [`published`] |
//!
//! Threads are not stopped: they go on until the process ends, and wait at the gate
//! ([`uninterrupted`]) if they come to it.
//!
//! A program that embeds asof, and goes on after an interruption, cancels one call instead
//! ([`Cancellation`]). That call then publishes nothing, and fails where it next looks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use chrono::NaiveDate;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Result};

/// How long publications and programs that have begun may take to end.
pub const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const STEP: Duration = Duration::from_millis(20);
/// How often the removal of a folder is tried.
const ATTEMPTS: usize = 50;

/// What there is of the process outside of itself.
struct Remains {
    paths: BTreeMap<PathBuf, Remnant>,
    /// The process groups of programs, by the process that leads each.
    programs: BTreeSet<i32>,
    /// What tells other machines to stop, by a number.
    #[cfg(feature = "spark")]
    elsewhere: BTreeMap<u64, Arc<dyn Fn() + Send + Sync>>,
    published: PublishedDates,
}

/// What was published: the dates, if it has dates, by the name of a table or a job.
pub type PublishedDates = BTreeMap<String, BTreeSet<NaiveDate>>;

/// What to do with a path.
#[derive(Clone, Copy)]
enum Remnant {
    File,
    Folder,
    /// A folder that stays if somebody has put something there.
    EmptyFolder,
}

static REMAINS: Mutex<Remains> = Mutex::new(Remains {
    paths: BTreeMap::new(),
    programs: BTreeSet::new(),
    #[cfg(feature = "spark")]
    elsewhere: BTreeMap::new(),
    published: BTreeMap::new(),
});
/// Held for reading by what must not be interrupted, and for writing, and for good, by [`stop`].
static GATE: RwLock<()> = RwLock::new(());
static STOPPING: AtomicBool = AtomicBool::new(false);

fn remains() -> MutexGuard<'static, Remains> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the process is about to end.
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

/// Waits for the end of the process, if it is about to end.
pub fn wait_if_stopping() {
    while is_stopping() {
        std::thread::park();
    }
}

/// The end of one call before it is done, for a program that goes on. Clones share it.
///
/// The thread that makes the call, and those that it starts by [`crate::parallel`], look at it
/// before they publish something and with each batch of rows that they read.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

thread_local! {
    /// The cancellation of the call that this thread works on.
    static CANCELLATION: RefCell<Option<Cancellation>> = const { RefCell::new(None) };
}

impl Cancellation {
    /// Ends the call.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Makes the call on this thread.
    pub fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        let outer = CANCELLATION.replace(Some(self.clone()));
        let ended = call();
        CANCELLATION.set(outer);
        ended
    }

    /// The cancellation of the call that this thread works on.
    pub fn current() -> Option<Self> {
        CANCELLATION.with_borrow(Option::clone)
    }
}

/// Fails if the call that this thread works on was cancelled.
///
/// # Errors
/// A failure that says so.
pub fn check_cancelled() -> Result<()> {
    let is_cancelled = |cancellation: &Option<Cancellation>| {
        let cancellation = cancellation.as_ref();
        cancellation.is_some_and(|cancellation| cancellation.0.load(Ordering::SeqCst))
    };
    match CANCELLATION.with_borrow(is_cancelled) {
        true => Err(Error::io("interrupted; nothing was published")),
        false => Ok(()),
    }
}

/// Publishes something whole or not at all, unless the call was cancelled.
///
/// # Errors
/// Those of the publication.
pub fn publication<T>(publish: impl FnOnce() -> Result<T>) -> Result<T> {
    check_cancelled()?;
    uninterrupted(publish)
}

/// Does what must be done whole or not at all. It does not begin if the process is about to end.
pub fn uninterrupted<T>(work: impl FnOnce() -> T) -> T {
    let _gate = GATE.read().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Notes that an object of a table or a job was published, and its date if it has one. What was
/// written below a temporary folder was not published.
pub fn published(name: &str, date: Option<NaiveDate>, path: Option<&Path>) {
    let mut remains = remains();
    let is_temporary = |path: &Path| {
        let mut folders = path.ancestors();
        folders.any(|folder| matches!(remains.paths.get(folder), Some(Remnant::Folder)))
    };
    if path.is_some_and(is_temporary) {
        return;
    }
    let dates = remains.published.entry(name.to_owned()).or_default();
    dates.extend(date);
}

/// A temporary file or folder, which is also removed if the process is interrupted.
#[derive(Debug)]
pub struct Temporary<T> {
    inner: T,
    registration: Registration,
}

/// Makes a temporary file or folder.
///
/// # Errors
/// The failure to make it.
pub fn temporary<T: AsRef<Path>>(make: impl FnOnce() -> io::Result<T>) -> io::Result<Temporary<T>> {
    uninterrupted(|| {
        let inner = make()?;
        let path = inner.as_ref();
        let remnant = if path.is_dir() {
            Remnant::Folder
        } else {
            Remnant::File
        };
        let registration = Registration::of(path, remnant);
        Ok(Temporary {
            inner,
            registration,
        })
    })
}

impl<T> Temporary<T> {
    /// The same file in another form, such as its path without a handle.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Temporary<U> {
        Temporary {
            inner: change(self.inner),
            registration: self.registration,
        }
    }

    /// Gives the file a name of its own, under which it stays.
    pub fn keep<U>(self, persist: impl FnOnce(T) -> U) -> U {
        uninterrupted(|| self.map(persist).inner)
    }
}

impl<T> Deref for Temporary<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

/// A folder that is made for an object, and is removed again if none comes to stand there.
#[derive(Debug)]
pub struct MadeFolder(Registration);

impl MadeFolder {
    /// Makes a folder and those above it, and returns the ones that were not there, from the top.
    ///
    /// # Errors
    /// The failure to make them.
    pub fn make_all(folder: &Path) -> io::Result<Vec<Self>> {
        uninterrupted(|| {
            let lacking: Vec<&Path> = folder
                .ancestors()
                .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
                .collect();
            std::fs::create_dir_all(folder)?;
            let made = lacking.into_iter().rev();
            Ok(made
                .map(|path| MadeFolder(Registration::of(path, Remnant::EmptyFolder)))
                .collect())
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// A path that is to be removed if the process is interrupted while this value lives.
#[derive(Debug)]
struct Registration {
    path: PathBuf,
}

impl Registration {
    fn of(path: &Path, remnant: Remnant) -> Self {
        remains().paths.insert(path.to_owned(), remnant);
        Registration {
            path: path.to_owned(),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        remains().paths.remove(&self.path);
    }
}

/// A program that runs in a process group of its own, until this value is dropped.
pub struct RunningProgram {
    process: i32,
}

impl RunningProgram {
    /// A program that was started, by the process that leads its group.
    pub fn of(process: i32) -> Self {
        remains().programs.insert(process);
        let program = RunningProgram { process };
        if is_stopping() {
            program.signal(Signal::TERM);
        }
        program
    }

    /// Sends a signal to all processes of the group.
    pub fn signal(&self, signal: Signal) {
        kill_group(self.process, signal);
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        remains().programs.remove(&self.process);
    }
}

fn kill_group(process: i32, signal: Signal) {
    if let Some(process) = Pid::from_raw(process) {
        let _ = kill_process_group(process, signal);
    }
}

/// Work on another machine, which is told to stop if the process is interrupted while this value
/// lives.
#[cfg(feature = "spark")]
pub struct RemoteWork {
    number: u64,
}

#[cfg(feature = "spark")]
impl RemoteWork {
    /// Work that `stop` tells to stop, within seconds.
    pub fn of(stop: impl Fn() + Send + Sync + 'static) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        remains().elsewhere.insert(number, Arc::new(stop));
        RemoteWork { number }
    }

    /// Tells all work to stop, and does not wait for it.
    fn stop_all() -> Vec<std::thread::JoinHandle<()>> {
        let works: Vec<_> = remains().elsewhere.values().cloned().collect();
        let stop = |work: Arc<dyn Fn() + Send + Sync>| std::thread::spawn(move || work());
        works.into_iter().map(stop).collect()
    }
}

#[cfg(feature = "spark")]
impl Drop for RemoteWork {
    fn drop(&mut self) {
        remains().elsewhere.remove(&self.number);
    }
}

/// Stops publishing, ends programs, removes what is temporary, and returns what was published.
/// Nothing can be published any more; the caller ends the process.
pub fn stop() -> PublishedDates {
    STOPPING.store(true, Ordering::SeqCst);
    let programs = remains().programs.clone();
    for process in programs {
        kill_group(process, Signal::TERM);
    }
    #[cfg(feature = "spark")]
    let elsewhere = RemoteWork::stop_all();
    #[cfg(not(feature = "spark"))]
    let elsewhere: [std::thread::JoinHandle<()>; 0] = [];
    let mut gate_is_closed = false;
    for _ in 0..GRACE.as_millis() / STEP.as_millis() {
        gate_is_closed = gate_is_closed || close_gate();
        let is_told = elsewhere.iter().all(|told| told.is_finished());
        if gate_is_closed && is_told && remains().programs.is_empty() {
            break;
        }
        std::thread::sleep(STEP);
    }
    let mut remains = remains();
    for process in &remains.programs {
        kill_group(*process, Signal::KILL);
    }
    // What lies in a folder comes after it, and goes first.
    for (path, remnant) in remains.paths.iter().rev() {
        let _ = match remnant {
            Remnant::File => std::fs::remove_file(path),
            Remnant::Folder => remove_folder(path),
            Remnant::EmptyFolder => std::fs::remove_dir(path),
        };
    }
    std::mem::take(&mut remains.published)
}

/// Removes a folder into which threads may still be writing.
fn remove_folder(path: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(STEP);
            }
            ended => return ended,
        }
    }
    std::fs::remove_dir_all(path)
}

/// Closes the gate for good, unless somebody is in it.
fn close_gate() -> bool {
    let guard = match GATE.try_write() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    std::mem::forget(guard);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::{each, map};

    #[test]
    fn a_call_that_is_cancelled_publishes_nothing_on_any_of_its_threads() {
        let cancellation = Cancellation::default();
        let publish = || publication(|| Ok("published"));
        cancellation.within(|| assert_eq!(publish().expect("not cancelled"), "published"));
        cancellation.cancel();
        cancellation.within(|| {
            assert!(publish().is_err());
            let on_threads = map(2, &[1, 2, 3], |_| publish().is_err());
            assert_eq!(on_threads, [true; 3]);
            let taken = each((0..3).map(Ok), |_| publication(|| Ok(()))).expect("threads");
            assert!(taken.collect::<Vec<_>>().iter().all(Result::is_err));
        });
        // The thread itself goes on with other calls.
        assert!(publish().is_ok());
    }
}
