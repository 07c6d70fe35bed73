//! `init`: the file that was written.

use serde::Serialize;

use super::Render;
use crate::cli::printer::Printer;
use crate::error::Result;

/// What `asof init` wrote.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct InitReport {
    /// The path of the new configuration.
    pub(in crate::cli) written: String,
}

impl Render for InitReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        printer.line(format!(
            "wrote {}; edit it, then: asof snapshot",
            self.written
        ))
    }
}
