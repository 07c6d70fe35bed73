//! A table as the files that other programs export.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::json::writer::{LineDelimited, Writer, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;

use crate::table::{Shape, Table, keys};
use crate::{Result, date_of, mix, on_all_cores};

/// Rows made at a time, and in a row group.
const PIECE: usize = 131_072;
/// The salt of the order of shuffled rows.
const ORDER: u64 = 1 << 44;

/// Writes `sorted` and `unsorted`, each with a file in each format for each day.
pub(crate) fn write(folder: &Path, days: u16, rows: u64) -> Result {
    let sorted: Vec<u64> = (0..keys(rows)).collect();
    let mut unsorted = sorted.clone();
    unsorted.sort_by_cached_key(|key| mix(*key, ORDER));
    for (name, order) in [("sorted", sorted), ("unsorted", unsorted)] {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        on_all_cores(days, |mut range| {
            range.try_for_each(|day| {
                let table = Table::on_day(Shape::Source, rows, day)?;
                let mut files = Files::create(&folder, day, &table.batch([])?.schema())?;
                for piece in order.chunks(PIECE) {
                    files.write(&table.batch(piece.iter().copied())?)?;
                }
                files.finish()
            })
        })?;
    }
    Ok(())
}

/// The files of a day.
struct Files {
    csv: csv::Writer<File>,
    ndjson: Writer<BufWriter<File>, LineDelimited>,
    parquet: ArrowWriter<File>,
}

impl Files {
    fn create(folder: &Path, day: u16, schema: &Schema) -> Result<Self> {
        let create = |ending| File::create(folder.join(format!("{}.{ending}", date_of(day))));
        let mut csv = csv::Writer::from_writer(create("csv")?);
        csv.write_record(schema.fields().iter().map(|field| field.name()))?;
        Ok(Files {
            csv,
            ndjson: WriterBuilder::new()
                .with_explicit_nulls(true)
                .build(BufWriter::new(create("ndjson")?)),
            parquet: ArrowWriter::try_new(
                create("parquet")?,
                schema.clone().into(),
                Some(crate::properties(PIECE)?),
            )?,
        })
    }

    fn write(&mut self, rows: &RecordBatch) -> Result {
        let options = FormatOptions::default();
        let columns = rows
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..rows.num_rows() {
            let fields = columns.iter().map(|column| column.value(row).to_string());
            self.csv.write_record(fields)?;
        }
        self.ndjson.write(rows)?;
        self.parquet.write(rows)?;
        Ok(())
    }

    fn finish(mut self) -> Result {
        self.csv.flush()?;
        self.ndjson.finish()?;
        self.parquet.close()?;
        Ok(())
    }
}
