//! INT96, the timestamps of Spark, Impala and Hive: a Julian day and the nanoseconds of the day.
//!
//! They reach further than 64 bits of nanoseconds, which end in 2262. So a column is read in
//! microseconds, unless one of its values has digits below them. The values alone tell: statistics
//! of INT96 are not reliable.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use bytes::{Buf, Bytes};
use chrono::DateTime;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::Int96;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::error::{Error, Result};
use crate::storage::lake::read::ObjectReader;
use crate::storage::parquet::BATCH_ROWS;

const JULIAN_DAY_OF_EPOCH: i128 = 2_440_588;
const NANOS_IN_DAY: i128 = 86_400_000_000_000;

/// The units in which the INT96 columns of a file are read, by the position of the column among all
/// leaves. Decodes those columns.
///
/// # Errors
/// A refusal that names a column and a value that its unit cannot hold; a failure to read.
pub(crate) fn units(
    metadata: &ParquetMetaData,
    reader: &ObjectReader,
    damaged: &dyn Fn(&ParquetError) -> Error,
) -> Result<BTreeMap<usize, TimeUnit>> {
    let leaves = metadata.file_metadata().schema_descr().columns();
    let mut units = BTreeMap::new();
    for (leaf, column) in leaves
        .iter()
        .enumerate()
        .filter(|(_, column)| column.physical_type() == Type::INT96)
    {
        let mut seen = ColumnNeeds::default();
        for group in metadata.row_groups() {
            let chunk = group.column(leaf);
            let (start, length) = chunk.byte_range();
            let bytes = reader
                .fetch(std::slice::from_ref(&(start..start.saturating_add(length))))?
                .pop()
                .unwrap_or_default();
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let pages =
                SerializedPageReader::new(Arc::new(Chunk { start, bytes }), chunk, rows, None)
                    .map_err(|error| damaged(&error))?;
            seen.read(get_column_reader(column.clone(), Box::new(pages)))
                .map_err(|error| damaged(&error))?;
        }
        let unit = seen.unit().map_err(|why| {
            Error::refused(format!(
                "'{}', column '{}': {why}",
                reader.location(),
                column.path().string()
            ))
        })?;
        units.insert(leaf, unit);
    }
    Ok(units)
}

/// The schema with the units of some of its leaves replaced.
pub(crate) fn with_units(schema: &Schema, units: &BTreeMap<usize, TimeUnit>) -> Schema {
    let mut leaf = 0;
    Schema::new_with_metadata(
        fields(schema.fields(), units, &mut leaf),
        schema.metadata().clone(),
    )
}

fn fields(all: &Fields, units: &BTreeMap<usize, TimeUnit>, leaf: &mut usize) -> Fields {
    all.iter()
        .map(|field| one_field(field, units, leaf))
        .collect()
}

