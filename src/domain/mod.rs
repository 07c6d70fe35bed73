//! The rules, pure: no I/O, no clock, no printing, no threads.
//!
//! Each rule of docs/semantics.md lives in one file here, with its reasons and its tests:
//!
//! | question | file |
//! | --- | --- |
//! | which path holds a date | [`layout`]; nearly so, [`padding`] |
//! | which folders of a disk, which keys of a store a range needs | [`folder_search`], [`key_spans`] |
//! | which names of files are data, and which are of a table of another format | [`file_names`] |
//! | which encodings are one type | [`canonical_types`]; for a batch, [`canonical_batch`] |
//! | which type may become which | [`widening`] |
//! | how a type is named | [`type_names`] |
//! | which columns appeared, went or widened between two snapshots | [`schema`] |
//! | which dates no calendar has | [`impossible_dates`] |
//! | which values survive a change of type | [`cast`] |
//! | which value a text or a JSON value is | [`text`], [`text::json`]; in another notation, [`notation`] |
//! | when are two rows the same, two snapshots equal | [`digest`] |
//! | what a missing date means | [`gaps`] |
//! | dates as numbers of days | [`days`] |
//! | where an interval begins and ends, and how that is written | [`interval`] |
//! | snapshots to intervals | [`merge_compaction`] if they are sorted by the key, else [`hash_compaction`]; [`interval_ends`] keeps the ends |
//! | in which order keys are, and whether one repeats | [`key_order`] |
//! | in which rows two columns differ | [`column_differ`] |
//! | how often a column changed over the history | [`column_changes`] |
//! | what is said of a column's values | [`column_statistics`] |
//! | which row of a key counts, where a source has several | [`dedup`] |
//! | which columns' changes end an interval | [`compared_columns`] |
//! | which snapshot serves a date | [`as_of_rule`] |
//! | which row an event meets | [`join`]; by its key, [`join_keys`], `join_key_index` |
//! | which copy of a date stood at a time | [`known_at`] |
//! | what changed between two snapshots | [`diff`] |
//! | which copies stay when others are pruned | [`retention`] |
//! | how other tools write the versions of a row, and what those of a key are together | [`scd2`] |
//! | what must not be published | [`guard`]; of one column, [`guard::column`] |
//! | how long a row and a key may be, and how many columns there may be | [`row_limits`] |
//! | what is said of a column that is not there | [`missing_column`] |
//! | which names are of one column | [`column_case`] |
//! | which columns are left to the path of a partition | [`path_columns`] |
//! | what stands for the date in a job's SQL and in a source | [`placeholders`] |
//! | which type a column has in all outputs of a job | [`output_types`] |
//! | which dates of a backfill are to be run | [`staleness`] |
//! | text columns as string views, for rows that leave asof | [`text_views`] |
//! | which columns a warehouse expects of intervals | [`warehouse_columns`]; the text of a surrogate key, [`surrogate_key`] |
//! | which outputs the copies of some dates decide, so that a repair runs them again | [`repair`] |
//! | what OpenLineage is told of a run | [`lineage`] |

pub mod as_of_rule;
pub mod canonical_batch;
pub mod canonical_types;
pub mod cast;
pub mod column_case;
pub mod column_changes;
pub mod column_differ;
pub mod column_statistics;
pub mod compared_columns;
pub mod days;
pub mod dedup;
pub mod diff;
pub mod digest;
pub mod file_names;
pub mod folder_search;
pub mod gaps;
pub mod guard;
pub mod hash_compaction;
#[cfg(feature = "spark")]
pub mod held_rows;
pub mod impossible_dates;
pub mod interval;
pub mod interval_ends;
pub mod join;
mod join_key_index;
pub mod join_keys;
pub mod key_order;
pub mod key_spans;
pub mod known_at;
pub mod layout;
pub mod lineage;
pub mod merge_compaction;
pub mod missing_column;
pub mod notation;
pub mod output_types;
pub mod padding;
pub mod path_columns;
pub mod placeholders;
pub mod repair;
pub mod retention;
pub mod row_limits;
pub mod scd2;
pub mod schema;
#[cfg(feature = "spark")]
pub mod spark_compaction;
pub mod staleness;
pub mod surrogate_key;
pub mod text;
pub mod text_views;
pub mod type_names;
pub mod warehouse_columns;
pub mod widening;
