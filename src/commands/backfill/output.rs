//! The output of one date on its way: one Parquet object, published whole or not at all.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::NaiveDate;

use super::bound::BoundJob;
use super::job::ResolvedJob;
use super::job_output::remove_files;
use super::schema::{Turns, refusal};
use crate::domain::cast::cast_exactly;
use crate::domain::path_columns::PathColumns;
use crate::error::{Context, Error, Result};
use crate::interrupt::{published, uninterrupted};
use crate::storage::lake::commit::Staged;
use crate::storage::lake::location::{Location, Object};
#[cfg(feature = "spark")]
use crate::storage::parquet::folder_record::{FolderRecord, RecordedFile};
use crate::storage::parquet::footer::{Content, Footer, OutputFooter};
#[cfg(feature = "spark")]
use crate::storage::parquet::footer::{VERSION, write_schema};
use crate::storage::parquet::writer::ObjectWriter;

/// Where an executor puts the rows of a date.
pub(super) struct DateOutput<'a> {
    job: &'a ResolvedJob,
    turns: &'a Turns,
    date: NaiveDate,
    path: &'a Location,
    /// What has been written; nothing before the first columns are known.
    begun: Option<Begun>,
    /// The files of an engine that it replaces.
    replaced: Vec<Object>,
    /// What an engine wrote.
    #[cfg(feature = "spark")]
    folder: Option<WrittenFolder>,
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

/// The files that an engine wrote for a date.
#[cfg(feature = "spark")]
pub(super) struct WrittenFolder {
    /// The engine with its version.
    pub(super) engine: String,
    /// The columns of the files.
    pub(super) schema: SchemaRef,
    /// The files, each with its rows.
    pub(super) files: Vec<(Object, u64)>,
    /// The columns that are left to the output's path.
    pub(super) left_to_path: Vec<String>,
}

/// The columns of an output.
pub(super) struct AdmittedColumns {
    /// What becomes of columns that the output's path has.
    pub(super) columns: PathColumns,
    /// The columns that the output has.
    pub(super) schema: SchemaRef,
}

impl<'a> DateOutput<'a> {
    /// An output in the place of files that an engine wrote, if there are such.
    pub(super) fn new(bound: &'a BoundJob<'a>, turns: &'a Turns, replaced: Vec<Object>) -> Self {
        DateOutput {
            replaced,
            #[cfg(feature = "spark")]
            folder: None,
            job: bound.job,
            turns,
            date: bound.date,
            path: &bound.output,
            begun: None,
            sources: Vec::new(),
        }
    }

    /// The columns that the output has, if its rows have these.
    ///
    /// # Errors
    /// A refusal of columns that have other types in other outputs of the job.
    pub(super) fn admit(&self, schema: &SchemaRef) -> Result<AdmittedColumns> {
        let columns = PathColumns::of(schema, &self.job.layout, self.date);
        let admitted = self.turns.admit(columns.schema(), self.date);
        let schema = admitted.map_err(|clash| refusal(&clash, &self.sources, &self.job.work))?;
        Ok(AdmittedColumns { columns, schema })
    }

    /// Begins the object, unless it is begun.
    ///
    /// # Errors
    /// As [`DateOutput::admit`]; a failure to write.
    pub(super) fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.begun.is_some() {
            return Ok(());
        }
        let AdmittedColumns {
            columns,
            schema: admitted,
        } = self.admit(schema)?;
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
        #[cfg(feature = "spark")]
        if let Some(folder) = &self.folder {
            return folder.left_to_path.clone();
        }
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
    pub(super) fn publish(mut self, bound: &BoundJob<'_>) -> Result<(u64, SchemaRef)> {
        #[cfg(feature = "spark")]
        if let Some(folder) = self.folder.take() {
            return self.publish_folder(bound, folder);
        }
        let Some(begun) = self.begun.take() else {
            return Err(Error::internal("there was nothing to write"));
        };
        let rows = begun.writer.rows();
        let footer = self.footer(bound, rows);
        begun.writer.finish(&Footer::new(Content::Output(footer)))?;
        uninterrupted(|| {
            self.remove_replaced()?;
            begun.staged.publish_over()?;
            let path = self.job.path(self.date);
            published(&self.job.name, Some(self.date), path.as_local());
            Ok::<(), Error>(())
        })?;
        Ok((rows, begun.schema))
    }

    fn footer(&self, bound: &BoundJob<'_>, rows: u64) -> OutputFooter {
        OutputFooter {
            job_name: self.job.name.clone(),
            date: self.date,
            rows,
            inputs: bound.inputs.clone(),
            made_by: None,
            asof_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Removes the files of an engine that the output replaces. What says what they are goes last,
    /// so that the date counts as missing until the output is published.
    fn remove_replaced(&self) -> Result<()> {
        match self.path.parent() {
            Some(folder) if !self.replaced.is_empty() => remove_files(&folder, &self.replaced),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "spark")]
impl DateOutput<'_> {
    /// Takes the files that an engine wrote for the output.
    pub(super) fn take_folder(&mut self, folder: WrittenFolder) {
        self.folder = Some(folder);
    }

    /// Removes what the files replace, and then says beside them what they are.
    fn publish_folder(
        &self,
        bound: &BoundJob<'_>,
        written: WrittenFolder,
    ) -> Result<(u64, SchemaRef)> {
        let folder = self.path.parent();
        let folder = folder.ok_or_else(|| Error::internal("the output has no folder"))?;
        let rows = written.files.iter().map(|(_, rows)| rows).sum();
        let mut files: Vec<RecordedFile> = written.files.iter().map(recorded_file).collect();
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let record = FolderRecord {
            format_version: VERSION,
            engine: written.engine,
            output: self.footer(bound, rows),
            columns: write_schema(&written.schema),
            files,
        };
        uninterrupted(|| {
            self.remove_replaced()?;
            self.path.remove()?;
            record.publish(&folder)?;
            published(&self.job.name, Some(self.date), folder.as_local());
            Ok::<(), Error>(())
        })?;
        if record.is_of(&self.job.standing(self.date)?) {
            return Ok((rows, written.schema));
        }
        let what = format!(
            "another run wrote the output of {} at the same time",
            self.date
        );
        Err(Error::conflict(what).hint("run the same command again"))
    }
}

#[cfg(feature = "spark")]
fn recorded_file((file, rows): &(Object, u64)) -> RecordedFile {
    RecordedFile {
        name: file.location.name(),
        size: file.size,
        rows: *rows,
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
