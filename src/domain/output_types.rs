//! One schema for all outputs of a job.
//!
//! Text has no types, so what the events of one day look like may differ from what those of another
//! day look like: whole numbers today, fractions tomorrow. A reader of all outputs takes one type
//! for each column and rounds or fails. So a column has the same type in every output of a job. A
//! date whose output would have another one is refused, with the declaration that settles the type:
//! nothing is guessed from other dates, and no result depends on the order of runs.
//!
//! A column without any value has no type of its own. It takes the one that other outputs have, and
//! it is text while none has one. An output that was written before another one gave the column a
//! type is out of date.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::canonical_types::written;
use super::type_names::type_name;
use super::widening::widen;

/// The types of the columns of a job's outputs, each with a date whose output has it.
#[derive(Debug, Default)]
pub struct OutputTypes {
    columns: BTreeMap<String, (DataType, NaiveDate)>,
}

/// A column that would have another type than it has in another output.
#[derive(Debug, PartialEq, Eq)]
pub struct OutputClash {
    /// The column.
    pub column: String,
    /// The type that it would have.
    pub found: DataType,
    /// The type that it has.
    pub known: DataType,
    /// A date whose output has it.
    pub date: NaiveDate,
}

impl OutputClash {
    /// A type that holds the values of both.
    pub fn way_out(&self) -> DataType {
        widen(&self.found, &self.known).unwrap_or(DataType::Utf8)
    }

    /// The refusal in words.
    pub fn in_words(&self) -> String {
        let OutputClash {
            column,
            found,
            known,
            date,
        } = self;
        format!(
            "column '{column}' is {} here, and {} in the output of {date}",
            type_name(found),
            type_name(known)
        )
    }
}

impl OutputTypes {
    /// Takes in the schema of an output, or tells in which column it differs from others. The
    /// schema comes back with the types that columns without values take from them.
    ///
    /// # Errors
    /// The first column of another type.
    pub fn admit(&mut self, schema: &SchemaRef, date: NaiveDate) -> Result<SchemaRef, OutputClash> {
        let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let own = field.data_type();
            let data_type = match self.columns.get(field.name()) {
                Some((known, _)) if fills(own, known) => known.clone(),
                Some((known, date)) if !fills(known, own) => {
                    return Err(OutputClash {
                        column: field.name().clone(),
                        found: own.clone(),
                        known: known.clone(),
                        date: *date,
                    });
                }
                _ => own.clone(),
            };
            fields.push(field.as_ref().clone().with_data_type(data_type));
        }
        for field in fields
            .iter()
            .filter(|field| field.data_type() != &DataType::Null)
        {
            let known = self
                .columns
                .entry(field.name().clone())
                .or_insert_with(|| (field.data_type().clone(), date));
            if &known.0 != field.data_type() {
                *known = (field.data_type().clone(), date);
            }
        }
        Ok(SchemaRef::new(Schema::new(fields)))
    }

    /// Why an output that stands is out of date: a column of it has no type, and has one in another
    /// output.
    pub fn missed(&self, schema: &Schema) -> Option<String> {
        schema.fields().iter().find_map(|field| {
            let (known, date) = self.columns.get(field.name())?;
            let own = field.data_type();
            let has_missed = own != known && written(own) != *own && fills(own, known);
            has_missed.then(|| {
                format!(
                    "column '{}' has no type yet, and is {} in the output of {date}",
                    field.name(),
                    type_name(known)
                )
            })
        })
    }
}

/// Whether a type becomes another one if only its parts without any value take a type.
fn fills(own: &DataType, other: &DataType) -> bool {
    use DataType as T;
    match (own, other) {
        (T::Null, _) => true,
        (T::List(one), T::List(other)) => fills(one.data_type(), other.data_type()),
        (T::Struct(ones), T::Struct(others)) => {
            ones.len() == others.len()
                && ones.iter().zip(others).all(|(one, other)| {
                    one.name() == other.name() && fills(one.data_type(), other.data_type())
                })
        }
        _ => own == other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::parse_date;

    fn date(day: u32) -> NaiveDate {
        parse_date(&format!("2024-01-{day:02}")).expect("a date")
    }

    fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
        Arc::new(Schema::new(
            columns
                .iter()
                .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
                .collect::<Vec<_>>(),
        ))
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    #[test]
    fn a_column_has_one_type() {
        let mut types = OutputTypes::default();
        let first = schema(&[("id", DataType::Int64), ("x", DataType::Int64)]);
        assert_eq!(types.admit(&first, date(2)), Ok(first.clone()));
        let clash = types
            .admit(
                &schema(&[("id", DataType::Int64), ("x", DataType::Float64)]),
                date(1),
            )
            .expect_err("another type");
        assert_eq!(
            clash.in_words(),
            "column 'x' is float64 here, and int64 in the output of 2024-01-02"
        );
        assert_eq!(clash.way_out(), DataType::Float64);
        let clash = types
            .admit(&schema(&[("x", DataType::Boolean)]), date(1))
            .expect_err("another type");
        assert_eq!(clash.way_out(), DataType::Utf8);
        let more = schema(&[("x", DataType::Int64), ("new", DataType::Utf8)]);
        assert_eq!(
            types.admit(&more, date(3)),
            Ok(more),
            "columns may come and go"
        );
    }

    #[test]
    fn a_column_without_values_takes_the_type_that_others_have() {
        let mut types = OutputTypes::default();
        let untyped = schema(&[
            ("id", DataType::Int64),
            ("x", DataType::Null),
            ("tags", list(DataType::Null)),
        ]);
        assert_eq!(types.admit(&untyped, date(1)), Ok(untyped.clone()));
        assert_eq!(types.missed(&untyped), None);
        let typed = schema(&[
            ("id", DataType::Int64),
            ("x", DataType::Int64),
            ("tags", list(DataType::Utf8)),
        ]);
        assert_eq!(types.admit(&typed, date(2)), Ok(typed.clone()));
        assert_eq!(
            types.missed(&untyped).as_deref(),
            Some("column 'x' has no type yet, and is int64 in the output of 2024-01-02")
        );
        assert_eq!(types.missed(&typed), None);
        assert_eq!(
            types.admit(&untyped, date(3)),
            Ok(typed),
            "in whatever order"
        );
    }
}
