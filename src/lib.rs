//! Dated copies of slowly changing tables, validity intervals, and backfills that see each day as
//! it was.
//!
//! This is the manual, by what you want to do; each rule in full, with examples, is in
//! `docs/semantics.md`. The crate is the library behind the program `asof`. It follows what the
//! program needs, and is not a stable interface.
//!
//! # See what it is about
//!
//! ```text
//! $ asof demo
//! ```
//!
//! takes the whole journey on bundled data, in a folder `asof-demo`, and prints each command before
//! it runs it.
//!
//! # Keep the lake in a bucket
//!
//! A URL goes wherever a path goes: `s3://`, `gs://`, `az://`. Credentials are those of the
//! environment, or of `[stores]`; `docs/stores.md` lists them. A date is published by one
//! conditional write there too, and found by the keys of its range.
//!
//! # Say what there is, once
//!
//! `asof init` writes a commented `asof.toml`. The least that is useful:
//!
//! ```toml
//! lake = "lake"
//!
//! [tables.item]
//! source = "item.csv"
//! key = ["id"]
//!
//! [events.item_events]
//! path = "item_events"
//! layout = "year=%Y/month=%m/day=%d"
//!
//! [jobs.active_item_events]
//! sql = "select * from item_events where item_id in (select id from item where status = 'ACTIVE')"
//! output = "active_item_events"
//! ```
//!
//! A layout ties a date to a path, both ways; one that does not give dates back is refused.
//!
//! ```
//! use asof::domain::layout::Layout;
//! use asof::model::parse_date;
//!
//! let layout = Layout::parse("year=%Y/month=%m/day=%d")?;
//! let date = parse_date("2024-01-31")?;
//! assert_eq!(layout.path(date), "year=2024/month=01/day=31");
//! assert_eq!(layout.date("year=2024/month=01/day=31"), Some(date));
//! assert_eq!(layout.date("year=2024/month=1/day=31"), None);
//! assert!(Layout::parse("month=%m/day=%d").is_err());
//! # Ok::<(), asof::error::Error>(())
//! ```
//!
//! # Take a copy each night
//!
//! ```sh
//! asof snapshot
//! ```
//!
//! A date that has a copy keeps it. A past date that has none is refused without `--backdate`, so
//! that clearing and rerunning a night never labels today's state as that day's. Guards refuse a
//! copy that is empty, or that lost or changed too many rows.
//!
//! # Turn copies into intervals
//!
//! ```sh
//! asof compact item
//! asof compact --snapshots /data/item --layout 'snapshot_date=%Y-%m-%d' --key id --out
//! item_intervals.parquet
//! ```
//!
//! The second form reads copies that another tool wrote, and never writes among them. A query on
//! intervals needs the condition that `compact` prints:
//!
//! ```
//! use asof::domain::interval::Convention;
//!
//! assert_eq!(Convention::default().condition("D"), "active_start <= D AND active_end >= D");
//! let dbt = Convention { exclusive: true, open_null: true, ..Convention::default() };
//! assert_eq!(dbt.condition("D"), "active_start <= D AND (active_end > D OR active_end IS NULL)");
//! ```
//!
//! # Run a job for past days
//!
//! ```sh
//! asof backfill active_item_events --from 2024-01-01 --to 2024-01-31
//! asof backfill --events item_events --table item --on item_id=id --how left --out joined --from
//! 2024-01-01 --to 2024-01-31
//! ```
//!
//! In a job's SQL, events are their partition of the date, a table is the table as of the date, and
//! `{date}` is the date:
//!
//! ```sql
//! select {date} as day, status, sum(qty) as qty
//! from item_events join item on item.id = item_id
//! group by status
//! ```
//!
//! A date is served by the copy with its own label, and by an older one only as far as `tolerance`
//! allows:
//!
//! ```
//! use asof::domain::as_of_rule::{AsOfRule, NoSnapshot};
//! use asof::model::{DaySpan, parse_date};
//!
//! let observed = [parse_date("2024-01-01")?, parse_date("2024-01-03")?];
//! let exact = AsOfRule::default();
//! assert_eq!(exact.resolve(&observed, parse_date("2024-01-03")?), Ok(observed[1]));
//! let too_old = Err(NoSnapshot::TooOld(observed[0]));
//! assert_eq!(exact.resolve(&observed, parse_date("2024-01-02")?), too_old);
//!
//! let tolerant = AsOfRule { tolerance: DaySpan(1), ..AsOfRule::default() };
//! assert_eq!(tolerant.resolve(&observed, parse_date("2024-01-02")?), Ok(observed[0]));
//! let rule = "events of D see the snapshot labelled D, or the day before it";
//! assert_eq!(tolerant.in_words(), rule);
//! # Ok::<(), asof::error::Error>(())
//! ```
//!
//! Run it again, and only what is missing, stale or failed is run.
//!
//! # Look, and prove
//!
//! ```sh
//! asof show item --date 2024-01-31 --where "status = 'ACTIVE'"
//! asof diff item 2024-01-01 2024-01-31
//! asof history item 42
//! asof status
//! asof verify
//! asof expand item --from 2024-01-01 --to 2024-01-31 --out copies
//! ```
//!
//! # Call it from a scheduler
//!
//! Give dates, and read the exit code: 0 go on, 1 and 4 retry, 2 fail, 3 alert a person, 5 retry
//! what failed. Every error of this crate knows its own.
//!
//! ```
//! use asof::error::{Error, Kind};
//!
//! let error = Error::refused("table item has no snapshots").hint("asof snapshot item --source FILE
//! --key COLUMN"); assert_eq!(error.kind(), Kind::Refused);
//! assert_eq!(error.kind().exit_code(), 3);
//! ```
//!
//! # Find your way in the code
//!
//! [`cli`] reads the command line and prints. [`commands`] has one module a command. [`domain`] has
//! the rules, and touches nothing outside of memory. [`engine`] reads tables as of a date and runs
//! joins and SQL, [`source`] reads files of other tools, and [`storage`] finds, reads and publishes
//! objects. `docs/architecture.md` says what each must not know.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod domain;
pub mod engine;
pub mod error;
pub mod model;
pub mod parallel;
pub mod phases;
pub mod source;
pub mod storage;
