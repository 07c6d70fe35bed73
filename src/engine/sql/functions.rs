//! Functions that the rules put in the place of DataFusion's own, whose integers wrap and whose
//! timestamps end in 2262: each keeps a value exactly or refuses it.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, Decimal128Type, Decimal256Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::compute::{cast, try_binary};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, FieldRef, TimeUnit,
};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator,
    Operator, ReturnFieldArgs, ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::prelude::SessionContext;

use crate::domain::type_names::type_name;
use crate::error::Error;

/// Puts the exact functions in the place of those that have the same names.
pub(super) fn register(context: &SessionContext) {
    context.register_udaf(AggregateUDF::new_from_impl(Widened::new(sum_udaf())));
    context.register_udaf(AggregateUDF::new_from_impl(Widened::new(avg_udaf())));
    context.register_udf(ScalarUDF::new_from_impl(DateTrunc(
        datafusion::functions::datetime::date_trunc(),
    )));
}

fn refused(message: String, hint: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Error::refused(message).hint(hint)))
}

const WIDER: &str =
    "compute in a wider type: CAST(x AS BIGINT) or CAST(x AS DECIMAL(38, 0)) before the operation";

/// Arithmetic whose result is exact or refused, of integers or decimals of one kind.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Arithmetic {
    operator: Operator,
    name: String,
    signature: Signature,
}

impl Arithmetic {
    pub(super) fn udf(operator: Operator) -> ScalarUDF {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::new_from_impl(Arithmetic {
            operator,
            name: operator.to_string(),
            signature,
        })
    }

    fn compute(
        &self,
        left: &dyn arrow::array::Datum,
        right: &dyn arrow::array::Datum,
    ) -> std::result::Result<ArrayRef, ArrowError> {
        match self.operator {
            Operator::Plus => add(left, right),
            Operator::Minus => sub(left, right),
            Operator::Multiply => mul(left, right),
            _ => shift(self.operator, left, right),
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => BinaryTypeCoercer::new(left, &self.operator, right).get_result_type(),
            _ => plan_err!("{} takes two operands", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return plan_err!("{} takes two operands", self.name);
        };
        let data_type = args.return_field.data_type();
        let does_not_fit = |what: &str| {
            refused(
                format!("{what} does not fit {}", type_name(data_type)),
                WIDER,
            )
        };
        let result = apply(left, right, |left, right| {
            let result = self.compute(left, right)?;
            if let DataType::Decimal128(precision, _) = data_type {
                result
                    .as_primitive::<Decimal128Type>()
                    .validate_decimal_precision(*precision)?;
            }
            Ok(result)
        });
        result.map_err(|error| match error.find_root() {
            DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
                ArrowError::ArithmeticOverflow(why) => {
                    does_not_fit(why.trim_start_matches("Overflow happened on: "))
                }
                ArrowError::InvalidArgumentError(_) => {
                    does_not_fit(&format!("the result of {}", self.name))
                }
                _ => error,
            },
            _ => error,
        })
    }
}

/// `<<` and `>>` of 64-bit integers, which lose no bit on the left and take no number of bits that
/// the type does not have.
fn shift(
    operator: Operator,
    left: &dyn arrow::array::Datum,
    right: &dyn arrow::array::Datum,
) -> std::result::Result<ArrayRef, ArrowError> {
    let ((left, left_is_one), (right, right_is_one)) = (left.get(), right.get());
    let data_type = left.data_type().clone();
    let rows = if left_is_one { right.len() } else { left.len() };
    let wide = |array: &dyn Array,
                is_one: bool|
     -> std::result::Result<PrimitiveArray<Int64Type>, ArrowError> {
        let array = arrow::compute::cast_with_options(array, &DataType::Int64, &strict())?;
        if !is_one {
            return Ok(array.as_primitive().clone());
        }
        Ok(match array.is_null(0) {
            true => PrimitiveArray::new_null(rows),
            false => PrimitiveArray::from_value(array.as_primitive::<Int64Type>().value(0), rows),
        })
    };
    let shifted = try_binary::<_, _, _, Int64Type>(
        &wide(left, left_is_one)?,
        &wide(right, right_is_one)?,
        |value, bits| {
            let overflow = || ArrowError::ArithmeticOverflow(format!("{value} {operator} {bits}"));
            let bits = u32::try_from(bits)
                .ok()
                .filter(|bits| *bits < 64)
                .ok_or_else(overflow)?;
            match operator {
                Operator::BitwiseShiftRight => Ok(value >> bits),
                _ => i64::try_from(i128::from(value) << bits).map_err(|_| overflow()),
            }
        },
    )?;
    arrow::compute::cast_with_options(&shifted, &data_type, &strict())
        .map_err(|_| ArrowError::ArithmeticOverflow(format!("the result of {operator}")))
}

