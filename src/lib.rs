//! Dated copies of slowly changing tables, validity intervals, and backfills that see each day as
//! it was.
//!
//! This is the library behind the program `asof`. A [`Lake`] keeps one copy of each [`Table`] per
//! date. [`Table::compact`] turns the copies into validity intervals, and
//! [`Lake::backfill`] runs a [`Job`] for each date of a range: events, joined to the tables as they
//! were on that date. Every call is safe to repeat.
//!
//! ```
//! use asof::{BackfillOptions, CompactOptions, DateAction, Job, Lake, SnapshotOptions};
//! use chrono::NaiveDate;
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().to_str().ok_or("a path")?;
//! let day = |day| NaiveDate::from_ymd_opt(2024, 9, day).unwrap_or_default();
//! let path = |name: &str| format!("{folder}/{name}");
//!
//! // One copy of the table for each day. Item 2 is disabled on the second day.
//! let lake = Lake::open(path("lake"))?;
//! let item = lake.table("item")?;
//! for (day, status) in [(day(13), "ACTIVE"), (day(14), "DISABLED")] {
//!     std::fs::write(path("item.csv"), format!("id,status\n1,ACTIVE\n2,{status}\n"))?;
//!     let options = SnapshotOptions::new()
//!         .date(day)
//!         .source(path("item.csv"))
//!         .key(["id"])
//!         .backdate(true);
//!     item.snapshot(&options)?;
//! }
//!
//! // Each row once, with the dates over which it held: item 1, and item 2 twice.
//! let report = item.compact(&CompactOptions::new())?;
//! assert_eq!((report.snapshots, report.intervals), (2, 3));
//! assert!(item.verify()?.is_ok());
//!
//! // The table as of a day.
//! let rows = item.as_of(day(13))?;
//! let mut count = 0;
//! for batch in rows.read(&["status"])? {
//!     count += batch?.num_rows();
//! }
//! assert_eq!(count, 2);
//!
//! // Events of both days, each joined to the table as of its own day.
//! for day in [day(13), day(14)] {
//!     let partition = path(&format!("events/date={day}"));
//!     std::fs::create_dir_all(&partition)?;
//!     std::fs::write(format!("{partition}/events.csv"), "event,item_id\n100,2\n")?;
//! }
//! let job = Job::join(path("events"), "item")
//!     .events_layout("date=%Y-%m-%d")
//!     .on([("item_id", "id")])
//!     .output(path("joined"));
//! let options = BackfillOptions::between(day(13), day(14))?;
//! let report = lake.backfill(&job, &options)?;
//! assert_eq!(report.count(DateAction::Written), 2);
//!
//! // Nothing has changed, so a rerun writes nothing.
//! let report = lake.backfill(&job, &options)?;
//! assert_eq!(report.count(DateAction::UpToDate), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rows of a managed table may come from any file that the program reads. Tables, events, jobs
//! and object stores can be described in an `asof.toml`, see [`LakeOptions::config_file`]. A lake
//! in a bucket is opened by its URL, `Lake::open("s3://bucket/lake")`.
//!
//! # Errors
//!
//! Every [`Error`] says what the caller should do about it: its [`kind`](Error::kind) is one of
//! [`Kind`], which is also the exit code of the program. Its message names table, date, column and
//! value, its [`hints`](Error::hints) can be typed in a shell, and its
//! [`source`](std::error::Error::source) is the error of the library below, if there is one.
//!
//! ```
//! use asof::{Kind, Lake, SnapshotOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().to_str().ok_or("a path")?;
//! std::fs::write(format!("{folder}/item.csv"), "id\n1\n1\n")?;
//! let options = SnapshotOptions::new()
//!     .source(format!("{folder}/item.csv"))
//!     .key(["id"]);
//! let lake = Lake::open(format!("{folder}/lake"))?;
//! let error = lake.table("item")?.snapshot(&options).expect_err("a duplicate key");
//! assert_eq!(error.kind(), Kind::Refused);
//! assert!(error.to_string().contains("duplicate key (id): id=1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `sql` | yes | jobs and conditions in SQL, by DataFusion |
//! | `avro` | yes | Avro files |
//! | `databases` | yes | tables of PostgreSQL, MySQL, MariaDB and SQLite as sources |
//! | `cli` | yes | the program `asof`, with its terminal output |
//! | `frames` | yes | tables as data frames of polars: `Rows::frame`, `Table::snapshot_frame` |
//! | `lazy` | no | tables as lazy frames of polars: `Rows::lazy`, `TableIntervals::lazy`, `Table::join_lazy_as_of` |
//!
//! `cargo add asof --no-default-features` builds a library without all of them, in a fraction of
//! the time. SQL jobs and conditions are then refused with a usage error.
//!
//! # Threads and memory
//!
//! Calls block until they are done, and use threads of their own: up to one for each processor, and
//! a small async runtime for object stores and SQL. Call them from an async program by
//! `spawn_blocking` or the like. [`LakeOptions::memory`] limits what one call holds; what does not
//! fit is spilled to temporary files, or refused.
//!
//! # Stability
//!
//! What this page lists is the interface. Modules that are hidden from it serve the program, the
//! tests and the benchmarks, and may change in any version. What is written to a lake stays
//! readable: `docs/format.md`.

// A table of cases in a test may be long.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]
// With frames, one file allows itself what Cargo.toml denies: `frames/bridge.rs`.
#![cfg_attr(not(feature = "frames"), forbid(unsafe_code))]

mod library;

pub use self::commands::backfill::{BackfillOptions, BackfillReport, DateAction, DateReport};
pub use self::commands::compact::{CompactOptions, CompactReport, CompactionMode};
pub use self::commands::snapshot::{IfExists, Outcome, SnapshotOptions, SnapshotReport};
pub use self::commands::verify::{OutputProof, TableProof, VerifyReport};
pub use self::domain::join::JoinKind;
pub use self::domain::staleness::{DateState, StateFilter};
pub use self::error::{Error, Kind, Result};
pub use self::library::{
    Job, JoinAsOf, JoinedRows, KeyHistory, Lake, LakeOptions, Rows, Table, TableDiff,
    TableIntervals,
};
pub use self::source::GivenRows;

// Hidden: the program, the tests and the benchmarks use these. They are not a stable interface.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod commands;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod did_you_mean;
#[doc(hidden)]
pub mod domain;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod error;
#[cfg(feature = "frames")]
#[doc(hidden)]
pub mod frames;
#[doc(hidden)]
pub mod interrupt;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod parallel;
#[doc(hidden)]
pub mod phases;
#[doc(hidden)]
pub mod secret;
#[doc(hidden)]
pub mod source;
#[doc(hidden)]
pub mod storage;
