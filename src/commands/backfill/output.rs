//! The output of one date on its way: one Parquet object, published whole or not at all.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::NaiveDate;

use super::bound::BoundJob;
use super::job::ResolvedJob;
use super::schema::{Turns, refusal};
use crate::domain::cast::cast_exactly;
use crate::domain::path_columns::PathColumns;
use crate::error::{Context, Error, Result};
use crate::interrupt::{published, uninterrupted};
use crate::storage::lake::commit::Staged;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::{Content, Footer, OutputFooter};
use crate::storage::parquet::writer::ObjectWriter;

/// Where an executor puts the rows of a date.
pub(super) struct DateOutput<'a> {
    job: &'a ResolvedJob,
    turns: &'a Turns,
    date: NaiveDate,
    path: &'a Location,
    /// What has been written; nothing before the first columns are known.
    begun: Option<Begun>,
    /// The columns of what the output is made from, each with its section of asof.toml, for hints.
    pub(super) sources: Vec<(String, SchemaRef)>,
}

/// An object that has its columns.
struct Begun {
    staged: Staged,
    writer: ObjectWriter,
    /// What becomes of columns that the output's path has.
    columns: PathColumns,
    /// The columns of the object.
    schema: SchemaRef,
    /// The columns without values that take a type from other outputs, by index.
    typed: Vec<(usize, FieldRef)>,
}

impl<'a> DateOutput<'a> {
    pub(super) fn new(bound: &'a BoundJob<'a>, turns: &'a Turns) -> Self {
        DateOutput {
            job: bound.job,
            turns,
            date: bound.date,
            path: &bound.output,
            begun: None,
            sources: Vec::new(),
        }
    }

    /// Begins the object, unless it is begun.
    ///
    /// # Errors
    /// A refusal of columns that have other types in other outputs of the job.
    pub(super) fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.begun.is_some() {
            return Ok(());
        }
        let columns = PathColumns::of(schema, &self.job.layout, self.date);
        let admitted = self
            .turns
            .admit(columns.schema(), self.date)
            .map_err(|clash| refusal(&clash, &self.sources, &self.job.work))?;
        let differs = |at: &usize| admitted.field(*at) != columns.schema().field(*at);
        let typed = (0..admitted.fields().len())
            .filter(differs)
            .map(|at| (at, admitted.fields()[at].clone()))
            .collect();
        let staged = Staged::create(self.path)?;
        let writer = ObjectWriter::create(staged.writer()?, &admitted, &[], self.path)?;
        self.begun = Some(Begun {
            staged,
            writer,
            columns,
            schema: admitted,
            typed,
        });
        Ok(())
    }

    /// Writes rows of the columns that it was begun with.
    ///
    /// # Errors
    /// A failure to write; a refusal of a value that the output's path contradicts.
    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(begun) = &mut self.begun else {
            return Err(Error::internal("the output was not begun"));
        };
        let batch = begun
            .columns
            .leave(batch)
            .map_err(|error| error.hint(self.job.other_layout()))?;
        begun.writer.write(with_types(batch, &begun.typed)?)
    }

    /// How many rows have been written.
    pub(super) fn rows(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.writer.rows())
    }

    /// The columns that are left to the output's path, which has their value.
    pub(super) fn left_to_path(&self) -> Vec<String> {
        self.begun
            .iter()
            .flat_map(|begun| begun.columns.names())
            .map(str::to_owned)
            .collect()
    }

    /// Ends the object with what it was made from, and puts it in the place of the one before.
    /// Returns how many rows it has, and their columns.
    ///
    /// # Errors
    /// A failure to write it.
    pub(super) fn publish(self, bound: &BoundJob<'_>) -> Result<(u64, SchemaRef)> {
        let Some(begun) = self.begun else {
            return Err(Error::internal("there was nothing to write"));
        };
        let rows = begun.writer.rows();
        let footer = OutputFooter {
            job_name: self.job.name.clone(),
            date: self.date,
            rows,
            inputs: bound.inputs.clone(),
            made_by: None,
            asof_version: env!("CARGO_PKG_VERSION").into(),
        };
        begun.writer.finish(&Footer::new(Content::Output(footer)))?;
        uninterrupted(|| {
            begun.staged.publish_over()?;
            let path = self.job.path(self.date);
            published(&self.job.name, Some(self.date), path.as_local());
            Ok::<(), Error>(())
        })?;
        Ok((rows, begun.schema))
    }
}

/// A batch whose columns without values have types.
fn with_types(batch: RecordBatch, typed: &[(usize, FieldRef)]) -> Result<RecordBatch> {
    if typed.is_empty() {
        return Ok(batch);
    }
    let mut fields = batch.schema_ref().fields().to_vec();
    let mut columns = batch.columns().to_vec();
    for (at, field) in typed {
        columns[*at] = cast_exactly(&columns[*at], field.data_type(), field.name())?;
        fields[*at] = field.clone();
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::new(Schema::new(fields)), columns, &options)
        .io_context(|| "cannot write rows".into())
}
