//! `init`: the files that were written.

use super::Render;
use crate::cli::printer::Printer;
use crate::commands::init::{InitReport, SCHEMA_LINE};
use crate::error::Result;

impl Render for InitReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        if let Some(schema) = &self.schema {
            printer.line(format!("wrote {schema}"))?;
        }
        match &self.written {
            Some(written) => printer.line(format!("wrote {written}; edit it, then: asof snapshot")),
            None if self.names_schema => Ok(()),
            None => printer.line(format!(
                "put this line at the top of asof.toml: {SCHEMA_LINE}"
            )),
        }
    }
}
