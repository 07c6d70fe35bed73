//! Where words go: data to standard output, everything else to standard error.
//!
//! One [`Printer`] owns quiet, verbose, colour and progress. Messages read the same without colour.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use tracing::{error, info, warn};

use super::args::{Color, Global, LogFormat};
use super::bars::Bars;
use super::log::{self, PRINTED};
use super::pager::Pager;
use crate::clock::Stopwatch;
use crate::commands::{PartState, Progress};
use crate::error::{Error, Result};
use crate::phases;
use crate::secret::concealed;
use crate::storage::object_store::http::{RequestCounts, Requests};

/// Bold.
pub(super) const BOLD: Style = Style::new().bold();
/// Less important.
pub(super) const DIM: Style = Style::new().dimmed();
/// Good.
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
/// Bad.
pub(super) const RED: Style = AnsiColor::Red.on_default();
/// To be looked at.
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Prints for one run of the program.
pub(super) struct Printer {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    log_format: LogFormat,
    choice: ColorChoice,
    bars: Option<Arc<Bars>>,
    /// What each part was last told to be at, where there are no bars.
    doing: Mutex<BTreeMap<String, &'static str>>,
    /// What object stores are asked, once a command can ask them.
    asked: OnceLock<Arc<Requests>>,
    started: Stopwatch,
    out: Mutex<Box<dyn Write + Send>>,
    /// Whether long results may go to a pager.
    may_page: bool,
    is_paging: AtomicBool,
}

impl Printer {
    pub(super) fn new(global: &Global) -> Self {
        let choice = match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let shows_progress = !global.no_progress
            && !global.quiet
            && !global.json
            && global.log_format == LogFormat::Text
            && io::stderr().is_terminal();
        let out: Box<dyn Write + Send> = Box::new(AutoStream::new(io::stdout(), choice));
        Printer {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            log_format: global.log_format,
            choice,
            bars: shows_progress.then(|| Arc::new(Bars::new())),
            doing: Mutex::default(),
            asked: OnceLock::new(),
            started: Stopwatch::start(),
            out: Mutex::new(out),
            may_page: !global.no_pager && !global.json,
            is_paging: AtomicBool::new(false),
        }
    }

