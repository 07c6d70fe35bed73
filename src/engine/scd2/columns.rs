//! The columns of an SCD type 2 table: when each version holds, what marks it, and its attributes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use chrono_tz::Tz;

use crate::domain::cast::display;
use crate::domain::days::{from_days, to_days};
use crate::domain::missing_column::names_missing_column;
use crate::domain::scd2::{Scd2Shape, VersionTime};
use crate::domain::type_names::type_name;
use crate::engine::dated::day_of;
use crate::error::{Context, Error, Result, listed, shorten, word};

/// Nanoseconds in a second, and in a day.
const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// Which columns of a table tell what.
#[derive(Debug)]
pub struct Scd2Columns {
    /// How versions are written, with the names that the table's columns have.
    shape: Scd2Shape,
    /// The time zone of days.
    zone: Tz,
    /// The key.
    pub(super) key: Vec<String>,
    /// Where the attributes of rows are.
    attributes: Vec<usize>,
    /// The attributes of rows.
    table: SchemaRef,
    /// Whether beginnings and ends are dates.
    are_dates: bool,
    /// Whether they have a time zone, or are known to be in UTC.
    are_instants: bool,
}

/// The time of a row; nothing without a beginning.
pub(super) type RowTime = Option<VersionTime>;

impl Scd2Columns {
    /// Finds the columns. A name in another case is found too: some warehouses change it.
    ///
    /// # Errors
    /// A usage error for a column that is not there or of a type that has no days, and for a key
    /// that is not an attribute.
    pub fn of(
        schema: &Schema,
        shape: &Scd2Shape,
        zone: Tz,
        key: &[String],
        what: &str,
    ) -> Result<Self> {
        let shape = named(schema, shape, what)?;
        let own = |name: &str| {
            let marks = [&shape.deleted_column, &shape.current_column];
            name == shape.start_column
                || name == shape.end_column
                || marks.into_iter().flatten().any(|mark| mark == name)
                || shape.left_out.iter().any(|left_out| left_out == name)
        };
        for name in key {
            if schema.field_with_name(name).is_err() {
                return Err(names_missing_column(
                    "the key needs the",
                    name,
                    schema,
                    what,
                ));
            }
            if own(name) {
                let error = Error::usage(format!(
                    "{what}: column '{name}' tells of versions, and cannot be in the key of the \
                     table"
                ));
                return Err(error.hint("--key COLUMN[,COLUMN], the key of the table's source"));
            }
        }
        let attributes = (0..schema.fields().len()).filter(|at| !own(schema.field(*at).name()));
        let attributes: Vec<usize> = attributes.collect();
        let table = schema
            .project(&attributes)
            .internal_context(|| "cannot choose columns".into())?;
        let (are_dates, are_instants) = check_types(schema, &shape, what)?;
        Ok(Scd2Columns {
            zone,
            key: key.to_owned(),
            attributes,
            table: Arc::new(table),
            are_dates,
            are_instants,
            shape,
        })
    }

    /// How versions are written, with the names that the columns have here.
    pub fn shape(&self) -> &Scd2Shape {
        &self.shape
    }

    /// The attributes of rows.
    pub fn table(&self) -> &SchemaRef {
        &self.table
    }

    /// Whether days depend on the time zone.
    pub fn depends_on_zone(&self) -> bool {
        self.are_instants
    }

    /// The columns by which versions are sorted. A column without values has no order.
    pub(super) fn order(&self, schema: &Schema) -> Vec<String> {
        let times = [&self.shape.start_column, &self.shape.end_column];
        let has_values = |name: &&&String| {
            let field = schema.field_with_name(name);
            field.is_ok_and(|field| field.data_type() != &DataType::Null)
        };
        let times = times.iter().filter(has_values).map(|name| (*name).clone());
        self.key.iter().cloned().chain(times).collect()
    }

    /// The attributes of rows.
    pub(super) fn attributes(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        batch
            .project(&self.attributes)
            .internal_context(|| "cannot choose columns".into())
    }

