//! How often each value of a column occurs, counted by polars' group-by.
//!
//! Values are gathered, grouped with the ones that were counted before, and kept once each, with a
//! number for each side. So what is held grows with the different values, not with the rows.
//! Groups are in the order in which their first values came.
//!
//! Polars groups by the value itself where it has a type that holds the same values: it equates
//! NaN with NaN, and its one zero is made here. Other values are kept as arrow's row encoding, whose
//! bytes sort as the values do: decimals, which polars groups only with one feature more, and times
//! and durations that it has no type for. Lists, structs and maps are kept so too, and grouped by
//! their digests, which are the program's own rule for equal values.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, RecordBatch, UInt32Array, UInt64Array, new_empty_array,
};
use arrow::compute::{cast, concat, filter, is_not_null, take};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use polars_core::prelude::{
    BooleanChunked, ChunkCompareIneq, Column, DataFrame, GroupsIndicator, IdxSize, NamedFrom,
    Series,
};

use crate::domain::column_statistics::{ColumnStatistics, SideStatistics, has_mean, has_order};
use crate::domain::digest::cell_digests;
use crate::domain::key_order::one_zero;
use crate::error::{Context, Error, Result};
use crate::frames::{packed, packed_schema, to_batches, to_frame};

/// The column that values are grouped by, if it is not the values themselves.
const DIGEST: &str = "digest";
/// The column of the values.
const VALUE: &str = "value";

/// How many values are gathered at least before they are grouped.
const GATHERED: usize = 1 << 16;
/// One value in so many of those that were counted is gathered before values are grouped to save
/// memory; otherwise as many as were counted.
const SHARE: usize = 4;
/// What a grouping needs for each of its rows, in bytes: the place of its first row, a list of its
/// rows, and an entry of a hash table that may be half empty.
const GROUPING: usize = 80;

/// Counts the values of one column.
pub(super) struct ValueCounter {
    data_type: DataType,
    /// How values are kept that polars has no type for.
    encoding: Option<RowConverter>,
    /// Whether no value occurs twice on a side; then only the least and the greatest ones of each
    /// batch are kept.
    is_unique: bool,
    schema: SchemaRef,
    sides: Vec<SideTotals>,
    counted: Option<DataFrame>,
    /// Values without nulls: the side, the columns of `schema` without the counts.
    gathered: Vec<(usize, Vec<ArrayRef>)>,
    gathered_rows: usize,
    gathered_bytes: usize,
}

/// What is added up without looking at equal values.
#[derive(Clone, Default)]
struct SideTotals {
    rows: u64,
    nulls: u64,
    nans: u64,
    sum: f64,
}

impl ValueCounter {
    /// For values of a type on a number of sides.
    pub(super) fn new(data_type: &DataType, is_unique: bool, sides: usize) -> Result<Self> {
        let value = Schema::new(vec![Field::new(VALUE, data_type.clone(), true)]);
        let is_encoded = data_type.is_nested()
            || matches!(data_type, DataType::Decimal128(..))
            || to_frame(&value, [], VALUE).is_err();
        let encoding =
            is_encoded.then(|| RowConverter::new(vec![SortField::new(data_type.clone())]));
        let encoding = encoding
            .transpose()
            .internal_context(|| format!("values of {data_type} cannot be encoded"))?;
        let mut fields = Vec::with_capacity(2 + sides);
        if data_type.is_nested() {
            fields.push(Field::new(DIGEST, DataType::Binary, true));
        }
        let kept = match encoding {
            Some(_) => &DataType::Binary,
            None => data_type,
        };
        fields.push(Field::new(VALUE, kept.clone(), true));
        fields.extend((0..sides).map(|side| Field::new(count_name(side), DataType::UInt64, true)));
        Ok(ValueCounter {
            data_type: data_type.clone(),
            encoding,
            is_unique: is_unique && !is_encoded,
            schema: Arc::new(Schema::new(fields)),
            sides: vec![SideTotals::default(); sides],
            counted: None,
            gathered: Vec::new(),
            gathered_rows: 0,
            gathered_bytes: 0,
        })
    }

    /// Takes values of one side.
    pub(super) fn push(&mut self, side: usize, column: &ArrayRef) -> Result<()> {
        let nulls = column.logical_null_count();
        let totals = &mut self.sides[side];
        totals.rows += column.len() as u64;
        totals.nulls += nulls as u64;
        if nulls == column.len() {
            return Ok(());
        }
        let values = match nulls {
            0 => column.clone(),
            _ => is_not_null(column)
                .and_then(|valid| filter(column, &valid))
                .internal_context(|| "cannot leave out nulls".into())?,
        };
        let values = one_zero(&values);
        totals.add(&values)?;
        let values = match self.is_unique {
            true => self.extremes(&values)?,
            false => own(values)?,
        };
        let rows = values.len();
        let columns = self.columns(values)?;
        let sizes = columns.iter().map(bytes_of);
        self.gathered_bytes += sizes.sum::<Result<usize>>()?;
        self.gathered_rows += rows;
        self.gathered.push((side, columns));
        if self.gathered_rows >= GATHERED.max(self.height()) {
            self.group()?;
        }
        Ok(())
    }

