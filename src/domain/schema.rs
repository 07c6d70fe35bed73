//! Schemas: columns that appear, go and widen from one snapshot to the next.
//!
//! [`unify`] gives the schema that holds two, and the [`Drift`] between them. An absent column is a
//! column of nulls, before it appears and after it goes. A change of type that is no
//! [`widening`](super::widening) is a [`TypeClash`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::type_names::type_name;
use super::widening::{holding, widen};
use crate::error::{Error, Result, toml_key};

/// The columns of a schema by name, for whoever looks up many: a schema itself looks through all of
/// its columns for each.
pub fn by_name(schema: &Schema) -> HashMap<&str, &FieldRef> {
    schema
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), field))
        .collect()
}

/// The columns of a batch by name, for whoever looks up many.
pub fn columns_by_name(batch: &RecordBatch) -> HashMap<&str, &ArrayRef> {
    let fields = batch.schema_ref().fields().iter();
    let names = fields.map(|field| field.name().as_str());
    names.zip(batch.columns()).collect()
}

/// The columns of `schema` in the types of `types`, where it names them.
pub fn with_types<'a>(
    schema: &SchemaRef,
    types: impl Fn(&str) -> Option<&'a DataType>,
) -> SchemaRef {
    let differs = |field: &Arc<Field>| {
        types(field.name()).is_some_and(|data_type| data_type != field.data_type())
    };
    if !schema.fields().iter().any(differs) {
        return schema.clone();
    }
    let fields = schema
        .fields()
        .iter()
        .map(|field| match types(field.name()) {
            Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type.clone())),
            None => field.clone(),
        });
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// What a new schema changed in the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Columns that were not there before.
    pub added: Vec<String>,
    /// Columns that are gone; they read as null from now on.
    pub absent: Vec<String>,
    /// Columns whose type became wider: name, old type, new type.
    pub widened: Vec<(String, DataType, DataType)>,
    /// Columns whose name changed its case: the new name, and the one that they keep.
    pub respelled: Vec<(String, String)>,
}

