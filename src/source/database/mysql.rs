//! MySQL and MariaDB: the rows of one prepared query, inside a transaction with a consistent
//! snapshot.
//!
//! Rows come in the binary protocol: in the text protocol, floats are rounded. One query reads all
//! of them, so a table of an engine without transactions gives one state, too.

mod columns;
mod failures;

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use mysql_async::prelude::Queryable;
use mysql_async::{
    Conn, DriverError, Error as MysqlError, IsolationLevel, Opts, OptsBuilder, SslOpts,
    Transaction, TxOpts,
};

use self::columns::{MysqlColumn, columns};
use self::failures::of_tls;
use super::DatabaseRelation;
use super::login::Login;
use super::patience::KEEPALIVE_IDLE;
use super::stream::{Asked, Ended, Fill, RowSink, on_a_runtime};
use super::tls::{Mode, name_of_another};
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
        let mut connection = connect(&login).await?;
        let read = read_once(&mut connection, &login, &asked, sink);
        match asked.rules.only_columns {
            true => login.described(read).await,
            false => read.await,
        }
    })
}

async fn read_once(
    connection: &mut Conn,
    login: &Login,
    asked: &Asked,
    sink: &RowSink,
) -> Result<(), Ended> {
    let mut options = TxOpts::default();
    options
        .with_consistent_snapshot(true)
        .with_isolation_level(IsolationLevel::RepeatableRead)
        .with_readonly(true);
    let begun = connection.start_transaction(options);
    let mut transaction = login
        .answered(async { begun.await.map_err(|error| asked.of_mysql(error)) })
        .await?;
    let query = query(&mut transaction, login, asked).await?;
    let statement = login.next(transaction.prep(&query)).await?;
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
    let rows = login.next(transaction.exec_iter(&statement, ())).await?;
    let mut rows = rows.map_err(|error| asked.of_mysql(error))?;
    let mut fill = Fill::default();
    loop {
        let row = login.next(rows.next()).await?;
        let row = row.map_err(|error| asked.of_mysql(error))?;
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

/// Connects and logs in: with TLS, unless the login does without, or may and the server has none. A
/// socket needs none.
async fn connect(login: &Login) -> Result<Conn> {
    let mode = login.tls.mode;
    login
        .connected(async |address| {
            let tls = match mode != Mode::Disable && address.is_some() {
                true => Some(login.tls.of_mysql(None)?),
                false => None,
            };
            let connected = match Conn::new(options(login, address, tls)).await {
                Err(MysqlError::Driver(DriverError::NoClientSslFlagFromServer))
                    if mode == Mode::Prefer =>
                {
                    Conn::new(options(login, address, None)).await
                }
                // The driver always looks for the name of a host. Any that is signed will do.
                Err(error) if mode == Mode::VerifyAuthority => {
                    match of_tls(&error).and_then(name_of_another) {
                        None => Err(error),
                        name => {
                            let tls = Some(login.tls.of_mysql(name)?);
                            Conn::new(options(login, address, tls)).await
                        }
                    }
                }
                connected => connected,
            };
            connected.map_err(|error| login.of_mysql(error))
        })
        .await
}

fn options(login: &Login, address: Option<IpAddr>, tls: Option<SslOpts>) -> Opts {
    let options = OptsBuilder::default()
        .user(Some(&login.user))
        .pass(login.password.as_ref().map(|password| password.expose()))
        .db_name(Some(&login.database))
        .setup(SESSION.to_vec())
        .tcp_keepalive(Some(KEEPALIVE_IDLE))
        .prefer_socket(false)
        .ssl_opts(tls);
    let options = match address {
        None => options.socket(Some(&login.host)),
        Some(address) => options
            .ip_or_hostname(&login.host)
            .resolved_ips(Some([address]))
            .tcp_port(login.port),
    };
    options.into()
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
    let known = login.next(transaction.exec(names, (schema,))).await?;
    let known: Vec<String> = known.map_err(|error| asked.of_mysql(error))?;
    if known.iter().any(|known| known == name) {
        return Ok(format!("SELECT * FROM {}.{}", quoted(schema), quoted(name)));
    }
    Err(asked.no_table(table, known.iter().map(String::as_str)))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
