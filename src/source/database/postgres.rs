//! PostgreSQL: the rows of one table or query, by binary `COPY`, inside one transaction that is
//! read only and repeatable.
//!
//! The columns are those of the prepared query, and each type is one of [`values::Scalar`] or an
//! array of it. A `numeric` without digits, or with more than 38, gets those that its values need:
//! one more pass inside the same transaction finds them.

mod columns;
mod decimals;
mod failures;
mod values;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::{StreamExt, pin_mut};
use tokio_postgres::binary_copy::BinaryCopyOutStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, IsolationLevel, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::columns::{PostgresColumn, columns};
use self::decimals::settle_decimals;
use self::values::Raw;
use super::DatabaseRelation;
use super::login::Login;
use super::patience::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, KEEPALIVE_TOTAL};
use super::stream::{Asked, Ended, Fill, RowSink, on_a_runtime};
use super::tls::Mode;
use crate::error::{Context, Result};
use crate::source::SourceRows;

/// Reads a table or query of a server.
///
/// # Errors
/// A failure to connect; a refusal of the login, the table, the query or the type of a column.
pub(super) fn read(login: Login, asked: Asked) -> Result<SourceRows> {
    on_a_runtime(async move |sink| {
        let mut client = connect(&login).await?;
        let read = read_once(&mut client, &login, &asked, sink);
        match asked.rules.only_columns {
            true => login.described(read).await,
            false => read.await,
        }
    })
}

async fn read_once(
    client: &mut Client,
    login: &Login,
    asked: &Asked,
    sink: &RowSink,
) -> Result<(), Ended> {
    let begun = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start();
    // A pooler lets a client in before it has a server.
    let transaction = login
        .answered(async { begun.await.map_err(|error| asked.of_postgres(error)) })
        .await?;
    let query = query(&transaction, login, asked).await?;
    let statement = login.next(transaction.prepare(&query)).await?;
    let statement = statement.map_err(|error| asked.of_postgres(error))?;
    if statement.columns().is_empty() {
        return Err(asked.refused("it is not a query that returns rows").into());
    }
    let mut columns = columns(statement.columns(), asked)?;
    if !asked.rules.only_columns {
        let settled = settle_decimals(&transaction, &query, &mut columns, asked);
        login.next(settled).await??;
    }
    let fields = columns.iter().map(PostgresColumn::field);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    sink.columns(schema.clone())?;
    if asked.rules.only_columns {
        return Ok(());
    }
    let types: Vec<_> = statement
        .columns()
        .iter()
        .map(|column| column.type_().clone())
        .collect();
    let copy = format!("COPY (\n{query}\n) TO STDOUT (FORMAT binary)");
    let rows = login.next(transaction.copy_out(&copy)).await?;
    let rows = rows.map_err(|error| asked.of_postgres(error))?;
    let rows = BinaryCopyOutStream::new(rows, &types);
    send_rows(rows, columns, &schema, login, asked, sink).await
}

/// Connects and logs in. The connection is served by the same thread.
async fn connect(login: &Login) -> Result<Client> {
    let tls = MakeRustlsConnect::new(login.tls.client()?);
    login
        .connected(async |address| {
            let mut config = config(login);
            if let Some(address) = address {
                config.hostaddr(address);
            }
            let connected = config.connect(tls.clone()).await;
            let (client, connection) = connected.map_err(|error| login.failed(error))?;
            // A failure of the connection also fails what is asked of the client.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(client)
        })
        .await
}

fn config(login: &Login) -> Config {
    let mut config = Config::new();
    config
        .user(&login.user)
        .dbname(&login.database)
        .host(&login.host)
        .port(login.port)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(KEEPALIVE_TOTAL)
        .application_name("asof")
        .ssl_mode(match login.tls.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
    if let Some(options) = &login.options {
        config.options(options);
    }
    if let Some(password) = &login.password {
        config.password(password.expose());
    }
    config
}

/// The query that reads what is asked for.
async fn query(transaction: &Transaction<'_>, login: &Login, asked: &Asked) -> Result<String> {
    let table = match &asked.relation {
        DatabaseRelation::Query(query) => {
            return Ok(query.trim_end().trim_end_matches(';').to_owned());
        }
        DatabaseRelation::Table(table) => table,
    };
    let name = quoted(table);
    let is_there = "SELECT to_regclass($1) IS NOT NULL";
    let found = login
        .next(transaction.query_one(is_there, &[&name]))
        .await?;
    let found = found.map_err(|error| asked.of_postgres(error))?;
    if found.get(0) {
        return Ok(format!("SELECT * FROM {name}"));
    }
    let names =
        "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE nspname || '.' END || relname
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND nspname !~ '^pg_'
          AND nspname <> 'information_schema' ORDER BY 1";
    let known = login.next(transaction.query(names, &[])).await?;
    let known = known.map_err(|error| asked.of_postgres(error))?;
    let known: Vec<&str> = known.iter().map(|row| row.get(0)).collect();
    Err(asked.no_table(table, known))
}

/// A name as SQL has it; a point stands between the name of its schema and its own.
fn quoted(name: &str) -> String {
    let quoted = name.split('.').map(quoted_name);
    quoted.collect::<Vec<_>>().join(".")
}

/// The name of a column, or a part of that of a table, as SQL has it.
fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Hands on the rows of a copy, in batches of bounded size.
async fn send_rows(
    rows: BinaryCopyOutStream,
    mut columns: Vec<PostgresColumn>,
    schema: &SchemaRef,
    login: &Login,
    asked: &Asked,
    sink: &RowSink,
) -> Result<(), Ended> {
    pin_mut!(rows);
    let mut fill = Fill::default();
    loop {
        let row = login.next(rows.next()).await?.transpose();
        let row = row.map_err(|error| asked.of_postgres(error))?;
        if fill.is_due(row.is_none()) {
            sink.rows(batch(&mut columns, schema)?)?;
            fill.begin_batch();
        }
        let Some(row) = row else { return Ok(()) };
        let mut bytes = 0;
        for (at, column) in columns.iter_mut().enumerate() {
            let value: Option<Raw<'_>> =
                row.try_get(at).map_err(|error| asked.of_postgres(error))?;
            bytes += column.push(value.map(|value| value.0)).map_err(|what| {
                let refusal = asked.no_value(&column.name, fill.number(), &what);
                refusal.hint(asked.as_text(at, schema))
            })?;
        }
        fill.add_row(bytes);
    }
}

/// The rows that columns hold, which are empty then.
fn batch(columns: &mut [PostgresColumn], schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = columns.iter_mut().map(PostgresColumn::finish);
    RecordBatch::try_new(schema.clone(), arrays.collect::<Result<_>>()?)
        .internal_context(|| "rows of PostgreSQL do not fit their columns".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_part_by_part() {
        assert_eq!(quoted("item"), "\"item\"");
        assert_eq!(quoted("shop.My \"Item\""), "\"shop\".\"My \"\"Item\"\"\"");
    }
}
