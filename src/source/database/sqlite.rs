//! SQLite: the values of one table or query, inside one read transaction.
//!
//! A value of SQLite has one of five types, whatever its column says. A column's type is decided
//! in this order:
//!
//! | the column | its type |
//! | --- | --- |
//! | is declared in asof.toml | that one; each value is read as text of it |
//! | has a declared type that says which values it has ([`declared`]) | that one |
//! | any other: `NUMERIC`, `JSON`, none, an expression | the one type that all its values have |
//!
//! Values whose type tells are looked at by one more pass inside the same transaction, so both
//! passes see the same rows.

mod column;
mod declared;
mod opening;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rusqlite::{Connection, Error as SqliteError, ErrorCode, Statement};

use self::column::SqliteColumn;
use self::declared::type_of;
use self::opening::OpenedFile;
use super::DatabaseRelation;
use super::stream::{Asked, Ended, Fill, RowSink, on_a_thread};
use crate::domain::widening::widen;
use crate::error::{Context, Error, Result};
use crate::source::{HEAD_ROWS, SourceRows};

/// Reads a table or query of a file.
///
/// # Errors
/// A failure to open the file; a refusal of the table, the query or the type of a column.
pub(super) fn read(path: PathBuf, asked: Asked) -> Result<SourceRows> {
    on_a_thread(move |sink| {
        let file = OpenedFile::open(&path)?;
        let transaction = file
            .connection
            .unchecked_transaction()
            .map_err(|error| asked.of_sqlite(error))?;
        let sql = sql(&transaction, &asked)?;
        let mut statement = transaction
            .prepare(&sql)
            .map_err(|error| asked.of_sqlite(error))?;
        if statement.column_count() == 0 || !statement.readonly() {
            return Err(asked.refused("it is not a query that returns rows").into());
        }
        let schema = schema(&transaction, &statement, &sql, &asked)?;
        sink.columns(schema.clone())?;
        let sent = match asked.rules.only_columns {
            true => Ok(()),
            false => send_rows(&mut statement, &schema, &asked, sink),
        };
        file.check_unwritten()?;
        sent
    })
}