fn one_field(
    field: &Arc<Field>,
    units: &BTreeMap<usize, TimeUnit>,
    leaf: &mut usize,
) -> Arc<Field> {
    use DataType as T;
    let data_type = match field.data_type() {
        T::Struct(all) => T::Struct(fields(all, units, leaf)),
        T::List(item) => T::List(one_field(item, units, leaf)),
        T::LargeList(item) => T::LargeList(one_field(item, units, leaf)),
        T::ListView(item) => T::ListView(one_field(item, units, leaf)),
        T::LargeListView(item) => T::LargeListView(one_field(item, units, leaf)),
        T::FixedSizeList(item, size) => T::FixedSizeList(one_field(item, units, leaf), *size),
        T::Map(entries, sorted) => T::Map(one_field(entries, units, leaf), *sorted),
        data_type => {
            *leaf += 1;
            match (data_type, units.get(&(*leaf - 1))) {
                (T::Timestamp(_, zone), Some(unit)) => T::Timestamp(*unit, zone.clone()),
                _ => data_type.clone(),
            }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// What the values of a column need.
#[derive(Default)]
struct ColumnNeeds {
    has_nanos: bool,
    /// The first value that nanoseconds cannot hold, in nanoseconds.
    beyond_nanos: Option<i128>,
    /// The first value that microseconds cannot hold, in nanoseconds.
    beyond_micros: Option<i128>,
}

impl ColumnNeeds {
    fn read(&mut self, reader: ColumnReader) -> Result<(), ParquetError> {
        let ColumnReader::Int96ColumnReader(mut reader) = reader else {
            return Ok(());
        };
        let mut definitions = Vec::new();
        let mut repetitions = Vec::new();
        let mut values = Vec::new();
        loop {
            definitions.clear();
            repetitions.clear();
            values.clear();
            let (records, _, levels) = reader.read_records(
                BATCH_ROWS,
                Some(&mut definitions),
                Some(&mut repetitions),
                &mut values,
            )?;
            values.iter().for_each(|value| self.take(value));
            if records == 0 && levels == 0 {
                return Ok(());
            }
        }
    }

    fn take(&mut self, value: &Int96) {
        let [low, high, day] = *value.data() else {
            return;
        };
        let of_day = i64::from(high) << 32 | i64::from(low);
        let nanos = (i128::from(day.cast_signed()) - JULIAN_DAY_OF_EPOCH) * NANOS_IN_DAY
            + i128::from(of_day);
        self.has_nanos |= nanos % 1000 != 0;
        if i64::try_from(nanos).is_err() {
            self.beyond_nanos.get_or_insert(nanos);
        }
        if i64::try_from(nanos.div_euclid(1000)).is_err() {
            self.beyond_micros.get_or_insert(nanos);
        }
    }

    fn unit(&self) -> Result<TimeUnit, String> {
        match (self.has_nanos, self.beyond_nanos, self.beyond_micros) {
            (_, _, Some(value)) => Err(format!(
                "{} is outside of the years that a timestamp can hold",
                shown(value)
            )),
            (true, Some(value), None) => Err(format!(
                "{} is outside of 1677 to 2262, the years of timestamps with nanoseconds, which \
                 other values have",
                shown(value)
            )),
            (true, None, None) => Ok(TimeUnit::Nanosecond),
            (false, _, None) => Ok(TimeUnit::Microsecond),
        }
    }
}

/// A time as errors show it.
fn shown(nanos: i128) -> String {
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok();
    let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, rest));
    time.map_or_else(
        || format!("a time {} days from 1970", nanos / NANOS_IN_DAY),
        |time| time.naive_utc().to_string(),
    )
}

/// The bytes of one column of a row group.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, position: u64) -> parquet::errors::Result<Bytes> {
        let at = position
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..)).ok_or_else(|| {
            ParquetError::EOF(format!("a page at {position} is outside of its column"))
        })
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!(
                "a page at {start} is outside of its column"
            )));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{TimestampMicrosecondType, TimestampNanosecondType};
    use parquet::data_type::Int96Type;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::storage::lake::location::Location;
    use crate::storage::parquet::object::ParquetObject;

    /// Microseconds since 1970 and nanoseconds beside them, as INT96.
    fn int96(micros: i128, nanos: i128) -> Int96 {
        let all = micros * 1000 + nanos;
        let of_day = u64::try_from(all.rem_euclid(NANOS_IN_DAY)).expect("a time of day");
        let day = u32::try_from(all.div_euclid(NANOS_IN_DAY) + JULIAN_DAY_OF_EPOCH).expect("a day");
        Int96::from(vec![
            (of_day & 0xffff_ffff) as u32,
            (of_day >> 32) as u32,
            day,
        ])
    }

    fn opened(groups: &[&[Int96]]) -> Result<(DataType, Vec<i64>)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let schema =
            Arc::new(parse_message_type("message m { required int96 at; }").expect("a schema"));
        let mut writer = SerializedFileWriter::new(
            std::fs::File::create(&path).expect("a file"),
            schema,
            Default::default(),
        )
        .expect("a writer");
        for values in groups {
            let mut group = writer.next_row_group().expect("a group");
            let mut column = group.next_column().expect("a column").expect("a column");
            column
                .typed::<Int96Type>()
                .write_batch(values, None, None)
                .expect("written");
            column.close().expect("closed");
            group.close().expect("closed");
        }
        writer.close().expect("closed");
        let object = ParquetObject::open(&Location::local(&path))?;
        let mut all = Vec::new();
        for batch in object.read(None)? {
            let column = batch?.column(0).clone();
            all.extend(match column.data_type() {
                DataType::Timestamp(TimeUnit::Nanosecond, _) => column
                    .as_primitive::<TimestampNanosecondType>()
                    .values()
                    .to_vec(),
                _ => column
                    .as_primitive::<TimestampMicrosecondType>()
                    .values()
                    .to_vec(),
            });
        }
        Ok((object.schema().field(0).data_type().clone(), all))
    }

    const YEAR_1: i128 = -62_135_596_800_000_000;
    const YEAR_9999: i128 = 253_402_300_799_000_000;

    #[test]
    fn microseconds_hold_every_year() {
        let (data_type, values) =
            opened(&[&[int96(YEAR_1, 0), int96(-1, 0)], &[int96(YEAR_9999, 0)]]).expect("it opens");
        assert_eq!(data_type, DataType::Timestamp(TimeUnit::Microsecond, None));
        assert_eq!(
            values
                .iter()
                .map(|value| i128::from(*value))
                .collect::<Vec<_>>(),
            [YEAR_1, -1, YEAR_9999]
        );
    }

    #[test]
    fn digits_below_microseconds_are_kept_or_refused() {
        let (data_type, values) = opened(&[&[int96(-5, 0)], &[int96(7, 1)]]).expect("it opens");
        assert_eq!(
            (data_type, values),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, None),
                vec![-5000, 7001]
            )
        );
        let error =
            opened(&[&[int96(YEAR_9999, 0)], &[int96(7, 1)]]).expect_err("no unit holds both");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(
            error
                .to_string()
                .contains("column 'at': 9999-12-31 23:59:59 is outside of 1677 to 2262"),
            "{error}"
        );
        let error =
            opened(&[&[Int96::from(vec![0, 0, 0x7fff_ffff])]]).expect_err("too late for any unit");
        assert!(
            error
                .to_string()
                .contains("column 'at': a time 2145043059 days from 1970 is outside"),
            "{error}"
        );
    }
}
