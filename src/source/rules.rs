//! What is known of the columns of a source before it is read, and the hints that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::dialect::Dialect;
use super::format::Format;
use super::observed::Observed;
use super::path_columns::LayoutColumns;
use super::pins::Pins;
use crate::domain::cast::cast_exactly;
use crate::domain::missing_column::names_missing_column;
use crate::domain::row_limits::Limits;
use crate::error::{Error, Result, toml_key, word};

/// How many rows of a file are read, if only the columns are wanted and no file tells them.
pub const HEAD_ROWS: usize = 1_000;
/// How many files are opened then.
pub const HEAD_FILES: usize = 16;
/// Columns that have values of another type than the one that they had, or that is declared. Clones
/// share it.
///
/// A column of text is then read as its text, so that the copy can be kept as it came; whoever
/// reads it has to refuse it. A source that carries types is refused at once: whoever reads it may
/// read it again, without the types that were declared for the columns noted here.
#[derive(Clone, Debug, Default)]
pub struct MistypedColumns(Arc<Mutex<NotedColumns>>);

#[derive(Debug, Default)]
struct NotedColumns {
    refusals: Vec<Error>,
    of_values: BTreeSet<String>,
}

impl MistypedColumns {
    fn noted(&self) -> MutexGuard<'_, NotedColumns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The type of a column, or text if that was refused.
    pub(super) fn or_text(&self, decided: Result<DataType>) -> DataType {
        decided.unwrap_or_else(|error| {
            self.noted().refusals.push(error);
            DataType::Utf8
        })
    }

    /// Notes a column of a source that carries types, which its type does not hold.
    pub(super) fn note(&self, column: &str) {
        self.noted().of_values.insert(column.to_owned());
    }

    /// Notes the columns of rows that cannot be brought into a schema.
    pub(super) fn note_columns(&self, rows: &RecordBatch, target: &Schema) {
        for field in target.fields() {
            let column = rows.column_by_name(field.name());
            let fits = |column| cast_exactly(column, field.data_type(), field.name()).is_ok();
            if column.is_some_and(|column| !fits(column)) {
                self.note(field.name());
            }
        }
    }

    /// Why columns of text would have been refused, in their order.
    pub fn take(&self) -> Vec<Error> {
        std::mem::take(&mut self.noted().refusals)
    }

    /// The columns of a source that carries types for which it was refused.
    pub fn take_columns(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.noted().of_values)
    }
}

/// That text may be read as the types that its columns are expected to have, before all values were
/// seen. If one of them is of another type, reading fails. The source is then to be read again
/// without expectations, which finds the types that hold all values, or names the value. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct ExpectedTypes(Arc<AtomicBool>);

impl ExpectedTypes {
    /// Notes that a value is of another type.
    pub(super) fn miss(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a value was of another type.
    pub fn are_missed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of columns' types before a text format is read.
#[derive(Clone, Debug, Default)]
pub struct TypeRules {
    /// Types that the configuration declares, by column.
    pub declared: BTreeMap<String, DataType>,
    /// What the date of the files' layout is to their rows.
    pub layout: LayoutColumns,
    /// Columns that folders hold, so that files need not have them.
    pub in_folders: Vec<String>,
    /// The section of asof.toml that declares them, for hints, such as `tables.item`.
    pub section: String,
    /// Whether every other column of CSV is text.
    pub csv_as_text: bool,
    /// The types that columns had in the last snapshot in which they had values.
    pub pinned: Option<SchemaRef>,
    /// Whether the files are one snapshot of many that another tool wrote: a declared column may be
    /// absent on their date, and a column of CSV that is not of the type that it had so far is
    /// text.
    pub external: bool,
    /// How long a row may be, and how many columns there may be.
    pub limits: Limits,
    /// Whether nothing else is read meanwhile, so that all processors may be used.
    pub is_alone: bool,
    /// Whether only the columns are wanted. Of several files, the first ones tell them
    /// ([`HEAD_FILES`]); of text, the first rows ([`HEAD_ROWS`]); of a database, the description of
    /// its query. Rows that are read are not all rows.
    pub only_columns: bool,
    /// How CSV and TSV are written.
    pub csv: Arc<Dialect>,
    /// Whether the command line declares them, for this command alone.
    pub csv_is_given: bool,
    /// How text was read with these rules. Whoever clones them sees it too.
    pub observed: Observed,
    /// Where columns are noted whose values are of another type; if nowhere, columns of text are
    /// refused at once, too.
    pub mistyped: Option<MistypedColumns>,
    /// Whether text may be read as the types that are declared or pinned, before all values were
    /// seen.
    pub expected: Option<ExpectedTypes>,
}

impl TypeRules {
    /// The type that was decided for a column of text, or why there is none.
    pub(super) fn of_column(&self, decided: Result<DataType>) -> Result<DataType> {
        match &self.mistyped {
            Some(mistyped) => Ok(mistyped.or_text(decided)),
            None => decided,
        }
    }

    /// The type that is declared for a column of text.
    pub(super) fn declared(&self, column: &str) -> Option<&DataType> {
        self.declared.get(column).or(if self.csv_as_text {
            Some(&DataType::Utf8)
        } else {
            None
        })
    }

    /// The pinned types by column.
    pub(super) fn pins(&self) -> Pins<'_> {
        self.pinned
            .as_deref()
            .map(Pins::of_columns)
            .unwrap_or_default()
    }

    /// The hint that a column can be kept as text. `what` says which text that is.
    pub(super) fn as_text(&self, column: &str, what: &str) -> String {
        let section = if self.section.is_empty() {
            String::new()
        } else {
            format!("[{}] ", self.section)
        };
        let configured = format!(
            "{section}types = {{ {} = \"text\" }} in asof.toml",
            toml_key(column)
        );
        // In an option, these characters would end the name.
        let is_plain = column == column.trim()
            && !column.starts_with('-')
            && !column.contains([',', '=', '(', ')', '<', '>']);
        // What asof.toml declares, the command line does not override; nor can it say of one copy
        // what the copies before it deny.
        let is_declared = !section.is_empty() && self.declared.contains_key(column);
        let pinned = self.pinned.as_ref().filter(|_| !self.external);
        let is_pinned = pinned.is_some_and(|columns| columns.field_with_name(column).is_ok());
        let option = if is_plain && !is_declared && !is_pinned {
            format!("--types {}, or ", word(&format!("{column}=text")))
        } else {
            String::new()
        };
        format!("correct the source, or keep {what}: {option}{configured}")
    }

    /// Refuses a dialect that the command line gives for files that have none.
    ///
    /// # Errors
    /// A usage error that names the format.
    pub fn check_csv(&self, format: Format, what: &str) -> Result<()> {
        if !self.csv_is_given || matches!(format, Format::Csv | Format::Tsv) {
            return Ok(());
        }
        Err(Error::usage(format!(
            "--csv applies to CSV and TSV only; {what} is {format}"
        ))
        .hint("leave out --csv"))
    }

    /// Refuses a declaration for a column that is not there, and was not there before.
    pub(super) fn check(&self, schema: &Schema, what: &str) -> Result<()> {
        let pins = self.pins();
        for name in self.declared.keys().filter(|_| !self.external) {
            if schema.field_with_name(name).is_err()
                && pins.of(name).is_none()
                && !self.in_folders.contains(name)
            {
                let declares = "a type is declared for";
                return Err(names_missing_column(declares, name, schema, what));
            }
        }
        Ok(())
    }
}
