//! The log: events of `tracing` on standard error, as text or as JSON.
//!
//! | asked with | logged |
//! | --- | --- |
//! | nothing | nothing |
//! | `-v` | what a user may want to know of a run: leftovers removed, build sides divided |
//! | `-vv` | also what asof passes over or tries again: hints it cannot read, busy stores, lost replies |
//! | `ASOF_LOG` | what its filter says, such as `asof=debug` or `asof::storage=debug,object_store=info` |
//!
//! With `--log-format json` notes, errors and progress are events, too, so that each line of
//! standard error is one JSON object. No filter takes those away.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use anstream::ColorChoice;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

use super::args::{Global, LogFormat};
use super::bars::Bars;
use crate::error::{Error, Result};
use crate::secret::concealed;

/// The environment variable with the filter.
const FILTER: &str = "ASOF_LOG";

/// Where messages of the printer come from, as events.
pub(super) const PRINTED: &str = "asof::printed";

/// Starts the log of this process. A second run in the same process keeps the log of the first.
///
/// # Errors
/// A usage error for a filter that cannot be read.
pub(super) fn start(global: &Global, choice: ColorChoice, bars: Option<Arc<Bars>>) -> Result<()> {
    let asked = std::env::var(FILTER).unwrap_or_default();
    let json = global.log_format == LogFormat::Json;
    if asked.is_empty() && global.verbose == 0 && !json {
        return Ok(());
    }
    let level = match global.verbose {
        _ if global.quiet => "off",
        0 => "off",
        1 => "asof=info",
        _ => "asof=debug",
    };
    let filter = if asked.is_empty() { level } else { &asked };
    let filter: Targets = filter.parse().map_err(|error| {
        Error::usage(format!("{FILTER}='{asked}' is not a filter: {error}"))
            .hint(format!("{FILTER}=asof=debug"))
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(AboveBars { bars });
    let lines = match global.log_format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_filter(filter.with_target(PRINTED, Level::INFO))
            .boxed(),
        LogFormat::Text => lines
            .compact()
            .without_time()
            .with_ansi(has_color(choice))
            .with_filter(filter)
            .boxed(),
    };
    // A log that stands already is that of this process: `asof demo` runs commands.
    let _ = registry().with(lines).try_init();
    Ok(())
}

fn has_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Auto => io::stderr().is_terminal(),
        ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
        ColorChoice::Never => false,
    }
}

/// Writes lines to standard error, above the progress bars if there are any.
struct AboveBars {
    bars: Option<Arc<Bars>>,
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = &'a AboveBars;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &AboveBars {
    // An event is written whole. What libraries log may hold a secret.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = concealed(&String::from_utf8_lossy(line));
        let print = || io::stderr().write_all(shown.as_bytes());
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