    /// Prints something long: on a terminal, into a pager, which is waited for.
    pub(super) fn paged(&self, print: impl FnOnce() -> Result<()>) -> Result<()> {
        let pager = self.may_page.then(Pager::start).flatten();
        let Some((pager, input)) = pager else {
            return print();
        };
        // Whether there are colours depends on the terminal, which the pager writes to.
        let choice = match self.choice {
            ColorChoice::Auto => AutoStream::choice(&io::stdout()),
            choice => choice,
        };
        let exchange = |stream: Box<dyn Write + Send>| {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *out, stream)
        };
        let input: Box<dyn Write + Send> = Box::new(io::BufWriter::new(input));
        self.is_paging.store(true, Ordering::Relaxed);
        let terminal = exchange(Box::new(AutoStream::new(input, choice)));
        let printed = print();
        // The pager shows the end only once its input is closed.
        drop(exchange(terminal));
        pager.wait();
        self.is_paging.store(false, Ordering::Relaxed);
        printed
    }

    /// Whether a pager has the terminal, so that an interrupt is meant for it.
    pub(super) fn is_paging(&self) -> bool {
        self.is_paging.load(Ordering::Relaxed)
    }

    /// Starts the log, which is printed above the progress bars.
    pub(super) fn start_log(&self, global: &Global) -> Result<()> {
        log::start(global, self.choice, self.bars.clone())
    }

    /// A line of the result.
    pub(super) fn line(&self, text: impl AsRef<str>) -> Result<()> {
        let Ok(mut out) = self.out.lock() else {
            return Ok(());
        };
        finish_write(writeln!(out, "{}", text.as_ref()))
    }

    /// A result as a JSON document. What object stores were asked is added to it, as
    /// `store_requests`, unless it is a list, whose parts say it of themselves.
    pub(super) fn document(&self, document: &(impl Serialize + ?Sized)) -> Result<()> {
        let wrong = |error: serde_json::Error| Error::io(format!("cannot write JSON: {error}"));
        let mut value = serde_json::to_value(document).map_err(wrong)?;
        if let (Some(object), Some(asked)) = (value.as_object_mut(), self.asked()) {
            object.insert(
                "store_requests".to_owned(),
                serde_json::to_value(asked).map_err(wrong)?,
            );
        }
        self.line(serde_json::to_string_pretty(&value).map_err(wrong)?)
    }

    /// Says whose requests are counted.
    pub(super) fn count(&self, requests: Arc<Requests>) {
        let _ = self.asked.set(requests);
    }

    fn asked(&self) -> Option<RequestCounts> {
        self.asked.get()?.counts().since(&RequestCounts::default())
    }

    /// Tells, if asked to say more, what object stores were asked.
    pub(super) fn requests(&self) {
        let Some(asked) = self.asked().filter(|_| self.verbose && !self.quiet) else {
            return;
        };
        let verbs: Vec<String> = asked
            .by_verb()
            .into_iter()
            .map(|(verb, times)| format!("{} {verb}", number(times)))
            .collect();
        let received = size(asked.bytes_received);
        let sent = size(asked.bytes_sent);
        let text = format!(
            "{}: {}; {received} received, {sent} sent",
            count(asked.total(), "request"),
            verbs.join(", ")
        );
        self.detail(&text);
    }

    /// Tells, if asked to say more, how the time divides.
    pub(super) fn phases(&self) {
        let spent = phases::spent();
        if spent.is_empty() || !self.verbose || self.quiet {
            return;
        }
        let sum: Duration = spent.iter().map(|(_, time)| *time).sum();
        let shares: Vec<String> = spent
            .iter()
            .map(|(phase, time)| {
                format!(
                    "{} {} ({:.0} %)",
                    phase.name(),
                    duration(*time),
                    100.0 * time.as_secs_f64() / sum.as_secs_f64()
                )
            })
            .collect();
        let text = format!(
            "took {}; over all threads {}",
            duration(self.started.elapsed()),
            shares.join(", ")
        );
        self.detail(&text);
    }

    /// Raw bytes of the result.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        finish_write(io::stdout().write_all(bytes))
    }

    /// What only `-v` asks for.
    fn detail(&self, text: &str) {
        match self.log_format {
            LogFormat::Json => info!(target: PRINTED, "{text}"),
            LogFormat::Text => self.aside(&paint(DIM, text)),
        }
    }

    fn aside(&self, text: &str) {
        let text = concealed(text);
        let print = || {
            let mut err = AutoStream::new(io::stderr(), self.choice);
            let _ = writeln!(err, "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Tells a failure and what to try.
    pub(super) fn error(&self, error: &Error) {
        self.clear();
        match self.log_format {
            LogFormat::Json => error!(
                target: PRINTED,
                kind = error.kind().name(),
                exit_code = error.kind().exit_code(),
                hints = error.hints().join("\n"),
                "{error}"
            ),
            LogFormat::Text => {
                self.aside(&format!("{}: {error}", paint(RED.bold(), "error")));
                self.hints(error.hints());
            }
        }
    }

    /// Tells that the run was interrupted, and what it has published.
    pub(super) fn interrupted(&self, message: &str, exit_code: i32) {
        self.clear();
        match self.log_format {
            LogFormat::Json => {
                error!(target: PRINTED, kind = "interrupted", exit_code, "{message}");
            }
            LogFormat::Text => self.aside(&format!("{}: {message}", paint(RED.bold(), "error"))),
        }
    }

    /// Tells what to try.
    pub(super) fn hints(&self, hints: &[String]) {
        for hint in hints {
            match self.log_format {
                LogFormat::Json => warn!(target: PRINTED, hint, "a hint for the failures above"),
                LogFormat::Text => self.aside(&format!("  {}: {hint}", paint(BOLD, "hint"))),
            }
        }
    }

    /// Takes the progress bars away.
    pub(super) fn clear(&self) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }
}

impl Progress for Printer {
    fn step(&self, what: &str, done: u64, total: u64) {
        if let Some(bars) = &self.bars {
            bars.step(concealed(what), done, total);
        } else if self.verbose && !self.quiet {
            self.detail(&format!("{what}: {done} of {total}"));
        }
    }

    fn note(&self, text: &str) {
        match self.log_format {
            _ if self.quiet => {}
            LogFormat::Json => warn!(target: PRINTED, "{text}"),
            LogFormat::Text => self.aside(&format!("{}: {text}", paint(YELLOW, "note"))),
        }
    }

    fn part(&self, name: &str, state: PartState) {
        if let Some(bars) = &self.bars {
            bars.part(name, in_words(state).as_deref());
        } else if self.verbose && !self.quiet {
            let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
            let before = doing.get(name).copied();
            match verb(state) {
                None => drop(doing.remove(name)),
                Some(now) if before == Some(now) => {}
                Some(now) => {
                    doing.insert(name.to_owned(), now);
                    self.detail(&format!("{name}: {now}"));
                }
            }
        }
    }
}

/// What a part is at, in words; nothing if it has ended.
fn in_words(state: PartState) -> Option<String> {
    let doing = verb(state)?;
    Some(match state {
        PartState::Reading(rows) | PartState::Writing(rows) if rows > 0 => {
            format!("{doing}  {}", count(rows, "row"))
        }
        _ => doing.to_owned(),
    })
}

/// What a part is doing; nothing if it has ended.
fn verb(state: PartState) -> Option<&'static str> {
    match state {
        PartState::Reading(_) => Some("reading"),
        PartState::Writing(_) => Some("writing"),
        PartState::Ended => None,
    }
}

/// A reader that has gone away is not a failure.
fn finish_write(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Text in a style.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A number with its thousands apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and the noun that goes with it.
pub(super) fn count(value: u64, noun: &str) -> String {
    let plural = match noun {
        _ if value == 1 => noun.to_owned(),
        "copy" => "copies".to_owned(),
        other => format!("{other}s"),
    };
    format!("{} {plural}", number(value))
}

/// A size as people read it.
pub(super) fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled(1_000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled(1_000_000)),
        _ => format!("{:.2} GB", scaled(1_000_000_000)),
    }
}

/// A time as people read it.
pub(super) fn duration(time: std::time::Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1_000.0),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Rows in aligned columns; the columns numbered in `right` hold numbers.
pub(super) fn columns(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header);
    }
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sizes_and_nouns_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(number),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [999, 1_500, 2_000_000, 3_140_000_000].map(size),
            ["999 B", "1.5 kB", "2.0 MB", "3.14 GB"]
        );
        assert_eq!(
            (count(1, "row"), count(2, "row"), count(0, "copy")),
            ("1 row".into(), "2 rows".into(), "0 copies".into())
        );
    }

    #[test]
    fn columns_are_aligned_and_lines_end_with_text() {
        let text = columns(
            &["name", "n"],
            vec![
                vec!["a".into(), "10".into()],
                vec!["long".into(), "5".into()],
            ],
            &[1],
        );
        assert_eq!(text, "name   n\na     10\nlong   5");
    }
}
