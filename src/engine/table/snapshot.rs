//! One snapshot of a table, opened: its columns and footer, and ways to read its rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;

use crate::domain::cast::cast_exactly;
use crate::domain::digest::Fingerprint;
use crate::domain::schema::{by_name, declaration, with_types};
use crate::domain::widening::keeps_values;
use crate::engine::table::dedup::Dropped;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::{self, Format, SourceRows, TypeRules};
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::SnapshotFooter;
use crate::storage::parquet::object::{ParquetObject, RowCondition, with_dictionaries};
use crate::storage::{Batches, within};

/// One snapshot, opened; its rows have not been read.
pub struct Snapshot {
    /// Its date.
    pub date: NaiveDate,
    /// Its columns, in the types that are declared for the table.
    pub schema: SchemaRef,
    /// What asof wrote about it, of the rows as they are stored; nothing in an external table.
    pub footer: Option<SnapshotFooter>,
    /// How many rows of an external copy were dropped, once all are read; nothing if no rule drops
    /// any.
    pub dropped: Option<Dropped>,
    pub(super) table: TableName,
    pub(super) content: SnapshotContent,
}

/// Where the rows of a snapshot are.
pub(super) enum SnapshotContent {
    Own(ParquetObject),
    External(SourceRows, Vec<Object>, Format, TypeRules),
    /// The latest rows of another tool's files: what a part of them holds says nothing of a key's
    /// latest row.
    Latest(SourceRows),
}

impl Snapshot {
    /// The columns as they are stored, or, of another tool's files, as they are read.
    pub fn stored_schema(&self) -> &SchemaRef {
        match &self.content {
            SnapshotContent::Own(object) => object.schema(),
            SnapshotContent::External(rows, ..) | SnapshotContent::Latest(rows) => &rows.schema,
        }
    }

    /// Whether it carries checksums; nothing of another tool's files.
    pub fn has_checksums(&self) -> Option<bool> {
        match &self.content {
            SnapshotContent::Own(object) => Some(object.has_checksums()),
            SnapshotContent::External(..) | SnapshotContent::Latest(_) => None,
        }
    }

    /// Verifies those bytes of a snapshot of asof's own that no reader of rows uses.
    ///
    /// # Errors
    /// A refusal if one is damaged.
    pub fn verify_unread(&self) -> Result<()> {
        match &self.content {
            SnapshotContent::Own(object) => object.verify_unread(),
            SnapshotContent::External(..) | SnapshotContent::Latest(_) => Ok(()),
        }
    }

    /// How many rows it has, if its files say so.
    pub fn count(&self) -> Option<u64> {
        match &self.content {
            SnapshotContent::Own(object) => Some(object.rows()),
            SnapshotContent::External(rows, ..) | SnapshotContent::Latest(rows) => rows.count,
        }
    }

    /// Whether declared types turn a column into other values, such as numbers into text.
    fn changes_values(&self, of: impl Fn(&str) -> bool) -> bool {
        let mut fields = self
            .stored_schema()
            .fields()
            .iter()
            .zip(self.schema.fields());
        fields.any(|(stored, read)| {
            of(stored.name()) && !keeps_values(stored.data_type(), read.data_type())
        })
    }

