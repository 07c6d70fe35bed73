//! What people do with asof, command by command, with all that it prints.

mod adopt;
#[cfg(feature = "avro")]
mod avro;
mod backfills;
mod checks;
mod commands;
mod damage;
mod date_columns;
mod dated_sources;
#[cfg(feature = "sql")]
mod demo;
#[cfg(feature = "frames")]
mod describe;
mod dialects;
mod dry_runs;
mod duplicates;
pub(crate) mod environment;
mod every_table;
mod external;
#[cfg(feature = "sql")]
mod external_duplicates;
mod first_contact;
mod gate;
mod guards;
#[cfg(feature = "sql")]
mod histories;
mod json;
mod kills;
mod known_at;
mod leftovers;
mod limits;
mod lineage;
mod logs;
mod metrics;
mod midnight;
mod nights;
mod one_schema;
mod paging;
mod places;
#[cfg(feature = "sql")]
mod plan;
#[cfg(feature = "sql")]
mod projects;
mod prune;
mod quarantine;
mod refused;
#[cfg(feature = "sql")]
mod repair;
mod report;
mod scd2;
mod secrets;
#[cfg(feature = "sql")]
mod selections;
mod shapes;
#[cfg(feature = "spark")]
mod spark;
mod types;
mod undo;
