//! The column that tells the date of a row, and the row groups that may hold dates of a range.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, UInt64Type};
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use crate::domain::cast::display;
use crate::domain::text::timestamp;
use crate::domain::type_names::type_name;
use crate::error::{Context, Error, Result, shorten, toml_key, word};
use crate::model::DateRange;
use crate::storage::parquet::object::{GroupStatistics, RowCondition};

/// The column that tells the date of a row.
#[derive(Clone, Debug)]
pub struct DateColumn {
    /// Its name.
    pub name: String,
    /// The format of its text; by default `YYYY-MM-DD`.
    pub format: Option<String>,
    /// The zone in which the day of an instant lies.
    pub zone: Tz,
    /// Where the column is named, for hints.
    pub named_by: NamedBy,
}

/// Where a date column is named.
#[derive(Clone, Debug)]
pub enum NamedBy {
    /// By options that begin with this, such as `--events-`.
    Options(&'static str),
    /// In this section of asof.toml, such as `events.clicks`.
    Section(String),
    /// By arguments of a call.
    Arguments,
}

impl NamedBy {
    /// What to write for a setting of the column, such as `date-format`.
    fn setting(&self, name: &str, value: &str) -> String {
        match self {
            NamedBy::Options(prefix) => format!("{prefix}{name} {}", word(value)),
            NamedBy::Section(section) => format!(
                "[{section}] {} = \"{value}\" in asof.toml",
                name.replace('-', "_")
            ),
            NamedBy::Arguments => format!("{}=\"{value}\"", name.replace('-', "_")),
        }
    }
}

impl DateColumn {
    /// All that says which rows are of which date.
    pub fn in_json(&self) -> serde_json::Value {
        serde_json::json!([self.name, self.format, self.zone.name()])
    }

    /// Refuses types that have no day, and a format that gives none.
    ///
    /// # Errors
    /// A usage error that names the column and its type.
    pub fn check(&self, data_type: &DataType, place: &str) -> Result<()> {
        let name = &self.name;
        if let Some(format) = self
            .format
            .as_ref()
            .filter(|_| !matches!(data_type, DataType::Date32 | DataType::Timestamp(..)))
        {
            let day = NaiveDate::default();
            // What a wrong format writes, or panics at, is not a date.
            let is_known = StrftimeItems::new(format).all(|item| item != Item::Error);
            let written = is_known.then(|| day.and_time(NaiveTime::MIN).format(format).to_string());
            if written.and_then(|text| NaiveDate::parse_from_str(&text, format).ok()) != Some(day) {
                let what = format!(
                    "{place}: the format '{format}' of column '{name}' does not have a year, a \
                     month and a day"
                );
                return Err(
                    Error::usage(what).hint(self.named_by.setting("date-format", "%d/%m/%Y"))
                );
            }
        }
        let what = type_name(data_type);
        match (data_type, &self.format) {
            (DataType::Date32 | DataType::Timestamp(..), Some(_)) => {
                let what =
                    format!("{place}: column '{name}' is {what}, and a date format is one of text");
                Err(Error::usage(what).hint("leave out the date format"))
            }
            (DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8 | DataType::Null, _) => {
                Ok(())
            }
            (integers, Some(_)) if integers.is_integer() => Ok(()),
            (other, _) => {
                let error = Error::usage(format!(
                    "{place}: column '{name}' is {what}, and a date column is a date, a \
                     timestamp or text"
                ));
                let digits = self.named_by.setting("date-format", "%Y%m%d");
                Err(match other {
                    integers if integers.is_integer() => {
                        error.hint(format!("{digits}, if its digits are a date"))
                    }
                    numbers if numbers.is_numeric() => {
                        let integers =
                            format!("types = {{ {} = \"int64\" }} in asof.toml", toml_key(name));
                        error.hint(format!(
                            "{integers}, and {digits}, if its digits are a date"
                        ))
                    }
                    _ => error.hint("write a date, a timestamp or text in the source"),
                })
            }
        }
    }

    /// Refuses nulls.
    ///
    /// # Errors
    /// A refusal with their number, unless that is zero.
    pub fn refuse_nulls(&self, nulls: u64, place: &str) -> Result<()> {
        if nulls == 0 {
            return Ok(());
        }
        let rows = if nulls == 1 { "row has" } else { "rows have" };
        Err(Error::refused(format!(
            "{place}: {nulls} {rows} a null in the date column '{}'",
            self.name
        ))
        .hint("correct the source: every row needs a date"))
    }

