//! `describe`: a line for each column, and below them the most frequent values as bars.

use super::show::shortened;
use super::{Render, selected};
use crate::cli::printer::{BOLD, DIM, Printer, columns, count, number, paint};
use crate::commands::describe::{
    ColumnDescription, DescribeReport, DescribedHistory, Distribution,
};
use crate::error::Result;

/// The longest bar.
const BAR: u64 = 20;
/// The most characters of a value in the line of a column.
const NARROW: usize = 24;
/// The most columns whose values are printed, unless columns are named.
const MOST_BARS: usize = 20;

impl Render for DescribeReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        let served = match self.date == self.snapshot_date {
            true => String::new(),
            false => format!(" (snapshot of {})", self.snapshot_date),
        };
        printer.line(format!(
            "{} as of {}{served}: {}, key {}",
            paint(BOLD, &self.table),
            self.date,
            count(self.rows, "row"),
            self.key.join(", ")
        ))?;
        if let Some(history) = &self.history {
            told(printer, history)?;
        }
        let rows = self
            .columns
            .iter()
            .map(|column| line(column, self.history.as_ref()));
        let header = [
            "column",
            "type",
            "nulls",
            "distinct",
            "min",
            "max",
            "keys changed",
            "last changed",
        ];
        printer.line(columns(&header, rows.collect(), &[2, 3, 6]))?;
        let shows_bars = self.columns.len() <= MOST_BARS || self.other_columns > 0;
        let with_values = self
            .columns
            .iter()
            .filter(|column| !column.frequent.is_empty());
        for column in with_values.filter(|_| shows_bars) {
            values(printer, column, self.rows)?;
        }
        if !shows_bars {
            let all = count(self.columns.len() as u64, "column");
            let more = format!("{all}; --columns COLUMN,... also shows the most frequent values");
            printer.line(paint(DIM, more))?;
        }
        Ok(())
    }
}

/// Where changes come from.
fn told(printer: &Printer, history: &DescribedHistory) -> Result<()> {
    printer.line(format!(
        "  changes of {} in {} of {} to {}",
        count(history.keys, "key"),
        count(history.snapshots, "snapshot"),
        history.first,
        history.last
    ))?;
    match selected(history.selected_rows.as_deref(), &history.select) {
        Some(selected) => printer.line(format!("    of {selected}")),
        None => Ok(()),
    }
}

/// The line of a column.
fn line(column: &ColumnDescription, history: Option<&DescribedHistory>) -> Vec<String> {
    let values = &column.values;
    let short = |value: &Option<String>| {
        let value = value.as_ref().map(|value| shortened(value, NARROW));
        value.unwrap_or_default()
    };
    let (keys, last) = match (&column.changes, history) {
        (Some(changes), _) => {
            let last = changes.last.map(|date| date.to_string());
            (number(changes.keys), last.unwrap_or_default())
        }
        (None, _) if column.key => (String::new(), "key".to_owned()),
        (None, Some(history)) if history.not_compared.contains(&column.name) => {
            (String::new(), "not compared".to_owned())
        }
        (None, _) => (String::new(), "not known".to_owned()),
    };
    vec![
        column.name.clone(),
        column.data_type.clone(),
        number(values.nulls),
        number(values.distinct),
        short(&values.min),
        short(&values.max),
        keys,
        last,
    ]
}

/// The most frequent values of a column.
fn values(printer: &Printer, column: &ColumnDescription, rows: u64) -> Result<()> {
    printer.line(format!("\n{}", paint(BOLD, &column.name)))?;
    let most = column.frequent.first().map_or(0, |value| value.rows);
    let listed = column.frequent.len() as u64;
    if most == 1 && column.values.distinct > listed {
        return printer.line("  each value is in one row");
    }
    let value = |frequent: &crate::commands::describe::FrequentValue| {
        vec![
            format!("  {}", super::show::value(Some(&frequent.value))),
            number(frequent.rows),
            share(frequent.rows, rows),
            bar(frequent.rows, most),
        ]
    };
    let lines = column.frequent.iter().map(value).collect();
    printer.line(columns(&[], lines, &[1, 2]))?;
    match column.values.distinct - listed {
        0 => Ok(()),
        others => {
            let others = count(others, "more value");
            printer.line(paint(DIM, format!("  ... and {others}")))
        }
    }
}

/// A share of all rows.
fn share(rows: u64, all: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let percent = 100.0 * rows as f64 / all.max(1) as f64;
    format!("{percent:.1} %")
}

/// A float with four decimal places at most, or with four digits if it is tiny.
fn short_float(float: f64) -> String {
    if float != 0.0 && float.abs() < 0.001 {
        return format!("{float:.3e}");
    }
    let digits = format!("{float:.4}");
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// A bar for a number beside the greatest; a number that is not zero has a mark at least.
pub(super) fn bar(number: u64, greatest: u64) -> String {
    let scaled = u128::from(number) * u128::from(BAR) / u128::from(greatest.max(1));
    let least = u128::from(number > 0);
    "#".repeat(usize::try_from(scaled.max(least)).unwrap_or_default())
}

/// What there is to say of a column's values beside the most frequent ones, each with its name; the
/// empty text for what its type has not.
pub(super) fn facts(values: &Distribution) -> [(&'static str, String); 6] {
    let text = |value: &Option<String>| {
        let value = value.as_ref().map(|value| super::show::value(Some(value)));
        value.unwrap_or_default()
    };
    let mean = values.mean.map(short_float);
    [
        ("nulls", number(values.nulls)),
        (
            "nan",
            values
                .nans
                .filter(|nans| *nans > 0)
                .map(number)
                .unwrap_or_default(),
        ),
        ("distinct", number(values.distinct)),
        ("min", text(&values.min)),
        ("max", text(&values.max)),
        ("mean", mean.unwrap_or_default()),
    ]
}
