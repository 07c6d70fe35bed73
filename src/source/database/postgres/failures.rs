//! What errors of PostgreSQL mean to the caller.

use std::error::Error as _;
use std::io;

use arrow::datatypes::Schema;
use tokio_postgres::Error as PostgresError;
use tokio_postgres::error::{DbError, SqlState};

use super::{quoted, quoted_name};
use crate::error::{Error, word};
use crate::source::database::DatabaseRelation;
use crate::source::database::login::Login;
use crate::source::database::stream::Asked;

/// The beginnings of states that may pass: of connections, resources, races, operators and the
/// system.
const PASSING: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

/// The words of an error and of what caused it.
fn in_words(error: &PostgresError) -> String {
    let mut words = error.to_string();
    let mut deeper = error.source();
    while let Some(cause) = deeper {
        let of_system = cause.downcast_ref::<io::Error>();
        // TLS has its own word for it, with a link to a manual.
        if of_system.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof) {
            return format!("{words}: the server closed it");
        }
        words = format!("{words}: {cause}");
        deeper = cause.source();
    }
    words
}

/// Whether a state may pass by itself.
fn may_pass(error: &DbError) -> bool {
    PASSING
        .iter()
        .any(|class| error.code().code().starts_with(class))
}

impl Login {
    /// What a failure to connect or to log in means.
    pub(super) fn failed(&self, error: PostgresError) -> Error {
        let at = format!("{}:{}", self.host, self.port);
        let words = in_words(&error);
        let failed = match error.as_db_error() {
            Some(refused) if may_pass(refused) => {
                Error::io(format!("{at} is unavailable: {}", refused.message()))
            }
            Some(refused) => {
                let failed = Error::usage(format!("{at} refuses: {}", refused.message()));
                let of_password = [
                    SqlState::INVALID_PASSWORD,
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                ];
                if of_password.contains(refused.code()) {
                    failed.hint(self.password_option)
                } else {
                    failed.hint(format!("correct the URL: {}", self.url_form))
                }
            }
            None if words.starts_with("invalid configuration") => {
                Error::usage(format!("{at} wants a password of '{}'", self.user))
                    .hint(self.password_option)
            }
            None if words.contains("TLS handshake") => {
                Error::usage(format!("{at} cannot be reached by TLS: {words}"))
                    .hint("?sslmode=disable, if the network is trusted; or ?sslrootcert=FILE, with the certificate of its authority")
            }
            None => self.unreachable(&words),
        };
        failed.caused_by(error)
    }
}

impl Asked {
    /// What a failure of reading means.
    pub(super) fn of_postgres(&self, error: PostgresError) -> Error {
        let failed = match error.as_db_error() {
            Some(refused) if may_pass(refused) => Error::io(format!(
                "the server stopped before the last row: {}",
                refused.message()
            )),
            Some(refused) if refused.code() == &SqlState::INSUFFICIENT_PRIVILEGE => {
                Error::usage(refused.message())
                    .hint("grant the user the right to read it, or log in as another one")
            }
            Some(refused) => self.refused(refused.message()),
            None => Error::io(format!(
                "the connection broke before the last row: {}",
                in_words(&error)
            )),
        };
        failed.caused_by(error)
    }

    /// The hint that a query can read a column as text.
    pub(super) fn as_text(&self, at: usize, schema: &Schema) -> String {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        self.casting(at, &names.collect::<Vec<_>>())
    }

    /// The query that reads a column as text, as a hint.
    pub(super) fn casting(&self, at: usize, names: &[&str]) -> String {
        let text = |name: &str| format!("{name}::text AS {name}");
        match &self.relation {
            DatabaseRelation::Query(_) => {
                format!("in the query: {}", text(&quoted_name(names[at])))
            }
            DatabaseRelation::Table(table) => {
                let columns = names.iter().enumerate().map(|(other, name)| {
                    let name = quoted_name(name);
                    if other == at { text(&name) } else { name }
                });
                let columns = columns.collect::<Vec<_>>().join(", ");
                let query = format!("SELECT {columns} FROM {}", quoted(table));
                format!("{} {}", self.options.query, word(&query))
            }
        }
    }
}
