//! Columns that the folders of files hold, as Hive, Spark and every reader of theirs have it:
//! `country=US/part-0.parquet`.
//!
//! Every `name=value` in a path below the root of a layout, or below a source, is a column of the
//! files in it:
//!
//! | folder | column |
//! | --- | --- |
//! | of events, the date of the layout: `date=%Y-%m-%d` | a date |
//! | of a table, a part of the layout's date | none: the date of a snapshot is not an attribute of its rows |
//! | any other | text, or the type that is declared for it, or that it had in the copy before |
//!
//! `__HIVE_DEFAULT_PARTITION__` is null. If a file has the column itself, the two must agree in
//! every row, and the file's column is read, in its own type. A table's own column that repeats its
//! date is left out as the folder's is.
//!
//! The values of one date are mostly the same for all files of it. Files of several values are read
//! one run of the same values after the other, after all of them were looked at for the columns and
//! types that they have in common.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, RecordBatch, RecordBatchOptions, StringArray,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
#[cfg(feature = "spark")]
use arrow::util::display::array_value_to_string;
use chrono::NaiveDate;

use super::TypeRules;
use crate::domain::cast::{cast_exactly, conform, quoted};
use crate::domain::layout::Layout;
use crate::domain::path_columns::first_disagreeing;
#[cfg(feature = "spark")]
use crate::error::Context;
use crate::error::{Error, Result};
use crate::storage::lake::location::Object;

/// The name of a column that a folder holds, and its value as text, unless it is null.
#[cfg(feature = "spark")]
pub(super) type FolderValue = (String, Option<String>);

/// What Hive writes for a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// What the parts of a layout's date are to the rows below it.
#[derive(Clone, Debug, Default)]
pub struct LayoutColumns {
    /// The names of the parts, each with the template of its value.
    parts: Vec<(String, String)>,
    /// Whether they are columns.
    are_columns: bool,
    /// Those that are wanted nowhere.
    unwanted: Vec<String>,
}

impl LayoutColumns {
    /// Those of a table: the date is that of the snapshot.
    pub fn of_table(layout: &Layout) -> Self {
        LayoutColumns {
            parts: layout.date_names(),
            ..LayoutColumns::default()
        }
    }

    /// Those of events: the date is a column.
    pub fn of_events(layout: &Layout) -> Self {
        LayoutColumns {
            parts: layout.date_names(),
            are_columns: true,
            unwanted: Vec::new(),
        }
    }

    /// The same without columns that nobody looks at, unless the files have them.
    #[must_use]
    pub fn without(mut self, unwanted: Vec<String>) -> Self {
        self.unwanted = unwanted;
        self
    }

    fn template(&self, name: &str) -> Option<&str> {
        self.parts
            .iter()
            .find(|(part, _)| part == name)
            .map(|(_, template)| template.as_str())
    }

    /// Whether a column of files repeats the date of a table's snapshot.
    pub fn repeats_date(&self, column: &str) -> bool {
        !self.are_columns
            && self
                .parts
                .iter()
                .any(|(part, _)| part.eq_ignore_ascii_case(column))
    }
}

/// What becomes of a column that folders hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It is added to files that do not have it.
    Added,
    /// It is not added.
    Unwanted,
    /// It is not added, and left out of files that have it.
    LeftOut,
}

/// A column that folders hold, with a value for each file.
struct Column {
    name: String,
    texts: StringArray,
    values: ArrayRef,
    role: Role,
}

impl Column {
    /// What the folder of a file says.
    fn text(&self, file: usize) -> Option<&str> {
        self.texts.is_valid(file).then(|| self.texts.value(file))
    }
}

/// The columns that folders hold.
pub(super) struct FolderColumns {
    columns: Vec<Column>,
    /// The folder of each file, for errors.
    folders: Vec<String>,
}

/// The pairs of name and value in the folders of a path with `/`, whose last part is a file.
fn pairs(path: &str) -> impl Iterator<Item = (String, Option<String>)> + '_ {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders
        .split('/')
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| !name.is_empty());
    pairs.map(|(name, value)| (decoded(name), (value != NULL).then(|| decoded(value))))
}