    /// When each version holds.
    ///
    /// # Errors
    /// A refusal of an instant beyond the calendar.
    pub(super) fn times(&self, batch: &RecordBatch) -> Result<Vec<RowTime>> {
        let Scd2Shape {
            start_column,
            end_column,
            ..
        } = &self.shape;
        let starts = self.instants(batch, start_column)?;
        let ends = self.instants(batch, end_column)?;
        let rows = starts.into_iter().zip(ends).enumerate();
        rows.map(|(row, (start, end))| {
            let Some(start) = start else { return Ok(None) };
            let is_open =
                |end: &i128| end.div_euclid(DAY) >= i128::from(to_days(self.shape.open_from));
            let is_unknown = self.shape.epoch_is_unknown && start == 0;
            let start_day = match is_unknown {
                true => i32::MIN,
                false => self.day(start, batch, start_column, row)?,
            };
            let after = end.filter(|end| !is_open(end)).map(|end| self.after(end));
            let after_day = after.map(|after| self.day(after, batch, end_column, row));
            Ok(Some(VersionTime {
                start,
                after,
                start_day,
                after_day: after_day.transpose()?,
            }))
        })
        .collect()
    }

    /// The first instant after a version with an end.
    fn after(&self, end: i128) -> i128 {
        match self.are_dates {
            true => i128::from(self.shape.end.day_after(days_of(end))) * DAY,
            false => self.shape.end.after(end),
        }
    }

    /// The values of a column of dates or timestamps, in nanoseconds.
    fn instants(&self, batch: &RecordBatch, name: &str) -> Result<Vec<Option<i128>>> {
        let failed = || format!("column '{name}'");
        let Some(column) = batch.column_by_name(name) else {
            return Err(Error::internal(format!("there is no column '{name}'")));
        };
        let factor = match column.data_type() {
            DataType::Null => return Ok(vec![None; batch.num_rows()]),
            DataType::Timestamp(TimeUnit::Second, _) => SECOND,
            DataType::Timestamp(TimeUnit::Millisecond, _) => SECOND / 1_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => SECOND / 1_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
            _ => {
                let days = column.as_primitive::<Date32Type>();
                let instant = |day: Option<i32>| day.map(|day| i128::from(day) * DAY);
                return Ok(days.iter().map(instant).collect());
            }
        };
        let numbers = cast(column, &DataType::Int64).io_context(failed)?;
        let numbers = numbers.as_primitive::<Int64Type>().iter();
        Ok(numbers
            .map(|number| number.map(|number| i128::from(number) * factor))
            .collect())
    }

    /// The day at which an instant lies.
    fn day(&self, instant: i128, batch: &RecordBatch, name: &str, row: usize) -> Result<i32> {
        let zone = self.are_instants.then_some(self.zone);
        let seconds = i64::try_from(instant.div_euclid(SECOND)).ok();
        let day = match self.are_dates {
            true => Some(days_of(instant)),
            false => seconds.and_then(|seconds| day_of(seconds, TimeUnit::Second, zone)),
        };
        // From the year 1 on, as the dates of copies are.
        let in_calendar = |day: &i32| {
            *day > to_days(chrono::NaiveDate::MIN) && {
                use chrono::Datelike;
                from_days(*day).is_ok_and(|date| (1..=9999).contains(&date.year()))
            }
        };
        day.filter(in_calendar).ok_or_else(|| {
            let value = batch
                .column_by_name(name)
                .map(|column| display(column, row));
            let value = shorten(&value.unwrap_or_default());
            let key = crate::engine::table::show_key(batch, &self.key, row);
            Error::refused(format!(
                "{key}: column '{name}': '{value}' has no day in the years 0001 to 9999"
            ))
            .hint("--open-end DATE, if ends from that date on are open")
        })
    }

    /// An instant as the table writes it, or nearly so.
    pub(super) fn instant_in_words(&self, instant: i128) -> String {
        if self.are_dates {
            return from_days(days_of(instant))
                .map_or_else(|_| "?".to_owned(), |day| day.to_string());
        }
        let seconds = i64::try_from(instant.div_euclid(SECOND)).unwrap_or(i64::MAX);
        let rest = u32::try_from(instant.rem_euclid(SECOND)).unwrap_or_default();
        let time = chrono::DateTime::<chrono::Utc>::from_timestamp(seconds, rest);
        time.map_or_else(
            || "?".to_owned(),
            |time| time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        )
    }

    /// Which versions say that their key was deleted; nothing if no column tells it.
    ///
    /// # Errors
    /// A usage error for a column that is not a mark.
    pub(super) fn deletions(&self, batch: &RecordBatch) -> Result<Option<Vec<bool>>> {
        let marks = self.shape.deleted_column.as_ref();
        marks.map(|name| marked(batch, name)).transpose()
    }

