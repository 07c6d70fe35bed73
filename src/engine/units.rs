//! The unit of timestamps that a table's snapshots have in several units.
//!
//! Nanoseconds reach from 1677 to 2262, microseconds much further, and neither holds every value of
//! the other. A column that some snapshots have in nanoseconds and others in a coarser unit, or as
//! dates, is read in nanoseconds if every value fits, else in microseconds if every value does, and
//! is refused otherwise. So the unit depends on the values alone, and not on the order of the
//! snapshots. Values are looked at only where units differ, and the statistics of a Parquet object
//! spare reading most of them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;

use super::intervals::Intervals;
use super::table::SnapshotTable;
use crate::domain::canonical_types::in_microseconds;
use crate::domain::cast::cast_exactly;
use crate::domain::schema::declaration;
use crate::domain::widening::widen;
use crate::error::{Context, Error, Kind, Result};
use crate::model::TableName;
use crate::storage::Batches;
use crate::storage::lake::location::Object;
use crate::storage::parquet::object::ParquetObject;

/// Says why a column's values do not fit a type; nothing if they do.
type MisfitTest<'a> = Box<dyn Fn(&str, &DataType) -> Result<Option<String>> + 'a>;

/// The values of one snapshot, or of the intervals that are resumed.
pub struct UnitSource<'a> {
    /// The date of the snapshot.
    pub date: NaiveDate,
    /// Its columns.
    pub schema: SchemaRef,
    /// Looks at the values of a column.
    pub misfit: MisfitTest<'a>,
}

impl<'a> UnitSource<'a> {
    /// A Parquet object; `schema` has its columns in the types that they are read in.
    pub fn of_object(date: NaiveDate, schema: &SchemaRef, object: &'a ParquetObject) -> Self {
        let misfit = move |column: &str, to: &DataType| {
            if fits_by_statistics(object, column, to) {
                return Ok(None);
            }
            first_misfit(object.read(Some(&[column.to_owned()]))?, column, to)
        };
        UnitSource {
            date,
            schema: schema.clone(),
            misfit: Box::new(misfit),
        }
    }

    /// A snapshot in any format; `schema` has its columns.
    pub fn of_snapshot(
        table: &'a SnapshotTable,
        date: NaiveDate,
        objects: &'a [Object],
        schema: &SchemaRef,
    ) -> Self {
        let pinned = schema.clone();
        UnitSource::of_rows(date, schema, move |columns| {
            table
                .open(date, objects, Some(&pinned))?
                .read(Some(columns))
        })
    }

    /// Rows of which the named columns can be read, again and again; `schema` has their columns.
    pub fn of_rows(
        date: NaiveDate,
        schema: &SchemaRef,
        read: impl Fn(&[String]) -> Result<Batches> + 'a,
    ) -> Self {
        let misfit = move |column: &str, to: &DataType| {
            first_misfit(read(&[column.to_owned()])?, column, to)
        };
        UnitSource {
            date,
            schema: schema.clone(),
            misfit: Box::new(misfit),
        }
    }

    /// The rows of intervals that begin no later than a date.
    pub fn of_intervals(intervals: &'a Intervals, last: NaiveDate) -> Self {
        let misfit = move |column: &str, to: &DataType| {
            if fits_by_statistics(intervals.object(), column, to) {
                return Ok(None);
            }
            let rows = intervals
                .read(Some(&[column.to_owned()]))?
                .map(move |batch| {
                    let batch = batch?;
                    let kept = batch
                        .intervals
                        .iter()
                        .map(|interval| Some(interval.start <= last))
                        .collect();
                    filter_record_batch(&batch.rows, &kept)
                        .io_context(|| "cannot select rows".into())
                });
            first_misfit(Box::new(rows), column, to)
        };
        UnitSource {
            date: last,
            schema: intervals.table_schema(),
            misfit: Box::new(misfit),
        }
    }
}

/// Whether the least and the greatest values tell that all fit a type, as they do where no digits
/// may be lost.
fn fits_by_statistics(object: &ParquetObject, column: &str, to: &DataType) -> bool {
    let fits = |ends: &ArrayRef| {
        widen(ends.data_type(), to).as_ref() == Some(to) && cast_exactly(ends, to, column).is_ok()
    };
    object
        .value_range(column)
        .is_some_and(|range| range.iter().all(fits))
}

fn first_misfit(rows: Batches, column: &str, to: &DataType) -> Result<Option<String>> {
    for batch in rows {
        let batch = batch?;
        let Some(values) = batch.column_by_name(column) else {
            continue;
        };
        match cast_exactly(values, to, column) {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Refused => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The columns of `wide` in units that hold the values of all sources.
///
/// # Errors
/// A refusal that names the values of a column that no unit holds; a failure or refusal of reading
/// values.
pub fn settle(
    table: &TableName,
    wide: &SchemaRef,
    sources: &[UnitSource<'_>],
) -> Result<SchemaRef> {
    let mut fields: Vec<_> = wide.fields().iter().cloned().collect();
    for field in &mut fields {
        let name = field.name().clone();
        let nanoseconds = field.data_type().clone();
        let microseconds = in_microseconds(&nanoseconds);
        let own = |source: &UnitSource<'_>| {
            source
                .schema
                .field_with_name(&name)
                .ok()
                .map(|field| field.data_type().clone())
        };
        let differs = |source: &&UnitSource<'_>| {
            own(source).is_some_and(|own| own != nanoseconds && own != DataType::Null)
        };
        if microseconds == nanoseconds || !sources.iter().any(|source| differs(&source)) {
            continue;
        }
        let misfit = |to: &DataType| -> Result<Option<String>> {
            for source in sources
                .iter()
                .filter(|source| own(source).is_some_and(|own| own != *to && own != DataType::Null))
            {
                if let Some(why) = (source.misfit)(&name, to)? {
                    return Ok(Some(format!("{}: {why}", source.date)));
                }
            }
            Ok(None)
        };
        let Some(beyond) = misfit(&nanoseconds)? else {
            continue;
        };
        if let Some(below) = misfit(&microseconds)? {
            let error = Error::refused(format!(
                "table {table}: no unit holds every timestamp of column '{name}': {beyond}; {below}"
            ));
            return Err(error.hint(declaration(table.as_str(), &[(name, DataType::Utf8)])));
        }
        *field = Arc::new(field.as_ref().clone().with_data_type(microseconds));
    }
    Ok(Arc::new(Schema::new_with_metadata(
        fields,
        wide.metadata().clone(),
    )))
}