/// Text in which `%3A` stands for `:`, as Hive writes what cannot be in the name of a folder.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &behind[2..]),
            None => (bytes.push(*first), rest = behind),
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

impl FolderColumns {
    /// Reads the columns of files. There are none if no folder is named `name=value`.
    ///
    /// # Errors
    /// A refusal of a value that is not of its declared type, or of the type that the column had.
    pub(super) fn of(files: &[Object], rules: &TypeRules) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in files.iter().flat_map(|file| pairs(&file.below)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Ok(FolderColumns {
                columns: Vec::new(),
                folders: Vec::new(),
            });
        }
        let folder = |file: &Object| {
            let path = file.location.to_string();
            path.rsplit_once('/')
                .map_or(path.clone(), |(folder, _)| folder.to_owned())
        };
        let folders: Vec<String> = files.iter().map(folder).collect();
        let column = |name: String| {
            let value = |file: &Object| {
                pairs(&file.below)
                    .filter(|pair| pair.0 == name)
                    .last()
                    .and_then(|pair| pair.1)
            };
            let texts: StringArray = files.iter().map(value).collect();
            let text: ArrayRef = Arc::new(texts.clone());
            let template = rules.layout.template(&name);
            let role = match template {
                Some(_) if !rules.layout.are_columns => Role::LeftOut,
                Some(_) if rules.layout.unwanted.contains(&name) => Role::Unwanted,
                _ => Role::Added,
            };
            let dates = template.and_then(|template| dates(&texts, template));
            let typed = match rules.declared.get(&name).or_else(|| rules.pins().of(&name)) {
                Some(data_type) if role == Role::Added => {
                    let from = dates
                        .filter(|_| data_type != &DataType::Utf8)
                        .unwrap_or(text);
                    cast_exactly(&from, data_type, &name)
                        .map_err(|error| error.within(format!("'{}'", folders[0])))?
                }
                _ => dates.unwrap_or(text),
            };
            Ok(Column {
                name,
                texts,
                values: typed,
                role,
            })
        };
        let columns = names.into_iter().map(column).collect::<Result<_>>()?;
        Ok(FolderColumns { columns, folders })
    }

    /// Whether files are all that rows need.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Whether all files have the same values.
    pub(super) fn are_constant(&self) -> bool {
        (1..self.folders.len()).all(|file| self.are_same(0, file))
    }

    /// Whether two files have the same values.
    pub(super) fn are_same(&self, one: usize, other: usize) -> bool {
        self.columns
            .iter()
            .all(|column| column.text(one) == column.text(other))
    }

    /// Whether rows have a column from a folder.
    pub(super) fn adds(&self, files: &Schema) -> bool {
        self.columns
            .iter()
            .any(|column| column.role == Role::Added && own(files, &column.name).is_none())
    }

    /// The names of the columns, whether they are added or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The rules for what the files have themselves: a column need not be in them if folders hold
    /// it. If folders have different values, the values of all files decide their types before any
    /// rows are read.
    pub(super) fn rules_of_files(&self, rules: &TypeRules) -> TypeRules {
        TypeRules {
            in_folders: self.names().map(str::to_owned).collect(),
            expected: rules.expected.clone().filter(|_| self.are_constant()),
            ..rules.clone()
        }
    }

    /// The columns that folders add to the rows of a file, each with its value as text; `stored`
    /// are the file's own.
    #[cfg(feature = "spark")]
    pub(super) fn added_to(&self, at: usize, stored: &Schema) -> Result<Vec<FolderValue>> {
        let added = self.columns.iter();
        let added = added.filter(|column| column.role == Role::Added);
        let added = added.filter(|column| own(stored, &column.name).is_none());
        let value = |column: &Column| {
            let is_null = column.values.is_null(at);
            let text = || array_value_to_string(&column.values, at);
            let value = (!is_null).then(text).transpose();
            let value = value.io_context(|| format!("column '{}'", column.name))?;
            Ok((column.name.clone(), value))
        };
        added.map(value).collect()
    }

    /// The files' columns, and then those of their folders.
    pub(super) fn schema(&self, files: &Schema) -> SchemaRef {
        let is_left_out = |name: &str| {
            self.columns.iter().any(|column| {
                column.role == Role::LeftOut && column.name.eq_ignore_ascii_case(name)
            })
        };
        let own_fields = files
            .fields()
            .iter()
            .filter(|field| !is_left_out(field.name()))
            .cloned();
        let added = self
            .columns
            .iter()
            .filter(|column| column.role == Role::Added && own(files, &column.name).is_none());
        let added = added.map(|column| {
            Arc::new(Field::new(
                &column.name,
                column.values.data_type().clone(),
                true,
            ))
        });
        Arc::new(Schema::new(own_fields.chain(added).collect::<Vec<_>>()))
    }

    /// Rows of a file, brought into [`FolderColumns::schema`].
    ///
    /// # Errors
    /// A refusal of a row whose own value is not the folder's.
    pub(super) fn added(
        &self,
        batch: &RecordBatch,
        file: usize,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        for column in &self.columns {
            if let Some(field) = own(batch.schema_ref(), &column.name)
                && let Some(values) = batch.column_by_name(field)
            {
                self.check(column, file, field, values)?;
            }
        }
        let at = u32::try_from(file)
            .map_err(|_| Error::refused("there are more files than can be counted"))?;
        let own_columns = Arc::new(Schema::new(
            schema
                .fields()
                .iter()
                .filter(|field| batch.column_by_name(field.name()).is_some())
                .cloned()
                .collect::<Vec<_>>(),
        ));
        let conformed = conform(batch, &own_columns)?;
        let columns = schema.fields().iter().map(|field| {
            if let Some(column) = conformed.column_by_name(field.name()) {
                return Ok(column.clone());
            }
            let folder = self
                .columns
                .iter()
                .find(|column| column.role == Role::Added && column.name == *field.name());
            let Some(folder) = folder else {
                return Ok(arrow::array::new_null_array(
                    field.data_type(),
                    batch.num_rows(),
                ));
            };
            let repeated = take(
                folder.values.as_ref(),
                &UInt32Array::from_value(at, batch.num_rows()),
                None,
            );
            repeated.map_err(|error| Error::io(format!("column '{}': {error}", field.name())))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
            .map_err(|error| Error::io(format!("cannot add the columns of folders: {error}")))
    }

    /// Refuses the first row in which the file's own column has another value than the folder.
    fn check(&self, column: &Column, file: usize, name: &str, values: &ArrayRef) -> Result<()> {
        let said = column.text(file);
        let date = column
            .values
            .as_primitive_opt::<Date32Type>()
            .and_then(|dates| dates.value_as_date(file));
        let is_exact = column.role == Role::LeftOut;
        let Some(row) = first_disagreeing(values, said, date, is_exact)? else {
            return Ok(());
        };
        let held = if values.is_null(row) {
            "null".to_owned()
        } else {
            quoted(values.as_ref(), row)
        };
        let said = said.map_or("null".to_owned(), |said| format!("'{said}'"));
        let folder = &self.folders[file];
        Err(Error::refused(format!(
            "'{folder}': column '{name}' holds {held}, and its folder says \
             {said}"
        ))
        .hint(
            "correct the column or the folder: a column that is in both must have the same \
             value in both",
        ))
    }
}

/// The name of a column as files have it, without regard to case.
fn own<'a>(files: &'a Schema, name: &str) -> Option<&'a str> {
    let exact = files.fields().iter().find(|field| field.name() == name);
    let field = exact.or_else(|| {
        files
            .fields()
            .iter()
            .find(|field| field.name().eq_ignore_ascii_case(name))
    });
    field.map(|field| field.name().as_str())
}

/// Text as dates of a template, if it is one of whole dates and every value is one.
fn dates(texts: &StringArray, template: &str) -> Option<ArrayRef> {
    let date = |text: &str| {
        NaiveDate::parse_from_str(text, template)
            .ok()
            .map(Date32Type::from_naive_date)
    };
    let dates: Date32Array = texts.iter().map(|text| text.and_then(date)).collect();
    (dates.null_count() == texts.null_count()).then(|| Arc::new(dates) as ArrayRef)
}
