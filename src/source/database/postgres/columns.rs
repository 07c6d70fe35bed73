//! The columns of a query, and the arrays that they are filled into.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, NullBufferBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use tokio_postgres::types::Kind;

use super::values::{PostgresValues, Scalar};
use crate::domain::type_names::list_of;
use crate::error::{Context, Error, Result};
use crate::source::database::stream::Asked;

/// A column that is filled value by value.
pub(super) struct PostgresColumn {
    pub(super) name: String,
    /// The values, or the items of the lists.
    values: PostgresValues,
    lists: Option<Lists>,
}

/// Where each list ends.
struct Lists {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Lists {
    fn new() -> Self {
        Lists {
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        }
    }
}

/// The columns of a query.
///
/// # Errors
/// A refusal of a type that has no canonical one, with a query that reads its text.
pub(super) fn columns(
    described: &[tokio_postgres::Column],
    asked: &Asked,
) -> Result<Vec<PostgresColumn>> {
    let names: Vec<&str> = described.iter().map(|column| column.name()).collect();
    let columns = described.iter().enumerate().map(|(at, column)| {
        let (item, is_list) = match column.type_().kind() {
            Kind::Array(item) => (item, true),
            _ => (column.type_(), false),
        };
        let scalar = Scalar::of(item, column.type_modifier()).ok_or_else(|| {
            Error::refused(format!(
                "column '{}' is {}, which has no exact type in the lake",
                column.name(),
                column.type_()
            ))
            .hint(asked.casting(at, &names))
        })?;
        Ok(PostgresColumn::new(column.name(), scalar, is_list))
    });
    columns.collect()
}

impl PostgresColumn {
    fn new(name: &str, scalar: Scalar, is_list: bool) -> Self {
        PostgresColumn {
            name: name.to_owned(),
            values: PostgresValues::new(scalar),
            lists: is_list.then(Lists::new),
        }
    }

    pub(super) fn field(&self) -> Field {
        let data_type = self.values.scalar.data_type();
        let data_type = match self.lists {
            Some(_) => list_of(data_type),
            None => data_type,
        };
        Field::new(&self.name, data_type, true)
    }

    /// Whether the values are numbers whose digits are not known yet.
    pub(super) fn wants_digits(&self) -> bool {
        self.values.scalar == Scalar::AnyDecimal
    }

    pub(super) fn is_list(&self) -> bool {
        self.lists.is_some()
    }

    /// Gives numbers their digits.
    pub(super) fn settle(&mut self, precision: u8, scale: i8) {
        self.values = PostgresValues::new(Scalar::Decimal(precision, scale));
    }

    /// Adds a value in the binary format, and says about how many bytes it takes.
    ///
    /// # Errors
    /// Why the column does not hold the value, in words that follow its name.
    pub(super) fn push(&mut self, value: Option<&[u8]>) -> Result<usize, String> {
        let Some(lists) = &mut self.lists else {
            return self.values.push(value);
        };
        if let Some(array) = value {
            push_items(&mut self.values, array)?;
        }
        lists.nulls.append(value.is_some());
        let end = i32::try_from(self.values.len()).map_err(|_| "has too many items")?;
        lists.offsets.push(end);
        Ok(value.map_or(0, <[u8]>::len) + size_of::<i32>())
    }

    /// The values so far; the column is empty then.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let values = self.values.finish();
        let Some(lists) = &mut self.lists else {
            return Ok(values);
        };
        let Lists { offsets, mut nulls } = std::mem::replace(lists, Lists::new());
        let item = Field::new("item", values.data_type().clone(), true);
        let offsets = OffsetBuffer::new(offsets.into());
        let lists = ListArray::try_new(Arc::new(item), offsets, values, nulls.finish());
        let lists = lists.internal_context(|| format!("column '{}' has no lists", self.name))?;
        Ok(Arc::new(lists))
    }
}

/// Adds the items of an array: dimensions, and then lengths and values.
fn push_items(items: &mut PostgresValues, mut array: &[u8]) -> Result<(), String> {
    let broken = || "holds an array that cannot be read".to_owned();
    let dimensions = next_number(&mut array).ok_or_else(broken)?;
    // Whether there are nulls, and the type of the items.
    next_number(&mut array)
        .and(next_number(&mut array))
        .ok_or_else(broken)?;
    if dimensions == 0 {
        return Ok(());
    }
    if dimensions > 1 {
        return Err(format!(
            "holds an array of {dimensions} dimensions, which is not a list"
        ));
    }
    let count = next_number(&mut array).ok_or_else(broken)?;
    let first = next_number(&mut array).ok_or_else(broken)?;
    if first != 1 {
        return Err(format!(
            "holds an array whose first index is {first}, which a list does not tell"
        ));
    }
    for _ in 0..count {
        let length = next_number(&mut array).ok_or_else(broken)?;
        let item = match usize::try_from(length) {
            Err(_) => None,
            Ok(length) => {
                let (item, rest) = array.split_at_checked(length).ok_or_else(broken)?;
                array = rest;
                Some(item)
            }
        };
        items.push(item)?;
    }
    Ok(())
}

fn next_number(bytes: &mut &[u8]) -> Option<i32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cast::display;

    /// An array of int4 in the binary format; `None` is a null.
    fn array(dimensions: &[(i32, i32)], items: &[Option<i32>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut number = |number: i32| bytes.extend(number.to_be_bytes());
        [dimensions.len() as i32, 1, 23]
            .into_iter()
            .for_each(&mut number);
        for (count, first) in dimensions {
            number(*count);
            number(*first);
        }
        for item in items {
            number(item.map_or(-1, |_| 4));
            item.iter().for_each(|item| number(*item));
        }
        bytes
    }

    #[test]
    fn arrays_are_lists() {
        let mut column = PostgresColumn::new("n", Scalar::Int32, true);
        for value in [
            Some(array(&[(2, 1)], &[Some(7), None])),
            None,
            Some(array(&[], &[])),
        ] {
            column.push(value.as_deref()).expect("a list");
        }
        let lists = column.finish().expect("a column");
        let shown: Vec<String> = (0..3).map(|row| display(&lists, row)).collect();
        assert_eq!(shown, ["[7, null]", "", "[]"]);
        assert_eq!(lists.data_type(), column.field().data_type());
        for (value, what) in [
            (array(&[(1, 1), (1, 1)], &[Some(1)]), "2 dimensions"),
            (array(&[(1, 0)], &[Some(1)]), "first index is 0"),
            (array(&[(2, 1)], &[Some(1)]), "cannot be read"),
        ] {
            let error = column.push(Some(&value)).expect_err(what);
            assert!(error.contains(what), "{error}");
        }
    }
}
