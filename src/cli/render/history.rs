//! `history`: a line for each interval of a key, and for each time that it was gone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Days;

use super::diff::changes;
use super::show::value;
use super::{Render, selected};
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, count, paint};
use crate::commands::ColumnChange;
use crate::commands::history::{Event, HistoryInterval, HistoryReport};
use crate::error::Result;

impl Render for HistoryReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;
    const IS_PAGED: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let key: Vec<String> = self
            .key
            .iter()
            .map(|part| format!("{} {}", part.name, part.value))
            .collect();
        printer.line(format!(
            "{} {}: {} in snapshots of {} to {}",
            paint(BOLD, &self.table),
            paint(BOLD, key.join(", ")),
            count(self.intervals.len() as u64, "interval"),
            self.first_observed,
            self.last_observed
        ))?;
        if let Some(selected) = selected(self.selected_rows.as_deref(), &self.select) {
            printer.line(format!("  of {selected}"))?;
        }
        let mut rows = Vec::new();
        let mut values: Values = BTreeMap::new();
        for interval in &self.intervals {
            rows.push(interval_row(interval, &mut values));
            let gone = interval.end.and_then(|end| {
                self.absent
                    .iter()
                    .find(|absence| absence.from == end + Days::new(1))
            });
            if let Some(absence) = gone {
                let until = absence.to.map_or_else(String::new, |to| to.to_string());
                rows.push(vec![
                    format!("  {}", absence.from),
                    until,
                    paint(RED, "gone"),
                    String::new(),
                ]);
            }
        }
        printer.line(columns(&["  from", "to", "", ""], rows, &[]))?;
        if self.newer_snapshots > 0 {
            let are = if self.newer_snapshots == 1 {
                "is"
            } else {
                "are"
            };
            printer.line(format!(
                "  {} {are} newer than the intervals; run: asof compact {}",
                count(self.newer_snapshots, "snapshot"),
                self.table
            ))?;
        }
        if let Some(out) = &self.out {
            printer.line(format!("wrote {out}"))?;
        }
        Ok(())
    }
}

/// A key's values so far, by column; null ones are not in it.
type Values<'a> = BTreeMap<&'a str, &'a String>;

/// One line of the timeline: all values where the key is first seen, and then only what is another
/// value.
fn interval_row<'a>(interval: &'a HistoryInterval, values: &mut Values<'a>) -> Vec<String> {
    let before = values.clone();
    if interval.event != Event::Changed {
        values.clear();
    }
    for column in &interval.values {
        match &column.new {
            Some(new) => values.insert(&column.name, new),
            None => values.remove(column.name.as_str()),
        };
    }
    let (event, what) = match interval.event {
        Event::FirstSeen => (paint(GREEN, "first seen"), whole(&interval.values)),
        Event::Returned if before == *values => (paint(GREEN, "returned"), "as it was".to_owned()),
        Event::Returned => (paint(GREEN, "returned"), differences(&before, values)),
        Event::Reappeared => (paint(DIM, "reappeared"), String::new()),
        Event::Changed => (paint(YELLOW, "changed"), changes(&interval.values)),
    };
    vec![
        format!("  {}", interval.start),
        interval
            .end
            .map_or_else(|| "now".to_owned(), |end| end.to_string()),
        event,
        what,
    ]
}

fn differences(before: &Values<'_>, now: &Values<'_>) -> String {
    let names: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(name) != now.get(name));
    changed
        .map(|name| {
            format!(
                "{name}: {} -> {}",
                value(before.get(name).copied()),
                value(now.get(name).copied())
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
}

fn whole(columns: &[ColumnChange]) -> String {
    columns
        .iter()
        .map(|column| format!("{}={}", column.name, value(column.new.as_ref())))
        .collect::<Vec<_>>()
        .join("  ")
}