fn strict() -> arrow::compute::CastOptions<'static> {
    arrow::compute::CastOptions {
        safe: false,
        ..Default::default()
    }
}

/// The moment of a date or timestamp, in nanoseconds, as a decimal that no unit overflows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Instant(Signature);

/// What [`Instant`] gives.
pub(super) const INSTANT: DataType = DataType::Decimal128(38, 0);

impl Instant {
    pub(super) fn udf() -> ScalarUDF {
        ScalarUDF::new_from_impl(Instant(Signature::any(1, Volatility::Immutable)))
    }
}

impl ScalarUDFImpl for Instant {
    fn name(&self) -> &str {
        "instant"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INSTANT)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        unary(&args, |array| {
            let nanoseconds = match array.data_type() {
                DataType::Date32 => 86_400_000_000_000,
                DataType::Timestamp(unit, _) => nanoseconds_in(*unit),
                _ => return plan_err!("{} is not a date or timestamp", array.data_type()),
            };
            let whole = match array.data_type() {
                DataType::Date32 => cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?,
                _ => cast(array, &DataType::Int64)?,
            };
            let values = whole
                .as_primitive::<Int64Type>()
                .unary::<_, Decimal128Type>(|value| i128::from(value) * nanoseconds);
            Ok(Arc::new(values.with_data_type(INSTANT)))
        })
    }
}

/// How many nanoseconds a unit has.
pub(super) fn nanoseconds_in(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Timestamps in microseconds; one that has more digits is refused.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Microseconds(Signature);

impl Microseconds {
    pub(super) fn udf() -> ScalarUDF {
        ScalarUDF::new_from_impl(Microseconds(Signature::any(1, Volatility::Immutable)))
    }
}

impl ScalarUDFImpl for Microseconds {
    fn name(&self) -> &str {
        "microseconds"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, zone)] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            _ => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        unary(&args, |array| {
            if let Some(nanoseconds) = array.as_primitive_opt::<TimestampNanosecondType>()
                && let Some(value) = nanoseconds
                    .iter()
                    .flatten()
                    .find(|value| value % 1_000 != 0)
            {
                let shown = DateTime::from_timestamp_nanos(value).naive_utc();
                return Err(refused(
                    format!(
                        "{shown} has nanoseconds, and would lose them in a timestamp in \
                         microseconds"
                    ),
                    "date_trunc('microsecond', x), or CAST(x AS TIMESTAMP(9)) on every timestamp \
                     that it is combined with",
                ));
            }
            if let Some(texts) = array.as_string_opt::<i32>()
                && let Some(text) = texts.iter().flatten().find(|text| has_nanoseconds(text))
            {
                return Err(refused(
                    format!(
                        "'{text}' has nanoseconds, and would lose them in a timestamp in \
                         microseconds"
                    ),
                    "CAST(x AS TIMESTAMP(9))",
                ));
            }
            let data_type = self.return_type(&[array.data_type().clone()])?;
            Ok(arrow::compute::cast_with_options(
                array,
                &data_type,
                &strict(),
            )?)
        })
    }
}

fn has_nanoseconds(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(_, fraction)| {
        fraction
            .bytes()
            .take_while(u8::is_ascii_digit)
            .skip(6)
            .any(|digit| digit != b'0')
    })
}

/// Applies a function of one array.
fn unary(
    args: &ScalarFunctionArgs,
    of: impl Fn(&dyn Array) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    match args.args.as_slice() {
        [ColumnarValue::Array(array)] => of(array.as_ref()).map(ColumnarValue::Array),
        [ColumnarValue::Scalar(scalar)] => {
            let array = of(scalar.to_array()?.as_ref())?;
            ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
        }
        _ => plan_err!("one argument is expected"),
    }
}

