//! The file that `show`, `history` and `diff` write rows to: Parquet, CSV or JSON lines, by its
//! ending.
//!
//! It is written under a hidden name, and published when it is whole, in the place of a file of that
//! name. It may not lie where it would be taken for a table or for events.

use std::fs::File;
use std::io::{BufWriter, Write};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Workspace;
use super::forbidden_places::Destination;
use crate::engine::intervals::Intervals;
use crate::error::{Context, Error, Result};
use crate::storage::lake::commit::{Staged, sweep};
use crate::storage::lake::location::Location;
use crate::storage::parquet::object::BATCH_ROWS;

/// A file to write, and in which format.
pub(super) struct OutTarget {
    path: Location,
    format: OutFormat,
}

#[derive(Clone, Copy)]
enum OutFormat {
    Parquet,
    Csv,
    Ndjson,
}

impl OutTarget {
    /// The file of a name, by whose ending the format is known.
    ///
    /// # Errors
    /// A usage error for another ending.
    pub(super) fn parse(workspace: &Workspace<'_>, out: &str) -> Result<Self> {
        let path = workspace.here(out)?;
        let format = match path.ending().as_str() {
            "parquet" => OutFormat::Parquet,
            "csv" => OutFormat::Csv,
            "ndjson" | "jsonl" => OutFormat::Ndjson,
            _ => {
                return Err(Error::usage(format!(
                    "the name of '{out}' does not have the ending of a format that asof writes"
                ))
                .hint("--out FILE.parquet, FILE.csv or FILE.ndjson"));
            }
        };
        Ok(OutTarget { path, format })
    }

    /// How the user is told the file's name.
    pub(super) fn shown(&self, workspace: &Workspace<'_>) -> String {
        workspace.shown(&self.path)
    }

    /// Refuses a place where the file would be taken for a table or for events, and removes what
    /// interrupted writers left there. `root` is that of the table's copies.
    ///
    /// # Errors
    /// A usage error.
    pub(super) fn prepare(
        &self,
        workspace: &Workspace<'_>,
        intervals: Option<&Intervals>,
        root: &Location,
    ) -> Result<()> {
        const ELSEWHERE: &str = "--out FILE, in another folder";
        let is_intervals = intervals
            .is_some_and(|intervals| intervals.location().resolved() == self.path.resolved());
        let in_lake = match workspace.has_lake() {
            true => self.path.is_within(workspace.lake()?.root()),
            false => false,
        };
        if is_intervals || in_lake || self.path.is_within(root) {
            return Err(Error::usage(format!(
                "'{}' is inside the lake, where tables are kept",
                self.path
            ))
            .hint(ELSEWHERE));
        }
        let destination = Destination {
            place: &self.path,
            object: &self.path,
            what: "the file",
            hint: ELSEWHERE,
        };
        destination.check_external(workspace)?;
        destination.check_configured_events(workspace)?;
        if let Some(folder) = self.path.parent() {
            sweep(&folder, workspace.clock.now());
        }
        Ok(())
    }
}

/// A file on its way.
pub(super) struct OutFile {
    staged: Staged,
    path: Location,
    sink: RowsWriter,
}

enum RowsWriter {
    Parquet(Box<ArrowWriter<File>>, BatchCoalescer),
    Csv(Box<csv::Writer<File>>),
    Ndjson(arrow::json::Writer<BufWriter<File>, LineDelimited>),
}

impl OutFile {
    /// Begins to write.
    ///
    /// # Errors
    /// A refusal of columns that the format cannot hold; a failure to write.
    pub(super) fn create(target: &OutTarget, schema: &SchemaRef) -> Result<Self> {
        let staged = Staged::create(&target.path)?;
        let file = staged.writer()?;
        let sink = match target.format {
            OutFormat::Parquet => parquet_sink(file, schema, &target.path)?,
            OutFormat::Csv => {
                let mut writer = csv::Writer::from_writer(file);
                writer
                    .write_record(schema.fields().iter().map(|field| field.name()))
                    .io_context(|| cannot_write(&target.path))?;
                RowsWriter::Csv(Box::new(writer))
            }
            OutFormat::Ndjson => RowsWriter::Ndjson(
                WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build(BufWriter::new(file)),
            ),
        };
        Ok(OutFile {
            staged,
            path: target.path.clone(),
            sink,
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// A failure to write.
    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let doing = || cannot_write(&self.path);
        match &mut self.sink {
            RowsWriter::Parquet(writer, pieces) => {
                pieces.push_batch(batch).io_context(doing)?;
                while let Some(piece) = pieces.next_completed_batch() {
                    writer.write(&piece).io_context(doing)?;
                }
                Ok(())
            }
            RowsWriter::Csv(writer) => write_csv(writer, &batch).io_context(doing),
            RowsWriter::Ndjson(writer) => writer.write(&batch).io_context(doing),
        }
    }

    /// Publishes the file, in the place of one that is there.
    ///
    /// # Errors
    /// A failure to write.
    pub(super) fn publish(self) -> Result<()> {
        let doing = || cannot_write(&self.path);
        match self.sink {
            RowsWriter::Parquet(mut writer, mut pieces) => {
                pieces.finish_buffered_batch().io_context(doing)?;
                while let Some(piece) = pieces.next_completed_batch() {
                    writer.write(&piece).io_context(doing)?;
                }
                writer.finish().io_context(doing)?;
            }
            RowsWriter::Csv(mut writer) => writer.flush().io_context(doing)?,
            RowsWriter::Ndjson(mut writer) => {
                writer.finish().io_context(doing)?;
                writer.into_inner().flush().io_context(doing)?;
            }
        }
        self.staged.publish_over().map(|_| ())
    }
}

fn cannot_write(path: &Location) -> String {
    format!("cannot write '{path}'")
}

fn parquet_sink(file: File, schema: &SchemaRef, path: &Location) -> Result<RowsWriter> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("asof ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .build();
    let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
        .map_err(|error| Error::refused(format!("'{path}' cannot hold these columns: {error}")))?;
    Ok(RowsWriter::Parquet(
        Box::new(writer),
        BatchCoalescer::new(schema.clone(), BATCH_ROWS),
    ))
}

/// Appends rows; null is the empty field.
fn write_csv(
    writer: &mut csv::Writer<File>,
    batch: &RecordBatch,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options = FormatOptions::default();
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        for column in &columns {
            writer.write_field(column.value(row).try_to_string()?)?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    Ok(())
}
