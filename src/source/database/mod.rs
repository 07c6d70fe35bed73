//! Databases as sources: one table or query, read once, inside one consistent read.
//!
//! | URL | read inside | types of its columns |
//! | --- | --- | --- |
//! | `sqlite:PATH` | a read transaction | `sqlite`: declared types, which values must have |
//! | `postgres://…`, `postgresql://…` | a repeatable, read-only transaction | `postgres` |
//! | `mysql://…`, `mariadb://…` | a transaction with a consistent snapshot | `mysql` |
//!
//! A source is found by its URL without being opened. [`read`](SnapshotSource::read) connects,
//! learns the columns, and hands rows on while they arrive: a thread of its own fills batches of
//! bounded size, and at most two of them wait (`stream`). So memory does not grow with the table.
//!
//! If only the columns are wanted ([`TypeRules::only_columns`]), no row is read: a server describes
//! the query, and has as much time for it as for the login. A `numeric` of PostgreSQL whose
//! digits its values tell is `null` then. Only SQLite looks at values, at the first 1,000 of a
//! column that has no type.
//!
//! A server that does not answer, or falls silent, is given up in the end (`patience`).
//!
//! A value that its column's type does not hold is refused with its column and row, and so is a
//! column whose type has no canonical one. Nothing is rounded, cut or replaced. A declared type
//! (`types` in asof.toml) applies as it does to files.

mod answers;
mod cells;
mod login;
mod mysql;
mod patience;
mod postgres;
mod refusals;
mod sqlite;
mod stream;
mod tls;
mod url;

use std::collections::BTreeMap;

use self::login::Login;
use self::stream::{Asked, as_declared};
use self::url::DatabaseService;
pub use self::url::DatabaseUrl;
use super::{FilesRead, SnapshotSource, SourceRows, TypeRules};
use crate::error::Result;
use crate::secret::Secret;

/// What is read of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseRelation {
    /// A table or view; a point stands between the name of its schema and its own.
    Table(String),
    /// A query.
    Query(String),
}

/// How a table or query is named, for hints.
#[derive(Clone, Copy, Debug)]
pub struct RelationOptions {
    /// Another table or query.
    pub other: &'static str,
    /// What stands before a query.
    pub query: &'static str,
}

/// A table or query of a database.
#[derive(Debug)]
pub struct DatabaseSource {
    /// The source as the user gave it, without a password.
    pub name: String,
    /// Where the database is.
    pub url: DatabaseUrl,
    /// What is read of it.
    pub relation: DatabaseRelation,
    /// How another one is named.
    pub options: RelationOptions,
    /// The variables of the environment, which may have a login.
    pub variables: BTreeMap<String, Secret>,
    /// The source on the date, if it has a state for each.
    pub of_date: Option<String>,
}

impl SnapshotSource for DatabaseSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, rules: &TypeRules) -> Result<SourceRows> {
        let asked = Asked {
            relation: self.relation.clone(),
            options: self.options,
            rules: rules.clone(),
        };
        let rows = match &self.url.service {
            DatabaseService::Sqlite(path) => sqlite::read(path.clone(), asked),
            DatabaseService::Postgres(url) => Login::to_postgres(url, &self.variables)
                .and_then(|login| postgres::read(login, asked)),
            DatabaseService::Mysql(url) => {
                Login::to_mysql(url, &self.variables).and_then(|login| mysql::read(login, asked))
            }
        };
        let rows = rows.map_err(|error| error.within(format!("'{}'", self.name)))?;
        as_declared(rows, rules, &self.name)
    }

    fn files(&self) -> Option<FilesRead<'_>> {
        None
    }

    fn of_date(&self) -> Option<&str> {
        self.of_date.as_deref()
    }
}
