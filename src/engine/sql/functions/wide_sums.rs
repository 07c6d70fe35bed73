//! `sum` and `avg` in a type so wide that nothing overflows on the way.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::types::{
    Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Int64Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, FieldRef, TimeUnit,
};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::{refused, strict};
use crate::domain::type_names::type_name;

/// An aggregate that adds in a type so wide that nothing overflows, and gives its result in the
/// usual type or refuses it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Widened(Arc<AggregateUDF>);

impl Widened {
    pub(super) fn new(inner: Arc<AggregateUDF>) -> Self {
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