    /// How many bytes are held, and needed by the next grouping.
    pub(super) fn held(&self) -> usize {
        let counted = self.counted.as_ref().map_or(0, DataFrame::estimated_size);
        let counts = 8 * self.sides.len() * self.gathered_rows;
        let rows = self.height() + self.gathered_rows;
        counted + self.gathered_bytes + counts + GROUPING * rows
    }

    /// Groups what was gathered, if that is enough to save memory.
    pub(super) fn shrink(&mut self) -> Result<bool> {
        let is_enough = self.gathered_rows * SHARE >= self.height().max(GATHERED);
        if is_enough {
            self.group()?;
        }
        Ok(is_enough)
    }

    /// What was found, with up to `most` of the most frequent values of each side.
    pub(super) fn finish(mut self, most: usize) -> Result<ColumnStatistics> {
        self.group()?;
        let Some(counted) = self.counted.take() else {
            let sides = self.sides.iter().map(|totals| self.side(totals, 0));
            return Ok(ColumnStatistics {
                sides: sides.collect(),
                frequent: new_empty_array(&self.data_type),
                counts: Vec::new(),
            });
        };
        let doing = || "cannot look at counted values".to_owned();
        let mut sides = Vec::with_capacity(self.sides.len());
        let mut counts = Vec::with_capacity(self.sides.len());
        for (at, totals) in self.sides.iter().enumerate() {
            let column = counted.column(&count_name(at)).internal_context(doing)?;
            let numbers = column.as_materialized_series();
            let occurs = numbers.gt(0).internal_context(doing)?;
            sides.push(self.with_extremes(totals, &counted, &occurs)?);
            counts.push(numbers.clone());
        }
        let chosen = match self.is_unique {
            true => Vec::new(),
            false => most_frequent(&counts, most)?,
        };
        let numbers = |place: &IdxSize| -> Result<Vec<u64>> {
            let of_side = counts.iter().map(|numbers| number(numbers, *place));
            of_side.collect()
        };
        Ok(ColumnStatistics {
            sides,
            counts: chosen.iter().map(numbers).collect::<Result<_>>()?,
            frequent: self.values(
                &values_of(&counted)?
                    .take_slice(&chosen)
                    .internal_context(doing)?,
            )?,
        })
    }

    /// How many values were counted.
    fn height(&self) -> usize {
        self.counted.as_ref().map_or(0, DataFrame::height)
    }