    /// Which versions are marked as current; nothing if no column tells it.
    ///
    /// # Errors
    /// As [`Scd2Columns::deletions`].
    pub(super) fn currents(&self, batch: &RecordBatch) -> Result<Option<Vec<bool>>> {
        let marks = self.shape.current_column.as_ref();
        marks.map(|name| marked(batch, name)).transpose()
    }
}

/// The column of a name, in whatever case.
pub fn column_of<'a>(schema: &'a Schema, name: &str) -> Option<&'a String> {
    let mut fields = schema.fields().iter().map(|field| field.name());
    let exact = schema.field_with_name(name).ok().map(|field| field.name());
    exact.or_else(|| fields.find(|field| field.eq_ignore_ascii_case(name)))
}

/// How versions are written, with the names that the columns have here, without those that are not
/// here.
fn named(schema: &Schema, shape: &Scd2Shape, what: &str) -> Result<Scd2Shape> {
    let required = |name: &String, option: &str| match column_of(schema, name) {
        Some(found) => Ok(found.clone()),
        None => {
            let error = names_missing_column("versions need the", name, schema, what);
            Err(error.hint(format!("{option} COLUMN, if it has another name")))
        }
    };
    let found = |name: &String| column_of(schema, name).cloned();
    Ok(Scd2Shape {
        start_column: required(&shape.start_column, "--start-column")?,
        end_column: required(&shape.end_column, "--end-column")?,
        deleted_column: shape.deleted_column.as_ref().and_then(found),
        current_column: shape.current_column.as_ref().and_then(found),
        left_out: shape.left_out.iter().filter_map(found).collect(),
        ..shape.clone()
    })
}

fn days_of(instant: i128) -> i32 {
    i32::try_from(instant.div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// Whether beginnings and ends are dates, and whether they are instants of a known time zone.
fn check_types(schema: &Schema, shape: &Scd2Shape, what: &str) -> Result<(bool, bool)> {
    let data_type = |name: &str| schema.field_with_name(name).map(|field| field.data_type());
    let names = [&shape.start_column, &shape.end_column];
    let mut types = Vec::new();
    for name in names {
        let data_type = data_type(name).internal_context(|| "a column is gone".into())?;
        match data_type {
            DataType::Null => {}
            DataType::Date32 | DataType::Timestamp(..) => types.push((name, data_type)),
            other => {
                let error = Error::usage(format!(
                    "{what}: column '{name}' is {}, and versions start and end with a date or a \
                     timestamp",
                    type_name(other)
                ));
                let declared = word(&format!("{name}=timestamp"));
                return Err(error.hint(format!("--types {declared}, if its values are timestamps")));
            }
        }
    }
    let kind = |data_type: &DataType| match data_type {
        DataType::Timestamp(_, zone) => (false, zone.is_some()),
        _ => (true, false),
    };
    let kinds: Vec<(bool, bool)> = types.iter().map(|(_, data_type)| kind(data_type)).collect();
    if let ([(one, one_type), (other, other_type)], true) = (
        types.as_slice(),
        kinds.windows(2).any(|pair| pair[0] != pair[1]),
    ) {
        let error = Error::usage(format!(
            "{what}: column '{one}' is {} and column '{other}' is {}, which cannot be compared",
            type_name(one_type),
            type_name(other_type)
        ));
        let declared = word(&format!("{other}={}", type_name(one_type)));
        return Err(error.hint(format!("--types {declared}")));
    }
    let (are_dates, have_zone) = kinds.first().copied().unwrap_or((true, false));
    Ok((are_dates, !are_dates && (have_zone || shape.plain_is_utc)))
}

/// Which rows are marked: `true`, a text `true` in any case, or 1.
fn marked(batch: &RecordBatch, name: &str) -> Result<Vec<bool>> {
    let Some(column) = batch.column_by_name(name) else {
        return Err(Error::internal(format!("there is no column '{name}'")));
    };
    let is_marked = |text: &str, row: usize| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" | "" => Ok(false),
        _ => Err(not_a_mark(column, name, row)),
    };
    let rows = 0..column.len();
    rows.map(|row| is_marked(&display(column, row), row))
        .collect()
}

fn not_a_mark(column: &ArrayRef, name: &str, row: usize) -> Error {
    let value = shorten(&display(column, row));
    let marks = listed(&["true", "false"]);
    Error::refused(format!(
        "column '{name}': '{value}' is not a mark ({marks})"
    ))
    .hint("--deleted-column COLUMN, for another column")
}