/// A function without DataFusion's rewriting of comparisons with it into a range of its argument:
/// the range of the year 9999 has no end in nanoseconds, and the comparison would hold for no row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WithoutRange(Arc<ScalarUDF>);

impl WithoutRange {
    pub(super) fn udf(inner: Arc<ScalarUDF>) -> ScalarUDF {
        ScalarUDF::new_from_impl(WithoutRange(inner))
    }
}

impl ScalarUDFImpl for WithoutRange {
    fn name(&self) -> &str {
        self.0.name()
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
        self.0.invoke_with_args(args)
    }
}

/// `date_trunc` of timestamps of any unit, over all of the unit's range.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc(Arc<ScalarUDF>);

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
                part.try_as_str().flatten().and_then(Part::parse),
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
enum Part {
    /// A number of nanoseconds.
    Fixed(i128),
    Week,
    /// A number of months of a year.
    Months(u32),
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_lowercase().as_str() {
            "microsecond" => Part::Fixed(1_000),
            "millisecond" => Part::Fixed(1_000_000),
            "second" => Part::Fixed(1_000_000_000),
            "minute" => Part::Fixed(60_000_000_000),
            "hour" => Part::Fixed(3_600_000_000_000),
            "day" => Part::Fixed(86_400_000_000_000),
            "week" => Part::Week,
            "month" => Part::Months(1),
            "quarter" => Part::Months(3),
            "year" => Part::Months(12),
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
            Part::Fixed(nanoseconds) => return Some(moment - moment.rem_euclid(nanoseconds)),
            Part::Week => day().map(|day| {
                day - chrono::Days::new(u64::from(day.weekday().num_days_from_monday()))
            })?,
            Part::Months(months) => {
                let day = day()?;
                NaiveDate::from_ymd_opt(day.year(), day.month0() / months * months + 1, 1)?
            }
        };
        Some(i128::from(start.to_epoch_days()) * DAY)
    }
}

/// An aggregate that adds in a type so wide that nothing overflows, and gives its result in the
/// usual type or refuses it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Widened(Arc<AggregateUDF>);

impl Widened {
    fn new(inner: Arc<AggregateUDF>) -> Self {
        Widened(inner)
    }

    /// The type in which values of a type are added, if it is another one.
    fn wide(&self, data_type: &DataType) -> Option<DataType> {
        let is_sum = self.0.name() == "sum";
        match data_type {
            DataType::Int64 | DataType::UInt64 if is_sum => {
                Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))
            }
            DataType::Duration(_) => Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)),
            DataType::Decimal128(precision, scale) if is_sum && *precision > 28 => {
                Some(DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale))
            }
            _ => None,
        }
    }

    /// What to tell the inner aggregate of its argument and result.
    fn wide_fields(&self, inputs: &[FieldRef], result: &FieldRef) -> Option<(FieldRef, FieldRef)> {
        let wide = self.wide(inputs.first()?.data_type())?;
        let renamed =
            |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(wide.clone()));
        Some((renamed(inputs.first()?), renamed(result)))
    }

    /// Hands the arguments for the wide type to `make`, with how to get to it and back.
    fn with_wide<A>(
        &self,
        args: AccumulatorArgs,
        make: impl FnOnce(AccumulatorArgs) -> Result<A>,
    ) -> Result<(A, Option<Narrow>)> {
        let Some((input, result)) = self.wide_fields(args.expr_fields, &args.return_field) else {
            return Ok((make(args)?, None));
        };
        let narrow = Narrow {
            function: self.0.name().to_owned(),
            wide: input.data_type().clone(),
            to: args.return_type().clone(),
        };
        let made = make(AccumulatorArgs {
            return_field: result,
            expr_fields: &[input],
            ..args
        })?;
        Ok((made, Some(narrow)))
    }
}

