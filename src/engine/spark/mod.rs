//! Spark as an engine: a session on a cluster that its owners run, by Spark Connect.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`SparkRemote`] | the address of the server, and how it names places |
//! | [`SparkServer`] | connects within seconds, or says why not |
//! | [`SparkSession`] | views, the columns of a query, and writing its rows as Parquet files |
//! | [`SparkRelation`] | files, rows and queries, as Spark is told of them |
//! | [`spark_type`], [`arrow_type`] | the types of asof that Spark has, and back |
//! | [`refuse_nondeterministic`] | queries that give another result when they run again |
//!
//! asof tells Spark exact paths of files and their columns. Spark neither lists folders nor guesses
//! types. It reads and writes the files itself, so it must see them where asof sees them, or under
//! another prefix that [`SparkRemote`] knows.
//!
//! **Failures.** A server that is not there, refuses the token or is too old is found before
//! anything is run. A connection that breaks is taken up again for about 15 seconds, and the
//! execution goes on meanwhile. If asof is interrupted, it tells Spark to stop.
//!
//! The crate beneath is the transport of the official client for Rust, without its data frames. Rows
//! go to Spark as Arrow IPC; its results stay in files.

mod determinism;
mod relation;
mod remote;
mod server;
mod session;
mod types;

pub use self::determinism::refuse_nondeterministic;
pub use self::relation::{SparkRelation, cast_column, spark_name, spark_text};
pub use self::remote::SparkRemote;
pub use self::server::SparkServer;
pub use self::session::{SparkSession, SparkWrite};
pub use self::types::{arrow_type, columns_ddl, spark_type};
