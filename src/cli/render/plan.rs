//! `plan`: what each date of a job reads and writes, for another engine.

use super::{MANY, Render};
use crate::cli::printer::{BOLD, DIM, Printer, RED, count, paint};
use crate::commands::backfill::{CopyPlan, DatePlan, EnginePlan, FilePlan, RelationFiles};
use crate::error::Result;

impl Render for EnginePlan {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        printer.line(format!("{}  {}", paint(BOLD, &self.job), self.output))?;
        for (table, rule) in &self.rules {
            printer.line(format!("  {table}: {rule}"))?;
        }
        let shown = if printer.verbose {
            self.dates.len()
        } else {
            MANY
        };
        for date in self.dates.iter().take(shown) {
            plan_of(printer, date)?;
        }
        let rest = self.dates.len().saturating_sub(shown) as u64;
        if rest > 0 {
            let rest = format!("  ... and {}; -v lists all", count(rest, "more date"));
            printer.line(paint(DIM, rest))?;
        }
        printer
            .line("  --json has every path, the columns of each table, and the query of each date")
    }
}

fn plan_of(printer: &Printer, date: &DatePlan) -> Result<()> {
    let state = match (&date.error, &date.state) {
        (Some(error), _) => format!("{}: {error}", paint(RED, "cannot be run")),
        (None, Some(state)) => state.name().replace('_', " "),
        (None, None) => String::new(),
    };
    printer.line(format!("  {}  {state}", date.date))?;
    for relation in &date.relations {
        printer.line(format!("    {}: {}", relation.name, reads(&relation.reads)))?;
    }
    Ok(())
}

fn reads(relation: &RelationFiles) -> String {
    match relation {
        RelationFiles::Events { format, files, .. } => format!("{format}, {}", paths(files)),
        RelationFiles::Table { copy, .. } => copy_of(copy),
        RelationFiles::Snapshots { copies, .. } => count(copies.len() as u64, "copy"),
        RelationFiles::Intervals {
            file,
            known_on,
            copies,
            ..
        } => match file {
            Some(file) => format!("{}, as known on {known_on}", file.path),
            None => format!("intervals of {}", count(copies.len() as u64, "copy")),
        },
    }
}

fn copy_of(copy: &CopyPlan) -> String {
    let files = paths(&copy.files);
    match &copy.condition {
        Some(condition) => format!("{files} where {condition}"),
        None => files,
    }
}

fn paths(files: &[FilePlan]) -> String {
    match files {
        [] => "no files".to_owned(),
        [file] => file.path.clone(),
        [first, rest @ ..] => {
            format!(
                "{} and {}",
                first.path,
                count(rest.len() as u64, "more file")
            )
        }
    }
}