    /// The columns of the schema, without the counts, for values without nulls.
    fn columns(&self, values: ArrayRef) -> Result<Vec<ArrayRef>> {
        let Some(encoding) = &self.encoding else {
            return Ok(vec![values]);
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(2);
        if self.data_type.is_nested() {
            let digests = cell_digests(&values)?;
            let bytes = digests.iter().map(|digest| digest.to_le_bytes());
            columns.push(Arc::new(BinaryArray::from_iter_values(bytes)));
        }
        let bytes = encoding
            .convert_columns(&[values])
            .and_then(arrow::row::Rows::try_into_binary)
            .internal_context(|| "cannot encode values".into())?;
        columns.push(Arc::new(bytes));
        Ok(columns)
    }

    /// The least and the greatest of values that are not null.
    fn extremes(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let schema = Schema::new(vec![Field::new(VALUE, self.data_type.clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![values.clone()])
            .internal_context(|| "cannot look at values".into())?;
        let frame = to_frame(&schema, [Ok(batch)], VALUE)?;
        let found = extremes(&values_of(&frame)?)?;
        let found = found.iter().map(|extreme| self.values(extreme));
        let found = found.collect::<Result<Vec<_>>>()?;
        let found: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
        concat(&found).internal_context(|| "cannot keep the extremes".into())
    }

    /// Groups what was gathered with what was counted.
    fn group(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        (self.gathered_rows, self.gathered_bytes) = (0, 0);
        let sides = self.sides.len();
        let batches = gathered.into_iter().map(|(side, mut columns)| {
            let rows = columns.first().map_or(0, |column| column.len());
            let count = |at: usize| -> ArrayRef {
                Arc::new(UInt64Array::from_value(u64::from(at == side), rows))
            };
            columns.extend((0..sides).map(count));
            RecordBatch::try_new(self.schema.clone(), columns)
                .internal_context(|| "cannot gather values".into())
        });
        let new = to_frame(&self.schema, batches, VALUE)?;
        let all = match self.counted.take() {
            None => new,
            Some(mut all) => {
                let doing = || "cannot put values together".to_owned();
                all.vstack_mut_owned(new).internal_context(doing)?;
                all
            }
        };
        self.counted = Some(grouped(all, sides)?);
        Ok(())
    }

    /// What is said of a side whose values are those for which `occurs` holds.
    fn with_extremes(
        &self,
        totals: &SideTotals,
        counted: &DataFrame,
        occurs: &BooleanChunked,
    ) -> Result<SideStatistics> {
        let distinct = match self.is_unique {
            true => totals.rows - totals.nulls,
            false => occurs.num_trues() as u64,
        };
        let mut side = self.side(totals, distinct);
        let has_values = totals.rows > totals.nulls + totals.nans;
        if has_values && has_order(&self.data_type) {
            let values = values_of(counted)?;
            let values = match occurs.all() {
                true => values,
                false => values
                    .filter(occurs)
                    .internal_context(|| "cannot select values".into())?,
            };
            let [min, max] = extremes(&values)?;
            side.min = Some(self.values(&min)?);
            side.max = Some(self.values(&max)?);
        }
        Ok(side)
    }

    fn side(&self, totals: &SideTotals, distinct: u64) -> SideStatistics {
        let numbers = totals.rows - totals.nulls - totals.nans;
        #[allow(clippy::cast_precision_loss, reason = "a mean is a float")]
        let mean = (numbers > 0 && has_mean(&self.data_type)).then(|| totals.sum / numbers as f64);
        SideStatistics {
            rows: totals.rows,
            nulls: totals.nulls,
            nans: totals.nans,
            distinct,
            min: None,
            max: None,
            mean: mean.filter(|mean| mean.is_finite()),
        }
    }

    /// Values that polars holds, as the column has them.
    fn values(&self, series: &Series) -> Result<ArrayRef> {
        let frame = DataFrame::new(series.len(), vec![series.clone().into()])
            .internal_context(|| "cannot take values".into())?;
        let (_, batches) = to_batches(&frame)?;
        let chunks: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.column(0).as_ref())
            .collect();
        let doing = || "cannot take values".to_owned();
        let whole = match chunks.is_empty() {
            true => return Ok(new_empty_array(&self.data_type)),
            false => concat(&chunks).internal_context(doing)?,
        };
        let Some(encoding) = &self.encoding else {
            return cast(&whole, &self.data_type).internal_context(doing);
        };
        let bytes = cast(&whole, &DataType::Binary).internal_context(doing)?;
        let parser = encoding.parser();
        let rows = bytes.as_binary::<i32>().iter().flatten();
        let columns = encoding
            .convert_rows(rows.map(|bytes| parser.parse(bytes)))
            .internal_context(doing)?;
        let values = columns.into_iter().next();
        values.ok_or_else(|| Error::internal("an encoded value has one column"))
    }
}

impl SideTotals {
    /// Adds up numbers.
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        if !has_mean(values.data_type()) {
            return Ok(());
        }
        let nans = match values.data_type() {
            DataType::Float32 => {
                let floats = values.as_primitive::<Float32Type>().values();
                floats.iter().filter(|value| value.is_nan()).count()
            }
            DataType::Float64 => {
                let floats = values.as_primitive::<Float64Type>().values();
                floats.iter().filter(|value| value.is_nan()).count()
            }
            _ => 0,
        };
        self.nans += nans as u64;
        let doing = || "cannot add up numbers".to_owned();
        let floats = cast(values, &DataType::Float64).internal_context(doing)?;
        let floats = floats.as_primitive::<Float64Type>().values();
        let series = match nans {
            0 => Series::new(VALUE.into(), &floats[..]),
            _ => {
                let numbers = floats.iter().copied().filter(|value| !value.is_nan());
                Series::new(VALUE.into(), numbers.collect::<Vec<f64>>())
            }
        };
        self.sum += series.sum::<f64>().internal_context(doing)?;
        Ok(())
    }
}

/// The name of the column that has the counts of a side.
fn count_name(side: usize) -> String {
    format!("count_{side}")
}

fn values_of(frame: &DataFrame) -> Result<Series> {
    let column = frame
        .column(VALUE)
        .internal_context(|| "counted values are missing".into())?;
    Ok(column.as_materialized_series().clone())
}

/// The least and the greatest value; NaN is left out.
fn extremes(values: &Series) -> Result<[Series; 2]> {
    let doing = || "cannot find the least and the greatest value".to_owned();
    let min = values.min_reduce().internal_context(doing)?;
    let max = values.max_reduce().internal_context(doing)?;
    Ok([min, max].map(|extreme| extreme.into_series(VALUE.into())))
}

/// Each value once, with the sums of its counts.
fn grouped(all: DataFrame, sides: usize) -> Result<DataFrame> {
    let doing = || "cannot group values".to_owned();
    let by = match all.column(DIGEST) {
        Ok(_) => DIGEST,
        Err(_) => VALUE,
    };
    let groups = all
        .group_by_stable([by])
        .internal_context(doing)?
        .into_groups();
    let firsts: Vec<IdxSize> = groups.iter().map(|group| group.first()).collect();
    let mut columns = Vec::with_capacity(all.width());
    for column in all.columns() {
        let series = column.as_materialized_series();
        let taken = series.take_slice(&firsts).internal_context(doing)?;
        columns.push(Column::from(taken));
    }
    for side in 0..sides {
        let name = count_name(side);
        let column = all.column(&name).internal_context(doing)?;
        let numbers = column.as_materialized_series().rechunk();
        let numbers = numbers.u64().internal_context(doing)?;
        let numbers = numbers.cont_slice().internal_context(doing)?;
        let sum = |group: GroupsIndicator<'_>| -> u64 {
            match group {
                GroupsIndicator::Idx((_, rows)) => {
                    rows.iter().map(|row| numbers[*row as usize]).sum()
                }
                GroupsIndicator::Slice([first, length]) => {
                    numbers[first as usize..][..length as usize].iter().sum()
                }
            }
        };
        let sums: Vec<u64> = groups.iter().map(sum).collect();
        let at = columns.len() - sides + side;
        columns[at] = Series::new(name.as_str().into(), sums).into();
    }
    drop((groups, all));
    let frame = DataFrame::new(firsts.len(), columns).internal_context(doing)?;
    let is_bytes = frame
        .columns()
        .iter()
        .any(|column| column.dtype().is_string() || column.dtype().is_binary());
    match is_bytes {
        true => repacked(&frame),
        false => Ok(frame),
    }
}

