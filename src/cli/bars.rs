//! Progress on a terminal: a bar for the whole command, and above it a line for each part that is
//! at work, such as a table.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often lines are drawn, in times a second.
const HERTZ: u8 = 10;

/// The bar of the command and the lines of its parts.
pub(super) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    /// In the order of their names, from the top.
    parts: Mutex<BTreeMap<String, ProgressBar>>,
    /// Whether they were taken away: threads of an interrupted run go on for a moment.
    is_over: AtomicBool,
}

impl Bars {
    /// Bars on standard error.
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(HERTZ));
        let bar = ProgressBar::no_length().with_style(style("{msg} {wide_bar} {pos}/{len}"));
        Bars {
            whole: all.add(bar),
            all,
            parts: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    /// Shows how much of the command is done.
    pub(super) fn step(&self, what: String, done: u64, total: u64) {
        if self.is_over.load(Ordering::SeqCst) {
            return;
        }
        self.whole.set_length(total);
        self.whole.set_position(done);
        self.whole.set_message(what);
    }

    /// Shows what a part is at; takes its line away if it has ended.
    pub(super) fn part(&self, name: &str, doing: Option<&str>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_over.load(Ordering::SeqCst) {
            return;
        }
        let Some(doing) = doing else {
            if let Some(line) = parts.remove(name) {
                line.finish_and_clear();
                self.all.remove(&line);
            }
            return;
        };
        if !parts.contains_key(name) {
            let next = parts.range(name.to_owned()..).next();
            let below = next.map_or(&self.whole, |(_, line)| line);
            let line = ProgressBar::no_length().with_style(style("  {msg}"));
            let line = self.all.insert_before(below, line);
            parts.insert(name.to_owned(), line);
        }
        if let Some(line) = parts.get(name) {
            line.set_message(format!("{name}  {doing}"));
        }
    }

    /// Prints something above the bars.
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.all.suspend(print)
    }

    /// Takes the bars away for good.
    pub(super) fn clear(&self) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_over.store(true, Ordering::SeqCst);
        let lines = std::mem::take(&mut *parts).into_values();
        lines.for_each(|line| line.finish_and_clear());
        self.whole.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
