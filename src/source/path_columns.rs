//! Columns that the folders of files hold, as Hive, Spark and every reader of theirs have it: `country=US/part-0.parquet`.
//!
//! Folders below a partition's date, or below a source, are columns of the files in them. A column that a file has itself is the file's.
//! Values are text until their type is decided: as declared, as in the copy before, or as all values agree on an integer or a date.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::TypeRules;
use crate::domain::cast::{cast_exactly, conform};
use crate::error::{Error, Result};
use crate::storage::location::Object;

/// What Hive writes for a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns that folders hold: names, and one value a file.
pub(super) struct PathColumns {
    columns: Vec<(String, ArrayRef)>,
}

/// The pairs of name and value in the folders of a path with `/`, whose last part is a file.
pub(super) fn pairs(folders: &str) -> impl Iterator<Item = (String, Option<String>)> + '_ {
    let folders = folders.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders.split('/').filter_map(|part| part.split_once('=')).filter(|(name, _)| !name.is_empty());
    pairs.map(|(name, value)| (decoded(name), (value != NULL).then(|| decoded(value))))
}

/// Text in which `%3A` stands for `:`, as Hive writes what cannot be in the name of a folder.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| *first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &behind[2..]),
            None => (bytes.push(*first), rest = behind),
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

impl PathColumns {
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
        let column = |name: String| {
            let value = |file: &Object| pairs(&file.below).filter(|pair| pair.0 == name).last().and_then(|pair| pair.1);
            let texts: ArrayRef = Arc::new(files.iter().map(value).collect::<StringArray>());
            let typed = match rules.declared.get(&name).or_else(|| rules.pinned(&name)) {
                Some(data_type) => cast_exactly(&texts, data_type, &name)
                    .map_err(|error| error.within(format!("the folders of '{}'", files[0].location)))?,
                None => inferred(&texts, &name),
            };
            Ok((name, typed))
        };
        Ok(PathColumns { columns: names.into_iter().map(column).collect::<Result<_>>()? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The rules for what the files have themselves.
    pub(super) fn rules_of_files(&self, rules: &TypeRules) -> TypeRules {
        let mut rules = rules.clone();
        rules.declared.retain(|name, _| self.columns.iter().all(|(column, _)| column != name));
        rules
    }

    /// The files' columns, and then those of their folders.
    pub(super) fn schema(&self, files: &Schema) -> SchemaRef {
        let own = files.fields().iter().cloned();
        let added = self.columns.iter().filter(|(name, _)| files.field_with_name(name).is_err());
        let added = added.map(|(name, values)| Arc::new(Field::new(name, values.data_type().clone(), true)));
        Arc::new(Schema::new(own.chain(added).collect::<Vec<_>>()))
    }

    /// Whether two files have the same values.
    pub(super) fn are_same(&self, one: usize, other: usize) -> bool {
        self.columns.iter().all(|(_, values)| values.slice(one, 1).as_ref() == values.slice(other, 1).as_ref())
    }

    /// Rows of a file, brought into [`PathColumns::schema`].
    pub(super) fn added(&self, batch: &RecordBatch, file: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let conformed = conform(batch, schema)?;
        let at = u32::try_from(file).map_err(|_| Error::refused("there are more files than can be counted"))?;
        let columns = schema.fields().iter().zip(conformed.columns()).map(|(field, column)| {
            let folder = self.columns.iter().find(|(name, _)| name == field.name() && batch.column_by_name(name).is_none());
            let Some((_, values)) = folder else { return Ok(column.clone()) };
            let repeated = take(values.as_ref(), &UInt32Array::from_value(at, batch.num_rows()), None);
            repeated.map_err(|error| Error::io(format!("column '{}': {error}", field.name())))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
            .map_err(|error| Error::io(format!("cannot add the columns of folders: {error}")))
    }
}

/// Text as integers or dates, if every value is one in its canonical form.
fn inferred(texts: &ArrayRef, name: &str) -> ArrayRef {
    let typed = [DataType::Int64, DataType::Date32].iter().find_map(|data_type| {
        let values = cast_exactly(texts, data_type, name).ok()?;
        let again = cast_exactly(&values, &DataType::Utf8, name).ok()?;
        (again.as_ref() == texts.as_ref()).then_some(values)
    });
    typed.unwrap_or_else(|| texts.clone())
}
