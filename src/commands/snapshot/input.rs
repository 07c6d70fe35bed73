//! The rows of a source on their way into sorted runs: names, columns of the path, and null keys.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use crate::commands::Workspace;
use crate::commands::workspace::PartState;
use crate::domain::column_case::respelled;
use crate::domain::path_columns::PathColumns;
use crate::engine::pins::Watch;
use crate::engine::table::SnapshotTable;
use crate::engine::table::dedup::{self, Dropped};
use crate::error::{Context, Error, Result};
use crate::source::SourceRows;
use crate::storage::Batches;
use crate::storage::sorter::Sorter;

/// The rows with the names that the table has for columns whose case changed; and those columns,
/// with the names that they keep.
pub(in crate::commands) fn keep_names(
    known: Option<&SchemaRef>,
    rows: SourceRows,
) -> (SourceRows, Vec<(String, String)>) {
    let respelled = known
        .map(|known| respelled(known, &rows.schema))
        .unwrap_or_default();
    if respelled.is_empty() {
        return (rows, respelled);
    }
    let fields = rows.schema.fields().iter().map(|field| {
        match respelled.iter().find(|(now, _)| now == field.name()) {
            Some((_, kept)) => Arc::new(field.as_ref().clone().with_name(kept)),
            None => field.clone(),
        }
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let named = schema.clone();
    let rename = move |batch: Result<RecordBatch>| {
        let batch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let renamed =
            RecordBatch::try_new_with_options(named.clone(), batch.columns().to_vec(), &options);
        renamed.io_context(|| "cannot rename columns".into())
    };
    (
        SourceRows {
            schema,
            batches: Box::new(rows.batches.map(rename)),
            count: rows.count,
        },
        respelled,
    )
}

/// The rows without the column that the path of the snapshot has too, if it has the path's value in
/// every row; and its name.
pub(super) fn leave_to_path(
    table: &SnapshotTable,
    date: NaiveDate,
    rows: SourceRows,
) -> Result<(SourceRows, Vec<String>)> {
    let columns = PathColumns::of(&rows.schema, &table.layout, date);
    let names: Vec<String> = columns.names().map(str::to_owned).collect();
    if let Some(name) = names.iter().find(|name| table.key.contains(name)) {
        let what = format!(
            "the key column '{name}' has the name of the partition, and all rows of a snapshot \
             have the same date"
        );
        return Err(table
            .refuse(date, what)
            .hint("leave it out of the key, or rename it in the source"));
    }
    if names.is_empty() {
        return Ok((rows, names));
    }
    let schema = columns.schema().clone();
    let leave = move |batch: Result<RecordBatch>| {
        columns
            .leave(batch?)
            .map_err(|error| error.hint("rename the column in the source, or leave it out"))
    };
    Ok((
        SourceRows {
            schema,
            batches: Box::new(rows.batches.map(leave)),
            count: rows.count,
        },
        names,
    ))
}

/// Rows of a source in the order of the key.
pub(super) struct SortedInput {
    pub(super) batches: Batches,
    /// Counts the rows that the rule of duplicates drops.
    pub(super) dropped: Option<Dropped>,
    /// The refusal of keys with nulls. All rows are there then, whatever the rule of duplicates is.
    pub(super) null_keys: Option<Error>,
}

/// Reads the source into sorted runs, and looks for nulls in the key. If a rule says which row of a
/// key counts, the others are dropped as the runs are merged, and counted.
pub(super) fn sort_rows(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
    date: NaiveDate,
    rows: SourceRows,
    watch: &mut Watch,
) -> Result<SortedInput> {
    for key in &table.key {
        if rows.schema.field_with_name(key).is_err() {
            return Err(table.no_key_column(
                key,
                &rows.schema,
                &format!("table {}, {date}: the source", table.name),
            ));
        }
    }
    let order = match &table.dedup {
        None => table.key.clone(),
        Some(rule) => {
            dedup::check(
                table,
                rule,
                &rows.schema,
                &format!("table {}, {date}: the source", table.name),
            )?;
            dedup::sorted_by(table, rule)
        }
    };
    let mut sorter = Sorter::new(&order, workspace.memory.for_sorting_a_source());
    let at_work = |rows| {
        let progress = workspace.progress;
        progress.part(table.name.as_str(), PartState::Reading(rows));
    };
    at_work(0);
    let mut read = 0;
    let mut nulls = 0;
    let mut shown = Vec::new();
    for batch in rows.batches {
        let batch = batch.map_err(|error| error.within(format!("table {}, {date}", table.name)))?;
        table.check_key_lengths(date, &batch)?;
        count_null_keys(&batch, &table.key, &mut nulls, &mut shown);
        watch.see(&batch);
        read += batch.num_rows() as u64;
        sorter.push(batch)?;
        at_work(read);
    }
    let schema = watch.schema();
    let sorted = sorter.finish(&schema)?;
    let null_keys = (nulls > 0).then(|| table.null_keys(date, nulls, &shown));
    let rule = table.dedup.as_ref().filter(|_| null_keys.is_none());
    let (batches, dropped) = match rule {
        None => (sorted, None),
        Some(rule) => {
            let (rows, dropped) = dedup::latest(table, date, rule, &schema, sorted)?;
            (rows, Some(dropped))
        }
    };
    Ok(SortedInput {
        batches,
        dropped,
        null_keys,
    })
}

/// Counts the rows of a batch with a null in the key, and shows the first five.
pub(in crate::commands) fn count_null_keys(
    batch: &RecordBatch,
    key: &[String],
    nulls: &mut u64,
    shown: &mut Vec<String>,
) {
    let columns: Vec<_> = key
        .iter()
        .filter_map(|name| batch.column_by_name(name))
        .collect();
    if columns.iter().all(|column| column.null_count() == 0)
        && columns
            .iter()
            .all(|column| column.logical_null_count() == 0)
    {
        return;
    }
    for row in 0..batch.num_rows() {
        if columns.iter().any(|column| {
            column
                .logical_nulls()
                .is_some_and(|nulls| nulls.is_null(row))
        }) {
            *nulls += 1;
            if shown.len() < 5 {
                shown.push(crate::engine::table::show_row(batch, row));
            }
        }
    }
}
