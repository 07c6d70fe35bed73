//! `date_trunc` over all of a timestamp's range.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use arrow::error::ArrowError;
use chrono::{Datelike, NaiveDate};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{nanoseconds_in, unary};

/// `date_trunc` of timestamps of any unit, over all of the unit's range.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc(Arc<ScalarUDF>);

impl DateTrunc {
    pub(super) fn new(inner: Arc<ScalarUDF>) -> Self {
        DateTrunc(inner)
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone_is_utc =
            |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|zone| zone == "UTC");
        let own = match args.args.as_slice() {
            [ColumnarValue::Scalar(part), value] => match (
                part.try_as_str().flatten().and_then(TruncatedTo::parse),
                value.data_type(),
            ) {
                (Some(part), DataType::Timestamp(unit, zone)) if zone_is_utc(&zone) => {
                    Some((part, unit, value.clone()))
                }
                _ => None,
            },
            _ => None,
        };
        let Some((part, unit, value)) = own else {
            return self.0.invoke_with_args(args);
        };
        let args = ScalarFunctionArgs {
            args: vec![value],
            ..args
        };
        unary(&args, |array| match unit {
            TimeUnit::Second => part.truncate::<TimestampSecondType>(array, unit),
            TimeUnit::Millisecond => part.truncate::<TimestampMillisecondType>(array, unit),
            TimeUnit::Microsecond => part.truncate::<TimestampMicrosecondType>(array, unit),
            TimeUnit::Nanosecond => part.truncate::<TimestampNanosecondType>(array, unit),
        })
    }
}

/// What a timestamp is truncated to.
#[derive(Clone, Copy)]
enum TruncatedTo {
    /// A number of nanoseconds.
    Fixed(i128),
    Week,
    /// A number of months of a year.
    Months(u32),
}

impl TruncatedTo {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_lowercase().as_str() {
            "microsecond" => TruncatedTo::Fixed(1_000),
            "millisecond" => TruncatedTo::Fixed(1_000_000),
            "second" => TruncatedTo::Fixed(1_000_000_000),
            "minute" => TruncatedTo::Fixed(60_000_000_000),
            "hour" => TruncatedTo::Fixed(3_600_000_000_000),
            "day" => TruncatedTo::Fixed(86_400_000_000_000),
            "week" => TruncatedTo::Week,
            "month" => TruncatedTo::Months(1),
            "quarter" => TruncatedTo::Months(3),
            "year" => TruncatedTo::Months(12),
            _ => return None,
        })
    }

    fn truncate<T: ArrowPrimitiveType<Native = i64>>(
        self,
        array: &dyn Array,
        unit: TimeUnit,
    ) -> Result<ArrayRef> {
        let values = array.as_primitive::<T>();
        let nanoseconds = nanoseconds_in(unit);
        let truncated = values.try_unary::<_, T, _>(|value| {
            let moment = i128::from(value) * nanoseconds;
            let truncated = self
                .of(moment)
                .and_then(|moment| i64::try_from(moment / nanoseconds).ok());
            truncated.ok_or_else(|| {
                ArrowError::ComputeError(format!(
                    "the timestamp {value} is out of range for date_trunc"
                ))
            })
        })?;
        Ok(Arc::new(
            truncated.with_data_type(array.data_type().clone()),
        ))
    }

    /// The start of the part that holds a moment, both in nanoseconds.
    fn of(self, moment: i128) -> Option<i128> {
        const DAY: i128 = 86_400_000_000_000;
        let day = || NaiveDate::from_epoch_days(i32::try_from(moment.div_euclid(DAY)).ok()?);
        let start = match self {
            TruncatedTo::Fixed(nanoseconds) => {
                return Some(moment - moment.rem_euclid(nanoseconds));
            }
            TruncatedTo::Week => day().map(|day| {
                day - chrono::Days::new(u64::from(day.weekday().num_days_from_monday()))
            })?,
            TruncatedTo::Months(months) => {
                let day = day()?;
                NaiveDate::from_ymd_opt(day.year(), day.month0() / months * months + 1, 1)?
            }
        };
        Some(i128::from(start.to_epoch_days()) * DAY)
    }
}
