//! Relations as Spark is told of them: files with their columns, rows, and queries over views.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use spark_connect_proto as proto;

use super::types::{columns_ddl, spark_type};
use crate::error::{Context, Result};

/// Rows that Spark reads or computes.
#[derive(Clone, Debug)]
pub struct SparkRelation(pub(super) proto::Relation);

impl SparkRelation {
    /// The rows of Parquet files, by exact paths. The files are read in these types, and columns
    /// that a file does not have are null.
    ///
    /// # Errors
    /// A refusal of a column of a type that Spark does not have.
    pub fn parquet(paths: &[String], columns: &SchemaRef) -> Result<Self> {
        let source = proto::read::DataSource {
            format: Some("parquet".to_owned()),
            schema: Some(columns_ddl(columns)?),
            // Otherwise folders such as `date=2024-03-01` would be taken for columns.
            options: HashMap::from([("recursiveFileLookup".to_owned(), "true".to_owned())]),
            paths: paths.iter().map(|path| escaped(path)).collect(),
            ..Default::default()
        };
        let read = proto::Read {
            is_streaming: false,
            read_type: Some(proto::read::ReadType::DataSource(source)),
        };
        Ok(Self::of(proto::relation::RelType::Read(read)))
    }

    /// Rows that are sent along.
    ///
    /// # Errors
    /// A refusal of a column of a type that Spark does not have; a failure to encode the rows.
    pub fn rows(columns: &SchemaRef, batches: &[RecordBatch]) -> Result<Self> {
        let mut bytes = Vec::new();
        let doing = || "cannot encode rows for Spark".to_owned();
        let mut writer = StreamWriter::try_new(&mut bytes, columns).io_context(doing)?;
        for batch in batches {
            writer.write(batch).io_context(doing)?;
        }
        writer.finish().io_context(doing)?;
        drop(writer);
        let local = proto::LocalRelation {
            data: Some(bytes.into()),
            schema: Some(columns_ddl(columns)?),
        };
        Ok(Self::of(proto::relation::RelType::LocalRelation(local)))
    }

    /// A query over the views of a session.
    pub fn sql(query: impl Into<String>) -> Self {
        Self::of(proto::relation::RelType::Sql(proto::Sql {
            query: query.into(),
            ..Default::default()
        }))
    }

    /// Expressions over the columns of the rows, of which files also have `_metadata`.
    #[must_use]
    pub fn project(self, expressions: impl Iterator<Item = String>) -> Self {
        use proto::expression::{ExprType, ExpressionString};

        let expression = |expression: String| proto::Expression {
            expr_type: Some(ExprType::ExpressionString(ExpressionString { expression })),
            ..Default::default()
        };
        Self::of(proto::relation::RelType::Project(Box::new(
            proto::Project {
                input: Some(Box::new(self.0)),
                expressions: expressions.map(expression).collect(),
            },
        )))
    }

    /// The rows of both, which have the same columns.
    #[must_use]
    pub fn union_all(self, other: Self) -> Self {
        Self::of(proto::relation::RelType::SetOp(Box::new(
            proto::SetOperation {
                left_input: Some(Box::new(self.0)),
                right_input: Some(Box::new(other.0)),
                set_op_type: proto::set_operation::SetOpType::Union.into(),
                is_all: Some(true),
                ..Default::default()
            },
        )))
    }

    fn of(kind: proto::relation::RelType) -> Self {
        SparkRelation(proto::Relation {
            common: Some(proto::RelationCommon::default()),
            rel_type: Some(kind),
        })
    }
}

/// A name in Spark's SQL.
pub fn spark_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in Spark's SQL.
pub fn spark_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A column in a type, by its own name; null if the rows do not have it.
pub fn cast_column(stored: &Schema, name: &str, data_type: &DataType) -> String {
    let quoted = spark_name(name);
    let value = match stored.field_with_name(name) {
        Ok(field) => cast_value(&quoted, field.data_type(), data_type, 0),
        Err(_) => null_of(data_type),
    };
    match value == quoted {
        true => value,
        false => format!("{value} AS {quoted}"),
    }
}

/// A null of a type. One without a type has none for Spark either, until it is written.
fn null_of(data_type: &DataType) -> String {
    if data_type == &DataType::Null {
        return "NULL".to_owned();
    }
    format!(
        "CAST(NULL AS {})",
        spark_type(data_type).unwrap_or_default()
    )
}

/// A value in another type. Fields of structs are found by their names: Spark's own cast takes them
/// by their places. `depth` is how many lists the value stands in.
fn cast_value(value: &str, from: &DataType, to: &DataType, depth: usize) -> String {
    use DataType as T;
    if to == &T::Null {
        return null_of(to);
    }
    if from == to {
        return value.to_owned();
    }
    let item = format!("e{depth}");
    match (from, to) {
        // It is stored as text.
        (T::Null, _) => null_of(to),
        (T::Struct(own), T::Struct(fields)) => {
            let fields = fields.iter().map(|field| {
                let name = field.name();
                let found = own.iter().find(|own| own.name() == name);
                let part = match found {
                    Some(own) => {
                        let part = format!("{value}.{}", spark_name(name));
                        cast_value(&part, own.data_type(), field.data_type(), depth)
                    }
                    None => null_of(field.data_type()),
                };
                format!("{}, {part}", spark_text(name))
            });
            let fields = fields.collect::<Vec<_>>().join(", ");
            format!("CASE WHEN {value} IS NOT NULL THEN named_struct({fields}) END")
        }
        (T::List(own), T::List(of)) => {
            let part = cast_value(&item, own.data_type(), of.data_type(), depth + 1);
            format!("transform({value}, {item} -> {part})")
        }
        (T::Map(own, _), T::Map(of, _)) => {
            let part = cast_value(&item, own.data_type(), of.data_type(), depth + 1);
            format!("map_from_entries(transform(map_entries({value}), {item} -> {part}))")
        }
        _ => format!("CAST({value} AS {})", spark_type(to).unwrap_or_default()),
    }
}

/// A path of which Spark takes no character for a wildcard.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for c in path.chars() {
        if "{}[]*?\\".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::type_names::parse_type;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(spark_name("a`b"), "`a``b`");
        assert_eq!(spark_text(r"it's \n"), r"'it\'s \\n'");
    }

    #[test]
    fn parts_of_values_are_cast_by_their_names() {
        let of = |name: &str| parse_type(name).expect(name);
        let cast = |from: &str, to: &str| cast_value("x", &of(from), &of(to), 0);
        assert_eq!(cast("int32", "int32"), "x");
        assert_eq!(cast("null", "null"), "NULL");
        assert_eq!(cast("int32", "int64"), "CAST(x AS BIGINT)");
        assert_eq!(cast("null", "list<int64>"), "CAST(NULL AS ARRAY<BIGINT>)");
        assert_eq!(
            cast(
                "struct<a: int32, b: text>",
                "struct<b: text, a: int64, c: date>"
            ),
            "CASE WHEN x IS NOT NULL THEN named_struct('b', x.`b`, 'a', CAST(x.`a` AS BIGINT), \
             'c', CAST(NULL AS DATE)) END"
        );
        assert_eq!(
            cast("list<list<int32>>", "list<list<int64>>"),
            "transform(x, e0 -> transform(e0, e1 -> CAST(e1 AS BIGINT)))"
        );
        assert_eq!(
            cast("map<text, int32>", "map<text, int64>"),
            "map_from_entries(transform(map_entries(x), e0 -> CASE WHEN e0 IS NOT NULL THEN \
             named_struct('key', e0.`key`, 'value', CAST(e0.`value` AS BIGINT)) END))"
        );
    }
}