/// The same values in buffers of their own; views hold those of all rows.
fn repacked(frame: &DataFrame) -> Result<DataFrame> {
    let (schema, batches) = to_batches(frame)?;
    let schema = packed_schema(&schema);
    let batches = batches.iter().map(|batch| packed(batch, &schema));
    to_frame(&schema, batches, VALUE)
}

/// The places of the values that are among the most frequent ones of a side. Polars' sorts with a
/// limit do not keep the order of equal numbers.
fn most_frequent(counts: &[Series], most: usize) -> Result<Vec<IdxSize>> {
    let mut chosen: BTreeSet<IdxSize> = BTreeSet::new();
    for side in counts {
        let mut best: BTreeSet<(Reverse<u64>, IdxSize)> = BTreeSet::new();
        let numbers = side
            .u64()
            .internal_context(|| "counts are numbers".into())?;
        for (place, number) in (0..).zip(numbers.iter().map(Option::unwrap_or_default)) {
            let is_full = best.len() >= most;
            let is_more = best
                .last()
                .is_some_and(|(Reverse(least), _)| number > *least);
            if number > 0 && (!is_full || is_more) {
                best.insert((Reverse(number), place));
                if is_full {
                    best.pop_last();
                }
            }
        }
        chosen.extend(best.iter().map(|(_, place)| *place));
    }
    let everywhere = |place: IdxSize| -> Result<(Reverse<u64>, IdxSize)> {
        let numbers = counts.iter().map(|side| number(side, place));
        Ok((Reverse(numbers.sum::<Result<u64>>()?), place))
    };
    let mut chosen = chosen
        .into_iter()
        .map(everywhere)
        .collect::<Result<Vec<_>>>()?;
    chosen.sort_unstable();
    Ok(chosen.into_iter().map(|(_, place)| place).collect())
}

fn number(counts: &Series, place: IdxSize) -> Result<u64> {
    let numbers = counts
        .u64()
        .internal_context(|| "counts are numbers".into())?;
    Ok(numbers.get(place as usize).unwrap_or(0))
}

/// The values in buffers of their own, if they hold far larger ones, such as those of a file.
fn own(values: ArrayRef) -> Result<ArrayRef> {
    if values.get_buffer_memory_size() <= 2 * bytes_of(&values)? + 4096 {
        return Ok(values);
    }
    let rows: UInt32Array = (0..u32::try_from(values.len()).unwrap_or(u32::MAX)).collect();
    take(&values, &rows, None).internal_context(|| "cannot copy values".into())
}

/// How many bytes the values themselves take.
fn bytes_of(values: &ArrayRef) -> Result<usize> {
    let size = values.to_data().get_slice_memory_size();
    size.internal_context(|| "cannot measure values".into())
}
