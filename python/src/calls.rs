//! Calls that take long: other threads of Python run meanwhile, and Ctrl-C ends them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use asof::interrupt::Cancellation;
use pyo3::prelude::*;

use crate::errors::raised;

/// How often it is looked whether somebody pressed Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);
/// How long a cancelled call may take to remove what it left.
const GRACE: Duration = Duration::from_secs(2);

/// Makes a call on a thread of its own, and waits for it without holding the interpreter.
///
/// If a signal handler of Python raises, as that of Ctrl-C does, the call is cancelled and the
/// exception returned: nothing is published after that, and what was staged is removed.
pub(crate) fn call<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> asof::Result<T> + Send + 'static,
) -> PyResult<T> {
    let cancellation = Cancellation::default();
    let of_call = cancellation.clone();
    let (done, ended) = sync_channel(1);
    let run = move || {
        let result = catch_unwind(AssertUnwindSafe(|| of_call.within(work)));
        // Nobody waits for a call that was cancelled long ago.
        let _ = done.send(result);
    };
    let thread = std::thread::Builder::new().name("asof".into()).spawn(run);
    thread.map_err(|error| {
        let what = format!("cannot start a thread: {error}");
        raised(py, &asof::Error::io(what))
    })?;
    let panicked = || raised(py, &asof::Error::internal("a thread of asof panicked"));
    // A receiver may move to another thread and not be shared by two.
    let ended = Mutex::new(ended);
    let wait = |longest: Duration| {
        py.detach(|| {
            let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.recv_timeout(longest)
        })
    };
    loop {
        match wait(SIGNALS) {
            Ok(Ok(result)) => return result.map_err(|error| raised(py, &error)),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(panicked()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(interrupted) = py.check_signals() {
            cancellation.cancel();
            let _ = wait(GRACE);
            return Err(interrupted);
        }
    }
}
