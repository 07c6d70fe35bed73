//! MySQL and MariaDB: the rows of one prepared query, inside a transaction with a consistent
//! snapshot.
//!
//! Rows come in the binary protocol: in the text protocol, floats are rounded. One query reads all
//! of them, so a table of an engine without transactions gives one state, too.

mod columns;
mod failures;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use mysql_async::prelude::Queryable;
use mysql_async::{
    Conn, DriverError, Error as MysqlError, IsolationLevel, Opts, OptsBuilder, Transaction, TxOpts,
};

use self::columns::{MysqlColumn, columns};
use super::DatabaseRelation;
use super::login::Login;
use super::stream::{Asked, Ended, Fill, RowSink, on_a_runtime};
use super::tls::Mode;
use crate::error::{Context, Result};
use crate::source::SourceRows;

/// Instants come as times of day in UTC, and the server waits an hour for rows to be taken.
const SESSION: [&str; 2] = [
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION net_write_timeout = 3600",
];

/// Reads a table or query of a server.
///
/// # Errors
/// A failure to connect; a refusal of the login, the table, the query or the type of a column.
pub(super) fn read(login: Login, asked: Asked) -> Result<SourceRows> {
    on_a_runtime(async move |sink| {
        let read = read_once(&login, &asked, sink);
        match asked.rules.only_columns {
            true => login.in_time("connect-timeout", read).await,
            false => read.await,
        }
    })
}

async fn read_once(login: &Login, asked: &Asked, sink: &RowSink) -> Result<(), Ended> {
    let mut connection = connect(login).await?;
    let mut options = TxOpts::default();
    options
        .with_consistent_snapshot(true)
        .with_isolation_level(IsolationLevel::RepeatableRead)
        .with_readonly(true);
    let transaction = connection.start_transaction(options).await;
    let mut transaction = transaction.map_err(|error| asked.of_mysql(error))?;
    let query = query(&mut transaction, login, asked).await?;
    let statement = transaction.prep(&query).await;
    let statement = statement.map_err(|error| asked.of_mysql(error))?;
    if statement.columns().is_empty() {
        return Err(asked.refused("it is not a query that returns rows").into());
    }
    let mut columns = columns(&statement.columns(), asked)?;
    let fields = columns.iter().map(MysqlColumn::field);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    sink.columns(schema.clone())?;
    if asked.rules.only_columns {
        return Ok(());
    }
    let rows = transaction.exec_iter(&statement, ()).await;
    let mut rows = rows.map_err(|error| asked.of_mysql(error))?;
    let mut fill = Fill::default();
    loop {
        let row = rows.next().await.map_err(|error| asked.of_mysql(error))?;
        if fill.is_due(row.is_none()) {
            sink.rows(batch(&mut columns, &schema)?)?;
            fill.begin_batch();
        }
        let Some(row) = row else { return Ok(()) };
        let mut bytes = 0;
        for (at, (column, value)) in columns.iter_mut().zip(row.unwrap()).enumerate() {
            bytes += column.push(&value).map_err(|what| {
                let refusal = asked.no_value(&column.name, fill.number(), &what);
                refusal.hint(asked.as_chars(at, &schema))
            })?;
        }
        fill.add_row(bytes);
    }
}

/// The rows that columns hold, which are empty then.
fn batch(columns: &mut [MysqlColumn], schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = columns.iter_mut().map(MysqlColumn::finish);
    RecordBatch::try_new(schema.clone(), arrays.collect())
        .internal_context(|| "rows of MySQL do not fit their columns".into())
}

/// Connects and logs in: with TLS, unless the login does without, or may and the server has none.
async fn connect(login: &Login) -> Result<Conn> {
    let mode = login.tls.mode;
    let connected = begin(login, mode != Mode::Disable).await?;
    let connected = match connected {
        Err(MysqlError::Driver(DriverError::NoClientSslFlagFromServer)) if mode == Mode::Prefer => {
            begin(login, false).await?
        }
        connected => connected,
    };
    connected.map_err(|error| login.of_mysql(error))
}

/// Tries to connect, as long as the login is patient.
async fn begin(login: &Login, encrypts: bool) -> Result<mysql_async::Result<Conn>> {
    let options = options(login, encrypts)?;
    let connected = tokio::time::timeout(login.patience, Conn::new(options)).await;
    connected.map_err(|_| login.unreachable("it does not answer"))
}

fn options(login: &Login, encrypts: bool) -> Result<Opts> {
    let options = OptsBuilder::default()
        .user(Some(&login.user))
        .pass(login.password.as_ref().map(|password| password.expose()))
        .db_name(Some(&login.database))
        .setup(SESSION.to_vec())
        .prefer_socket(false);
    let options = if login.host.starts_with('/') {
        options.socket(Some(&login.host))
    } else {
        options.ip_or_hostname(&login.host).tcp_port(login.port)
    };
    let tls = if encrypts {
        Some(login.tls.of_mysql()?)
    } else {
        None
    };
    Ok(options.ssl_opts(tls).into())
}

/// The query that reads what is asked for.
async fn query(transaction: &mut Transaction<'_>, login: &Login, asked: &Asked) -> Result<String> {
    let table = match &asked.relation {
        DatabaseRelation::Query(query) => {
            return Ok(query.trim_end().trim_end_matches(';').to_owned());
        }
        DatabaseRelation::Table(table) => table,
    };
    let (schema, name) = table.split_once('.').unwrap_or((&login.database, table));
    let names = "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables
        WHERE table_schema = ? ORDER BY 1";
    let known: Vec<String> = transaction
        .exec(names, (schema,))
        .await
        .map_err(|error| asked.of_mysql(error))?;
    if known.iter().any(|known| known == name) {
        return Ok(format!("SELECT * FROM {}.{}", quoted(schema), quoted(name)));
    }
    Err(asked.no_table(table, known.iter().map(String::as_str)))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
