//! Splitting rows by date into a temporary folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use chrono::NaiveDate;

use super::{DateColumn, LAYOUT};
use crate::domain::digest::RowSum;
use crate::engine::digests::row_digests;
use crate::error::{Context, Result};
use crate::model::DateRange;
use crate::storage::Batches;

/// Rows on their way into the folders of their dates.
pub(super) struct Splitter<'a> {
    pub(super) column: &'a DateColumn,
    pub(super) range: Option<DateRange>,
    /// The index of the date column.
    pub(super) at: usize,
    /// The indices of the columns that stay.
    pub(super) kept: Vec<usize>,
    /// Those columns.
    pub(super) schema: SchemaRef,
    pub(super) place: &'a str,
    pub(super) folder: &'a Path,
    pub(super) chunks: usize,
    pub(super) nulls: u64,
    /// The rows of each date, if they are wanted.
    pub(super) sums: Option<BTreeMap<NaiveDate, RowSum>>,
}

impl Splitter<'_> {
    /// Splits batches, of which about `chunk` bytes are held.
    pub(super) fn run(&mut self, batches: Batches, chunk: usize) -> Result<()> {
        let (mut held, mut days, mut bytes): (Vec<RecordBatch>, Vec<i32>, usize) =
            (Vec::new(), Vec::new(), 0);
        for batch in batches {
            let batch = batch?;
            let of_batch = self.column.days(batch.column(self.at), self.place)?;
            self.nulls += of_batch.null_count() as u64;
            if self.nulls > 0 {
                // Nothing will come of it: only the nulls are still counted.
                held.clear();
                continue;
            }
            days.extend(of_batch.values().iter());
            bytes += batch.get_array_memory_size();
            held.push(
                batch
                    .project(&self.kept)
                    .io_context(|| "cannot leave out the date column".into())?,
            );
            if bytes >= chunk {
                self.write(&held, &days)?;
                held.clear();
                days.clear();
                bytes = 0;
            }
        }
        self.column.refuse_nulls(self.nulls, self.place)?;
        if held.is_empty() {
            Ok(())
        } else {
            self.write(&held, &days)
        }
    }

    /// Writes a chunk as one file for each of its days.
    fn write(&mut self, held: &[RecordBatch], days: &[i32]) -> Result<()> {
        let doing = || "cannot split rows by date in the temporary folder (TMPDIR)".to_owned();
        let rows = concat_batches(&self.schema, held).temporary_context(doing)?;
        let mut order: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (row, day) in (0..).zip(days) {
            order.entry(*day).or_default().push(row);
        }
        for (day, of_day) in order {
            let date = self.column.date(day, self.place)?;
            if self.range.is_some_and(|range| !range.contains(date)) {
                continue;
            }
            let folder = self.folder.join(date.format(LAYOUT).to_string());
            std::fs::create_dir_all(&folder).temporary_context(doing)?;
            let file = File::create(folder.join(format!("{:06}.arrow", self.chunks)))
                .temporary_context(doing)?;
            let options = IpcWriteOptions::default()
                .try_with_compression(Some(arrow::ipc::CompressionType::LZ4_FRAME))
                .temporary_context(doing)?;
            let mut writer =
                FileWriter::try_new_with_options(BufWriter::new(file), &self.schema, options)
                    .temporary_context(doing)?;
            for part in of_day.chunks(ROWS) {
                let part = take_record_batch(&rows, &UInt32Array::from(part.to_vec()))
                    .temporary_context(doing)?;
                if let Some(sums) = &mut self.sums {
                    let columns = self
                        .schema
                        .fields()
                        .iter()
                        .map(|field| field.name().as_str());
                    sums.entry(date)
                        .or_default()
                        .add(&row_digests(&part, columns)?);
                }
                writer.write(&part).temporary_context(doing)?;
            }
            writer.finish().temporary_context(doing)?;
        }
        self.chunks += 1;
        Ok(())
    }
}

/// Removes what killed processes left more than a day ago. Nothing is said of a failure.
pub(super) fn sweep_temporary() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
    {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > DAY) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// How the names of temporary folders begin.
pub(super) const PREFIX: &str = "asof-dates-";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The rows of one batch of a split file.
const ROWS: usize = 8192;