    /// The date of a day since 1970.
    ///
    /// # Errors
    /// A refusal of one outside of the years that dates have.
    pub fn date(&self, day: i32, place: &str) -> Result<NaiveDate> {
        let date =
            Date32Type::to_naive_date_opt(day).filter(|date| (1..=9999).contains(&date.year()));
        date.ok_or_else(|| {
            Error::refused(format!(
                "{place}: column '{}' has a date outside of the years 0001 to 9999",
                self.name
            ))
            .hint("correct the source, or the time zone that decides the day of a timestamp")
        })
    }

    fn not_a_date(&self, text: &str, format: &str, place: &str) -> Error {
        let text = shorten(text);
        let what = format!(
            "{place}: column '{}': '{text}' is not a valid date in the format '{format}'",
            self.name
        );
        Error::refused(what).hint(match self.format {
            Some(_) => "correct the value, or the date format".to_owned(),
            None if timestamp(&text, TimeUnit::Microsecond, false).is_some()
                || timestamp(&text, TimeUnit::Microsecond, true).is_some() =>
            {
                format!(
                    "types = {{ {} = \"timestamp\" }} in asof.toml",
                    toml_key(&self.name)
                )
            }
            None => format!(
                "{}, or the format that the column has",
                self.named_by.setting("date-format", "%d/%m/%Y")
            ),
        })
    }

    /// The day of each value.
    ///
    /// # Errors
    /// A refusal that names the first text that is not a date.
    pub fn days(&self, values: &ArrayRef, place: &str) -> Result<Date32Array> {
        let failed = || format!("{place}: column '{}'", self.name);
        match values.data_type() {
            integers if integers.is_integer() => {
                self.days(&cast(values, &DataType::Utf8).io_context(failed)?, place)
            }
            DataType::Utf8 => {
                let format = self.format.as_deref().unwrap_or("%Y-%m-%d");
                let days = values.as_string::<i32>().iter().map(|text| match text {
                    None => Ok(None),
                    Some(text) => match NaiveDate::parse_from_str(text.trim(), format) {
                        Ok(date) => Ok(Some(Date32Type::from_naive_date(date))),
                        Err(_) => Err(self.not_a_date(text, format, place)),
                    },
                });
                days.collect()
            }
            DataType::Timestamp(unit, zone) => {
                let zone = zone.is_some().then_some(self.zone);
                let no_day = |row| {
                    Error::refused(format!(
                        "{}: '{}' has no day",
                        failed(),
                        display(values, row)
                    ))
                };
                let instants = cast(values, &DataType::Int64).io_context(failed)?;
                let days = instants.as_primitive::<Int64Type>().iter().enumerate().map(
                    |(row, instant)| match instant {
                        None => Ok(None),
                        Some(instant) => day_of(instant, *unit, zone)
                            .map(Some)
                            .ok_or_else(|| no_day(row)),
                    },
                );
                days.collect()
            }
            _ => Ok(cast(values, &DataType::Date32)
                .io_context(failed)?
                .as_primitive::<Date32Type>()
                .clone()),
        }
    }
}

/// The day of an instant, in a time zone or, without one, as it is written; `None` if it is beyond
/// the calendar.
pub(in crate::engine) fn day_of(instant: i64, unit: TimeUnit, zone: Option<Tz>) -> Option<i32> {
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let utc = DateTime::<Utc>::from_timestamp(instant.div_euclid(per_second), 0)?.naive_utc();
    let local = match zone {
        None => utc,
        Some(zone) => utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())?,
    };
    Some(Date32Type::from_naive_date(local.date()))
}

/// Rows whose date lies in a range, or is null: nulls are counted and refused.
///
/// It knows the days of values as a file has them, and lets through the rows of a file in which
/// they have another type.
pub(super) struct InRange {
    pub(super) column: DateColumn,
    pub(super) columns: Vec<String>,
    pub(super) range: DateRange,
    /// The type of the column over all files.
    pub(super) data_type: DataType,
}

impl InRange {
    /// Whether values of a type are those that are read, and come in the order of their days.
    fn is_told_by(&self, data_type: &DataType) -> bool {
        match (data_type, &self.data_type) {
            (DataType::Date32, DataType::Date32) => true,
            (DataType::Timestamp(_, one), DataType::Timestamp(_, other)) => {
                one.is_some() == other.is_some()
            }
            _ => false,
        }
    }
}

