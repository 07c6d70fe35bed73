//! Functions that the rules put in the place of DataFusion's own, whose integers wrap and whose
//! timestamps end in 2262: each keeps a value exactly or refuses it.

mod date_trunc;
mod wide_sums;

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::types::{Decimal128Type, Int64Type, TimestampNanosecondType};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::compute::{cast, try_binary};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use arrow::error::ArrowError;
use chrono::DateTime;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::prelude::SessionContext;

use self::date_trunc::DateTrunc;
use self::wide_sums::Widened;
use crate::domain::type_names::type_name;
use crate::error::Error;

/// Puts the exact functions in the place of those that have the same names.
pub(super) fn register(context: &SessionContext) {
    context.register_udaf(AggregateUDF::new_from_impl(Widened::new(sum_udaf())));
    context.register_udaf(AggregateUDF::new_from_impl(Widened::new(avg_udaf())));
    context.register_udf(ScalarUDF::new_from_impl(DateTrunc::new(
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