    /// The content of the rows as they are read, if the footer tells it.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let footer = self.footer.as_ref()?;
        (!self.changes_values(|_| true)).then_some(footer.fingerprint)
    }

    /// Whether the rows come in the order of a key.
    pub fn is_sorted_by(&self, key: &[String]) -> bool {
        let is_stored_so = self.footer.as_ref().is_some_and(|footer| footer.key == key);
        is_stored_so && !self.changes_values(|name| key.iter().any(|key| key == name))
    }

    /// Reads every column as it is stored.
    ///
    /// # Errors
    /// A failure or refusal of the format.
    pub fn read_stored(self) -> Result<Batches> {
        match self.content {
            SnapshotContent::Own(object) => object.read(None),
            SnapshotContent::External(rows, ..) | SnapshotContent::Latest(rows) => Ok(rows.batches),
        }
    }

    /// Reads the named columns, or all of them, on all processors where that is possible, for
    /// whoever reads nothing else meanwhile.
    ///
    /// # Errors
    /// A failure or refusal of the format.
    pub fn read_alone(self, columns: Option<&[String]>) -> Result<Batches> {
        match &self.content {
            SnapshotContent::Own(object) => {
                let rows = object.read_on_all_processors(columns)?;
                Ok(in_types(rows, self.table, self.date, self.schema))
            }
            SnapshotContent::External(..) | SnapshotContent::Latest(_) => self.read(columns),
        }
    }

    /// Reads every column as [`Snapshot::read_alone`] does. Texts other than those of a key come in
    /// dictionaries, if they stand in short ones.
    ///
    /// # Errors
    /// A failure or refusal of the format.
    pub fn read_alone_in_dictionaries(self, key: &[String]) -> Result<Batches> {
        let SnapshotContent::Own(object) = &self.content else {
            return self.read(None);
        };
        let read = by_name(&self.schema);
        let is_read_so = |name: &String| {
            let field = read.get(name.as_str());
            !key.contains(name) && field.is_some_and(|field| field.data_type() == &DataType::Utf8)
        };
        let mut texts = object.texts_in_dictionaries();
        texts.retain(is_read_so);
        let rows = object
            .in_dictionaries(&texts)?
            .read_on_all_processors(None)?;
        let schema = with_dictionaries(&self.schema, &texts);
        Ok(in_types(rows, self.table, self.date, schema))
    }

    /// The one Parquet object that it is, if it is one: any range of its rows can be read.
    ///
    /// # Errors
    /// A failure of opening it.
    pub fn into_object(self) -> Result<Option<ParquetObject>> {
        match self.content {
            SnapshotContent::Own(object) => Ok(Some(object)),
            SnapshotContent::Latest(_) => Ok(None),
            SnapshotContent::External(_, objects, format, rules) => match objects.as_slice() {
                [object] if format == Format::Parquet => {
                    let object = ParquetObject::open_listed(object)?;
                    Ok(
                        (!source::has_path_columns(&objects, object.schema(), &rules)?)
                            .then_some(object),
                    )
                }
                _ => Ok(None),
            },
        }
    }

    /// Reads the named columns, or all of them.
    ///
    /// # Errors
    /// A failure or refusal of the format.
    pub fn read(self, columns: Option<&[String]>) -> Result<Batches> {
        match self.content {
            SnapshotContent::Own(object) => Ok(in_types(
                object.read(columns)?,
                self.table,
                self.date,
                self.schema,
            )),
            SnapshotContent::External(_, objects, Format::Parquet, rules) if columns.is_some() => {
                let in_order = names_in_order(&self.schema, columns.unwrap_or_default());
                let place = format!("table {}, {}", self.table, self.date);
                let rows =
                    source::read_columns(&objects, Format::Parquet, &rules, &in_order, None)?;
                Ok(within(rows, place))
            }
            SnapshotContent::External(rows, ..) | SnapshotContent::Latest(rows) => match columns {
                None => Ok(rows.batches),
                Some(columns) => Ok(project(rows.batches, &rows.schema, columns)),
            },
        }
    }

    /// Reads every column; texts that another tool's files have in short dictionaries come as
    /// those.
    ///
    /// # Errors
    /// A failure or refusal of the format.
    pub fn read_as_dictionaries(self) -> Result<Batches> {
        match self.content {
            SnapshotContent::External(_, objects, Format::Parquet, rules) => {
                let place = format!("table {}, {}", self.table, self.date);
                let rows = source::read_as_dictionaries(&objects, Format::Parquet, &rules, &[])?;
                Ok(within(rows.batches, place))
            }
            _ => self.read(None),
        }
    }

    /// Reads the named columns of the rows for which a condition holds; of Parquet no more than
    /// that needs.
    ///
    /// # Errors
    /// A failure or refusal of the format.
    pub fn read_where(
        self,
        columns: &[String],
        condition: Arc<dyn RowCondition>,
    ) -> Result<Batches> {
        match self.content {
            SnapshotContent::Own(object) => Ok(in_types(
                object.read_where(Some(columns), Some(condition))?,
                self.table,
                self.date,
                self.schema,
            )),
            SnapshotContent::External(_, objects, Format::Parquet, rules) => {
                let in_order = names_in_order(&self.schema, columns);
                let place = format!("table {}, {}", self.table, self.date);
                Ok(within(
                    source::read_columns(
                        &objects,
                        Format::Parquet,
                        &rules,
                        &in_order,
                        Some(condition),
                    )?,
                    place,
                ))
            }
            SnapshotContent::External(rows, ..) | SnapshotContent::Latest(rows) => {
                let matching: Batches = Box::new(rows.batches.map(move |batch| {
                    let batch = batch?;
                    filter_record_batch(&batch, &condition.holds(&batch)?)
                        .map_err(|error| Error::io(format!("cannot select rows: {error}")))
                }));
                Ok(project(matching, &rows.schema, columns))
            }
        }
    }
}

/// Those of the names that a schema has, in its order.
fn names_in_order(schema: &Schema, names: &[String]) -> Vec<String> {
    let own = schema.fields().iter().map(|field| field.name());
    let names: HashSet<&String> = names.iter().collect();
    own.filter(|name| names.contains(name)).cloned().collect()
}

/// Batches of a snapshot's columns in the types of its schema.
fn in_types(batches: Batches, table: TableName, date: NaiveDate, schema: SchemaRef) -> Batches {
    Box::new(batches.map(move |batch| convert(&batch?, &table, date, &schema)))
}

/// The columns of a snapshot's batch in the types of a schema: those that are declared, or that the
/// table has over all dates.
///
/// # Errors
/// A refusal that names table, date, column and the first value that its type cannot hold exactly,
/// and says what to declare.
pub fn convert(
    batch: &RecordBatch,
    table: &TableName,
    date: NaiveDate,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let own = batch.schema_ref();
    let known = by_name(schema);
    let read = with_types(own, |name| known.get(name).map(|field| field.data_type()));
    if &read == own {
        return Ok(batch.clone());
    }
    let columns = batch
        .columns()
        .iter()
        .zip(read.fields())
        .map(|(column, field)| {
            cast_exactly(column, field.data_type(), field.name()).map_err(|error| {
                let text = [(field.name().clone(), DataType::Utf8)];
                error
                    .within(format!("table {table}, {date}"))
                    .hint(declaration(table.as_str(), &text))
            })
        });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(read.clone(), columns.collect::<Result<_>>()?, &options)
        .map_err(|error| Error::io(format!("cannot convert rows: {error}")))
}

/// The named columns of batches of a schema, in its order.
fn project(batches: Batches, schema: &Schema, columns: &[String]) -> Batches {
    let indices: Vec<usize> = (0..schema.fields().len())
        .filter(|at| columns.contains(schema.field(*at).name()))
        .collect();
    Box::new(batches.map(move |batch| {
        batch?
            .project(&indices)
            .map_err(|error| Error::io(format!("cannot select columns: {error}")))
    }))
}