/// Which days lie in a range, or are null.
pub(super) fn within_range(days: &Date32Array, range: DateRange) -> BooleanArray {
    let from = Date32Type::from_naive_date(range.from());
    let to = Date32Type::from_naive_date(range.to());
    days.iter()
        .map(|day| Some(day.is_none_or(|day| from <= day && day <= to)))
        .collect()
}

impl RowCondition for InRange {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        let all = vec![true; groups.len()];
        let name = &self.column.name;
        let is_ordered = groups
            .schema()
            .field_with_name(name)
            .is_ok_and(|field| self.is_told_by(field.data_type()));
        let (Some(mins), Some(maxes), Some(nulls)) = (
            groups.mins(name),
            groups.maxes(name),
            groups.null_counts(name),
        ) else {
            return all;
        };
        let (Ok(mins), Ok(maxes), true) = (
            self.column.days(&mins, ""),
            self.column.days(&maxes, ""),
            is_ordered,
        ) else {
            return all;
        };
        let nulls = nulls.as_primitive::<UInt64Type>();
        let from = Date32Type::from_naive_date(self.range.from());
        let to = Date32Type::from_naive_date(self.range.to());
        // A clock that is set back soon after midnight shows the day before once more.
        let slack = i32::from(self.column.zone != Tz::UTC);
        let may = |group: usize| {
            let is_known = mins.is_valid(group) && maxes.is_valid(group) && nulls.is_valid(group);
            !is_known
                || nulls.value(group) > 0
                || (mins.value(group) - slack <= to && maxes.value(group) + slack >= from)
        };
        (0..groups.len()).map(may).collect()
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let all = || BooleanArray::from(vec![true; batch.num_rows()]);
        let Some(values) = batch
            .column_by_name(&self.column.name)
            .filter(|values| self.is_told_by(values.data_type()))
        else {
            return Ok(all());
        };
        // A value without a day is refused where it can be named.
        Ok(self
            .column
            .days(values, "")
            .map_or_else(|_| all(), |days| within_range(&days, self.range)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };

    use super::*;

    fn column(format: Option<&str>, zone: Tz) -> DateColumn {
        DateColumn {
            name: "d".to_owned(),
            format: format.map(str::to_owned),
            zone,
            named_by: NamedBy::Options("--"),
        }
    }

    #[test]
    fn the_day_of_a_value_is_the_one_that_is_written_or_the_one_in_the_zone() {
        let zoned = |seconds: i64| {
            Arc::new(TimestampSecondArray::from(vec![seconds]).with_timezone("UTC")) as ArrayRef
        };
        let cases: [(ArrayRef, Option<&str>, Tz, &str); 8] = [
            (
                Arc::new(Date32Array::from(vec![-1])),
                None,
                Tz::UTC,
                "1969-12-31",
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![-1])),
                None,
                Tz::UTC,
                "1969-12-31",
            ),
            (
                Arc::new(TimestampNanosecondArray::from(vec![86_400_000_000_000])),
                None,
                Tz::Europe__Berlin,
                "1970-01-02",
            ),
            (zoned(86_399), None, Tz::UTC, "1970-01-01"),
            (zoned(86_399), None, Tz::Europe__Berlin, "1970-01-02"),
            (zoned(3_600), None, Tz::America__New_York, "1969-12-31"),
            (
                Arc::new(StringArray::from(vec!["2024-09-13"])),
                None,
                Tz::UTC,
                "2024-09-13",
            ),
            (
                Arc::new(StringArray::from(vec!["13/09/2024"])),
                Some("%d/%m/%Y"),
                Tz::UTC,
                "2024-09-13",
            ),
        ];
        for (values, format, zone, expected) in cases {
            let days = column(format, zone).days(&values, "x").expect("a day");
            assert_eq!(
                days.value_as_date(0).map(|day| day.to_string()).as_deref(),
                Some(expected),
                "{values:?}, {zone}"
            );
        }
        let wrong: ArrayRef = Arc::new(StringArray::from(vec!["2024-02-30"]));
        let error = column(None, Tz::UTC)
            .days(&wrong, "table t, 'x.csv'")
            .expect_err("February has 29 days");
        assert_eq!(
            error.to_string(),
            "table t, 'x.csv': column 'd': '2024-02-30' is not a valid date in the format \
             '%Y-%m-%d'"
        );
    }
}
