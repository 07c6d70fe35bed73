//! What errors of MySQL mean to the caller.

use std::io::ErrorKind;

use arrow::datatypes::Schema;
use mysql_async::{DriverError, Error as MysqlError, IoError};
use rustls::Error as TlsError;

use super::quoted;
use crate::error::{Error, word};
use crate::source::database::DatabaseRelation;
use crate::source::database::login::Login;
use crate::source::database::stream::Asked;

/// Codes that may pass: too many connections, a shutdown, a lock, a deadlock, an interruption, a
/// connection that was ended.
const PASSING: [u16; 9] = [1040, 1053, 1152, 1205, 1213, 1317, 1927, 3024, 4031];
/// Codes of a user who may not log in, or may not read.
const NO_LOGIN: [u16; 3] = [1045, 1251, 1698];
const NO_RIGHT: [u16; 4] = [1044, 1142, 1143, 1370];

/// The words of an error, without those that the driver puts before the system's.
fn in_words(error: &MysqlError) -> String {
    match error {
        // TLS has its own word for it, with a link to a manual.
        MysqlError::Io(IoError::Io(why)) if why.kind() == ErrorKind::UnexpectedEof => {
            "the server closed it".to_owned()
        }
        MysqlError::Io(IoError::Io(why)) => why.to_string(),
        other => other.to_string(),
    }
}

/// The failure of TLS that an error is, if it is one.
pub(super) fn of_tls(error: &MysqlError) -> Option<&TlsError> {
    match error {
        MysqlError::Io(IoError::Io(why)) => why.get_ref()?.downcast_ref(),
        _ => None,
    }
}

impl Login {
    /// What a failure to connect or to log in means.
    pub(super) fn of_mysql(&self, error: MysqlError) -> Error {
        let at = format!("{}:{}", self.host, self.port);
        let failed = match &error {
            MysqlError::Server(refused) if PASSING.contains(&refused.code) => {
                Error::io(format!("{at} is unavailable: {}", refused.message))
            }
            MysqlError::Server(refused) => {
                let failed = Error::usage(format!("{at} refuses: {}", refused.message));
                if NO_LOGIN.contains(&refused.code) {
                    failed.hint(self.password_option)
                } else {
                    failed.hint(format!("correct the URL: {}", self.url_form))
                }
            }
            MysqlError::Driver(DriverError::UnknownAuthPlugin { name }) => Error::usage(format!(
                "{at} wants a login by {name}, which asof does not have"
            ))
            .hint("ALTER USER ... IDENTIFIED WITH caching_sha2_password BY '...', in MySQL")
            .hint("ALTER USER ... IDENTIFIED BY '...', in MariaDB"),
            MysqlError::Driver(DriverError::NoClientSslFlagFromServer) => {
                self.without_tls("the server does not support TLS")
            }
            MysqlError::Io(IoError::Tls(why)) => self.without_tls(&why.to_string()),
            other => match of_tls(other) {
                Some(why) => self.without_tls(&why.to_string()),
                None => self.unreachable(&in_words(other)),
            },
        };
        failed.caused_by(error)
    }

    fn without_tls(&self, why: &str) -> Error {
        Error::usage(format!(
            "{}:{} cannot be reached by TLS: {why}",
            self.host, self.port
        ))
        .hint(
            "?ssl-mode=DISABLED, if the network is trusted; or ?ssl-ca=FILE, with the certificate \
             of its authority",
        )
    }
}

impl Asked {
    /// What a failure of reading means.
    pub(super) fn of_mysql(&self, error: MysqlError) -> Error {
        let failed = match &error {
            MysqlError::Server(refused) if PASSING.contains(&refused.code) => Error::io(format!(
                "the server stopped before the last row: {}",
                refused.message
            )),
            MysqlError::Server(refused) if NO_RIGHT.contains(&refused.code) => {
                Error::usage(&refused.message)
                    .hint("grant the user the right to read it, or log in as another one")
            }
            MysqlError::Server(refused) => self.refused(&refused.message),
            other => Error::io(format!(
                "the connection broke before the last row: {}",
                in_words(other)
            )),
        };
        failed.caused_by(error)
    }

    /// The hint that a query can read a column as text.
    pub(super) fn as_chars(&self, at: usize, schema: &Schema) -> String {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
        self.reading_text(at, &names, "CAST({c} AS CHAR)")
    }

    /// The query that reads a column as text, as a hint. `text` is SQL for the text of a column
    /// `{c}`.
    pub(super) fn reading_text(&self, at: usize, names: &[impl AsRef<str>], text: &str) -> String {
        let text = |name: &str| format!("{} AS {name}", text.replace("{c}", name));
        match &self.relation {
            DatabaseRelation::Query(_) => {
                format!("in the query: {}", text(&quoted(names[at].as_ref())))
            }
            DatabaseRelation::Table(table) => {
                let columns = names.iter().enumerate().map(|(other, name)| {
                    let name = quoted(name.as_ref());
                    if other == at { text(&name) } else { name }
                });
                let columns = columns.collect::<Vec<_>>().join(", ");
                let table: Vec<String> = table.split('.').map(quoted).collect();
                let query = format!("SELECT {columns} FROM {}", table.join("."));
                format!("{} {}", self.options.query, word(&query))
            }
        }
    }
}