impl AggregateUDFImpl for Widened {
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
        match types.first() {
            Some(wide @ (DataType::Decimal256(..) | DataType::Interval(_))) => {
                plan_err!("{} of {} is not supported", self.0.name(), type_name(wide))
            }
            _ => self.0.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.with_wide(args, |args| self.0.accumulator(args))
            .map(Narrowing::of)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match self.wide_fields(args.input_fields, &args.return_field) {
            Some((input, result)) => self.0.state_fields(StateFieldsArgs {
                input_fields: &[input],
                return_field: result,
                ..args
            }),
            None => self.0.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.with_wide(args, |args| Ok(self.0.groups_accumulator_supported(args)))
            .is_ok_and(|(supported, _)| supported)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let (inner, narrow) =
            self.with_wide(args, |args| self.0.create_groups_accumulator(args))?;
        Ok(match narrow {
            Some(narrow) => Box::new(NarrowingGroups { inner, narrow }),
            None => inner,
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.with_wide(args, |args| self.0.create_sliding_accumulator(args))
            .map(Narrowing::of)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The way from a wide sum to the type of the result.
#[derive(Debug)]
struct Narrow {
    function: String,
    wide: DataType,
    to: DataType,
}

impl Narrow {
    fn widen(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let widen = |array: &ArrayRef| -> Result<ArrayRef> {
            let whole = match array.data_type() {
                DataType::Duration(_) => cast(array, &DataType::Int64)?,
                _ => array.clone(),
            };
            Ok(arrow::compute::cast_with_options(
                &whole,
                &self.wide,
                &strict(),
            )?)
        };
        values.iter().map(widen).collect()
    }

    fn narrow(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let does_not_fit = |value: &dyn std::fmt::Display| {
            let hint = format!("{}(CAST(x AS DECIMAL(38, 0)))", self.function);
            refused(
                format!(
                    "the {} {value} does not fit {}",
                    self.function,
                    type_name(&self.to)
                ),
                &hint,
            )
        };
        let exactly = |array: &ArrayRef| -> Result<PrimitiveArray<Int64Type>> {
            array
                .as_primitive::<Decimal128Type>()
                .try_unary(|value| i64::try_from(value).map_err(|_| does_not_fit(&value)))
        };
        Ok(match &self.to {
            DataType::Int64 => Arc::new(exactly(array)?),
            DataType::UInt64 => {
                let values = array.as_primitive::<Decimal128Type>();
                Arc::new(values.try_unary::<_, UInt64Type, _>(|value| {
                    u64::try_from(value).map_err(|_| does_not_fit(&value))
                })?)
            }
            DataType::Duration(unit) => {
                let whole = exactly(array)?;
                match unit {
                    TimeUnit::Second => Arc::new(whole.reinterpret_cast::<DurationSecondType>()),
                    TimeUnit::Millisecond => {
                        Arc::new(whole.reinterpret_cast::<DurationMillisecondType>())
                    }
                    TimeUnit::Microsecond => {
                        Arc::new(whole.reinterpret_cast::<DurationMicrosecondType>())
                    }
                    TimeUnit::Nanosecond => {
                        Arc::new(whole.reinterpret_cast::<DurationNanosecondType>())
                    }
                }
            }
            to => {
                let largest = 10_i128.pow(u32::from(DECIMAL128_MAX_PRECISION));
                let values = array
                    .as_primitive::<Decimal256Type>()
                    .try_unary::<_, Decimal128Type, _>(|value| {
                        value
                            .to_i128()
                            .filter(|value| value.abs() < largest)
                            .ok_or_else(|| {
                                refused(
                                    format!("the {} does not fit {}", self.function, type_name(to)),
                                    "compute with fewer digits: round(x, n)",
                                )
                            })
                    })?;
                Arc::new(values.with_data_type(to.clone()))
            }
        })
    }
}

/// An accumulator of wide values.
#[derive(Debug)]
struct Narrowing {
    inner: Box<dyn Accumulator>,
    narrow: Narrow,
}

impl Narrowing {
    fn of((inner, narrow): (Box<dyn Accumulator>, Option<Narrow>)) -> Box<dyn Accumulator> {
        match narrow {
            Some(narrow) => Box::new(Narrowing { inner, narrow }),
            None => inner,
        }
    }
}

impl Accumulator for Narrowing {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&self.narrow.widen(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.narrow.narrow(&value)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.narrow.widen(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

/// A [`Narrowing`] of many groups.
struct NarrowingGroups {
    inner: Box<dyn GroupsAccumulator>,
    narrow: Narrow,
}

impl GroupsAccumulator for NarrowingGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(
            &self.narrow.widen(values)?,
            group_indices,
            opt_filter,
            total_num_groups,
        )
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.narrow.narrow(&self.inner.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner
            .merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner
            .convert_to_state(&self.narrow.widen(values)?, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