impl Drift {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.absent.is_empty()
            && self.widened.is_empty()
            && self.respelled.is_empty()
    }

    /// The changes in words: `column lid appears (text), column x is gone`.
    pub fn in_words(&self) -> String {
        let appeared = self
            .added
            .iter()
            .map(|name| format!("column '{name}' appears"));
        let gone = self
            .absent
            .iter()
            .map(|name| format!("column '{name}' is gone"));
        let wider = self.widened.iter().map(|(name, from, to)| {
            format!(
                "column '{name}' widens from {} to {}",
                type_name(from),
                type_name(to)
            )
        });
        let spelled = self.respelled.iter().map(|(now, kept)| {
            format!("column '{kept}' is now '{now}', and keeps its name: only the case differs")
        });
        appeared
            .chain(gone)
            .chain(wider)
            .chain(spelled)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A change of type that is not a safe widening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeClash {
    /// The column.
    pub column: String,
    /// The type of the column so far.
    pub from: DataType,
    /// The type of the column now.
    pub to: DataType,
}

/// Every column whose types do not widen into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeClashes(pub Vec<TypeClash>);

impl TypeClashes {
    /// The refusal, naming the table, the date on which types changed, and every column.
    pub fn refusal(&self, table: &str, date: impl std::fmt::Display) -> Error {
        let which = if self.0.len() == 1 {
            "which is not a safe widening"
        } else {
            "none of which is a safe widening"
        };
        let error = Error::refused(format!(
            "table {table}, {date}: {}, {which}",
            self.in_words()
        ));
        let settles =
            |clash: &TypeClash| Some((clash.column.clone(), holding(&clash.from, &clash.to)?));
        match self.0.iter().map(settles).collect::<Option<Vec<_>>>() {
            Some(types) => error.hint(declaration(table, &types)),
            None => error.hint("correct the source"),
        }
    }
}

/// Two schemas in types that hold the values of both, wherever their own types clash.
pub struct HeldSchemas {
    /// The schema that holds both.
    pub schema: SchemaRef,
    /// What changed, but for the clashes.
    pub drift: Drift,
}

impl TypeClashes {
    /// The schema that holds both of the schemas that clash: where they do, in the type that
    /// settles it, which is mostly text.
    ///
    /// # Errors
    /// The clashes again, if there is no such type.
    pub fn held(self, so_far: &SchemaRef, next: &SchemaRef) -> Result<HeldSchemas, Self> {
        let held =
            |clash: &TypeClash| Some((clash.column.clone(), holding(&clash.from, &clash.to)?));
        let Some(types) = self.0.iter().map(held).collect::<Option<HashMap<_, _>>>() else {
            return Err(self);
        };
        let settled = |schema: &SchemaRef| with_types(schema, |name| types.get(name));
        let (schema, drift) = unify(&settled(so_far), &settled(next))?;
        Ok(HeldSchemas { schema, drift })
    }

    /// The changes of type in words: `column 'price' changes from float64 to text`.
    pub fn in_words(&self) -> String {
        let change = |clash: &TypeClash| {
            format!(
                "column '{}' changes from {} to {}",
                clash.column,
                type_name(&clash.from),
                type_name(&clash.to)
            )
        };
        self.0.iter().map(change).collect::<Vec<_>>().join(", ")
    }
}

/// The hint that declaring types settles a clash: a declared type applies to every snapshot of the
/// table.
pub fn declaration(table: &str, types: &[(String, DataType)]) -> String {
    let types: Vec<String> = types
        .iter()
        .map(|(column, data_type)| format!("{} = \"{}\"", toml_key(column), type_name(data_type)))
        .collect();
    let (noun, it) = if types.len() == 1 {
        ("column", "it")
    } else {
        ("columns", "them")
    };
    let table = toml_key(table);
    let types = types.join(", ");
    format!(
        "[tables.{table}] types = {{ {types} }} in asof.toml reads the {noun} this way on every \
         date, or correct {it} in the source"
    )
}

/// The schema that holds both, with columns in the order of their first appearance, and what `next`
/// changed against `so_far`. Both are canonical.
///
/// # Errors
/// Every column whose types do not widen into one.
pub fn unify(so_far: &Schema, next: &Schema) -> Result<(SchemaRef, Drift), TypeClashes> {
    let mut drift = Drift::default();
    let mut clashes = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    let now_by_name = by_name(next);
    let known = by_name(so_far);
    for field in so_far.fields() {
        let Some(now) = now_by_name.get(field.name().as_str()) else {
            drift.absent.push(field.name().clone());
            fields.push(field.as_ref().clone());
            continue;
        };
        let Some(wide) = widen(field.data_type(), now.data_type()) else {
            let from = field.data_type().clone();
            let to = now.data_type().clone();
            clashes.push(TypeClash {
                column: field.name().clone(),
                from,
                to,
            });
            continue;
        };
        if &wide != field.data_type() {
            drift.widened.push((
                field.name().clone(),
                field.data_type().clone(),
                wide.clone(),
            ));
        }
        fields.push(Field::new(field.name(), wide, true));
    }
    for field in next.fields() {
        if !known.contains_key(field.name().as_str()) {
            drift.added.push(field.name().clone());
            fields.push(field.as_ref().clone());
        }
    }
    if !clashes.is_empty() {
        return Err(TypeClashes(clashes));
    }
    Ok((Arc::new(Schema::new(fields)), drift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_the_order_of_their_first_appearance() {
        let old = Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("gone", DataType::Utf8, true),
        ]);
        let new = Schema::new(vec![
            Field::new("fresh", DataType::Utf8, true),
            Field::new("id", DataType::Int64, true),
        ]);
        let (wide, drift) = unify(&old, &new).expect("it widens");
        let names: Vec<&str> = wide
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["id", "gone", "fresh"]);
        assert_eq!(
            drift.in_words(),
            "column 'fresh' appears, column 'gone' is gone, column 'id' widens from int32 to int64"
        );
        assert_eq!(unify(&wide, &wide).expect("itself").1, Drift::default());
    }
}
