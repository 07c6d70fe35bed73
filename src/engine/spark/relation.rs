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
    let of = spark_type(data_type).unwrap_or_default();
    match stored.field_with_name(name) {
        Ok(field) if field.data_type() == data_type => quoted,
        Ok(_) => format!("CAST({quoted} AS {of}) AS {quoted}"),
        Err(_) => format!("CAST(NULL AS {of}) AS {quoted}"),
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

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(spark_name("a`b"), "`a``b`");
        assert_eq!(spark_text(r"it's \n"), r"'it\'s \\n'");
    }
}