/// The query that reads what is asked for.
fn sql(connection: &Connection, asked: &Asked) -> Result<String> {
    let table = match &asked.relation {
        DatabaseRelation::Query(query) => return Ok(query.clone()),
        DatabaseRelation::Table(table) => table.strip_prefix("main.").unwrap_or(table),
    };
    let names = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";
    let known: Vec<String> = connection
        .prepare(names)
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .map_err(|error| asked.of_sqlite(error))?;
    if !known.iter().any(|name| name.eq_ignore_ascii_case(table)) {
        return Err(asked.no_table(table, known.iter().map(String::as_str)));
    }
    Ok(format!("SELECT * FROM {}", quoted(table)))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The columns of a query and their types.
fn schema(
    connection: &Connection,
    statement: &Statement<'_>,
    sql: &str,
    asked: &Asked,
) -> Result<SchemaRef> {
    let mut fields: Vec<(String, Option<DataType>)> = Vec::new();
    for column in statement.columns() {
        let declared = asked.rules.declared.get(column.name()).cloned();
        let data_type = declared.or_else(|| type_of(column.decl_type()?));
        fields.push((column.name().to_owned(), data_type));
    }
    let untyped = fields.iter().enumerate();
    let untyped = untyped.filter(|(_, (_, data_type))| data_type.is_none());
    let untyped: Vec<(usize, &str)> = untyped.map(|(at, (name, _))| (at, name.as_str())).collect();
    let mut found = types_of_values(connection, sql, fields.len(), &untyped, asked)?.into_iter();
    let fields = fields.into_iter().map(|(name, data_type)| {
        let data_type = data_type.or_else(|| found.next());
        Field::new(name, data_type.unwrap_or(DataType::Null), true)
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The types that hold all values of some columns of a query, which has so many of them.
fn types_of_values(
    connection: &Connection,
    sql: &str,
    all: usize,
    columns: &[(usize, &str)],
    asked: &Asked,
) -> Result<Vec<DataType>> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let classes: Vec<String> = columns
        .iter()
        .map(|(at, _)| format!("group_concat(DISTINCT typeof(c{at}))"))
        .collect();
    let names: Vec<String> = (0..all).map(|at| format!("c{at}")).collect();
    let query = sql.trim_end().trim_end_matches(';');
    let rows = match asked.rules.only_columns {
        true => format!("(SELECT * FROM q LIMIT {HEAD_ROWS})"),
        false => "q".to_owned(),
    };
    let survey = format!(
        "WITH q({}) AS (\n{query}\n) SELECT {} FROM {rows}",
        names.join(", "),
        classes.join(", ")
    );
    let found: Vec<Option<String>> = connection
        .query_row(&survey, [], |row| {
            (0..columns.len()).map(|at| row.get(at)).collect()
        })
        .map_err(|error| asked.of_sqlite(error))?;
    let pins = asked.rules.pins();
    let types = columns.iter().zip(found).map(|((_, name), classes)| {
        let classes = classes.unwrap_or_default();
        let found = type_of_classes(&classes).ok_or_else(|| {
            let classes = classes.replace(',', " and ");
            Error::refused(format!(
                "column '{name}' holds values of the types {classes}"
            ))
            .hint(asked.rules.as_text(name, "the values as text"))
        })?;
        // A column of floats stays one on a night without fractions.
        let pinned = pins.of(name).filter(|pinned| {
            found != DataType::Null && widen(pinned, &found).as_ref() == Some(*pinned)
        });
        Ok(pinned.cloned().unwrap_or(found))
    });
    types.collect()
}

/// The type that holds values of some of SQLite's types, which commas separate.
fn type_of_classes(classes: &str) -> Option<DataType> {
    let mut found: Vec<&str> = classes
        .split(',')
        .filter(|class| !matches!(*class, "" | "null"))
        .collect();
    found.sort_unstable();
    Some(match found.as_slice() {
        [] => DataType::Null,
        ["integer"] => DataType::Int64,
        ["real"] | ["integer", "real"] => DataType::Float64,
        ["text"] => DataType::Utf8,
        ["blob"] => DataType::Binary,
        _ => return None,
    })
}

/// Hands on the rows of a query, in batches of bounded size.
fn send_rows(
    statement: &mut Statement<'_>,
    schema: &SchemaRef,
    asked: &Asked,
    sink: &RowSink,
) -> Result<(), Ended> {
    let mut columns: Vec<SqliteColumn> = schema
        .fields()
        .iter()
        .map(|field| SqliteColumn::new(field.data_type(), asked.rules.declared.get(field.name())))
        .collect();
    let mut rows = statement
        .query([])
        .map_err(|error| asked.of_sqlite(error))?;
    let mut fill = Fill::default();
    loop {
        let row = rows.next().map_err(|error| asked.of_sqlite(error))?;
        if fill.is_due(row.is_none()) {
            sink.rows(batch(&mut columns, schema, &fill, asked)?)?;
            fill.begin_batch();
        }
        let Some(row) = row else { return Ok(()) };
        let mut bytes = 0;
        for (at, column) in columns.iter_mut().enumerate() {
            let value = row.get_ref(at).map_err(|error| asked.of_sqlite(error))?;
            bytes += column
                .push(value)
                .map_err(|what| asked.not_held(schema.field(at).name(), fill.number(), &what))?;
        }
        fill.add_row(bytes);
    }
}

/// The rows that columns hold, which are empty then.
fn batch(
    columns: &mut [SqliteColumn],
    schema: &SchemaRef,
    fill: &Fill,
    asked: &Asked,
) -> Result<RecordBatch> {
    let arrays = columns
        .iter_mut()
        .zip(schema.fields())
        .map(|(column, field)| {
            column
                .finish()
                .map_err(|(row, what)| asked.not_held(field.name(), fill.number_of(row), &what))
        });
    RecordBatch::try_new(schema.clone(), arrays.collect::<Result<_>>()?)
        .internal_context(|| "rows of SQLite do not fit their columns".into())
}

impl Asked {
    /// The refusal of a value that its column does not hold.
    fn not_held(&self, column: &str, row: u64, what: &str) -> Error {
        self.no_value(column, row, what)
            .hint(self.rules.as_text(column, "the values as text"))
    }

    /// What an error of SQLite means to the caller.
    fn of_sqlite(&self, error: SqliteError) -> Error {
        let failed = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Error::io("another program has locked the database")
                    .hint("run it again when the other program is done")
            }
            Some(ErrorCode::NotADatabase) => {
                Error::refused("the file is not an SQLite database, or it is encrypted")
            }
            Some(ErrorCode::DatabaseCorrupt) => Error::damaged("the database is damaged")
                .hint("sqlite3 FILE '.recover' shows what can be saved"),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory) => {
                Error::io(format!("cannot read the database: {error}"))
            }
            _ => self.refused(&error.to_string()),
        };
        failed.caused_by(error)
    }
}

#[cfg(test)]
mod tests;
