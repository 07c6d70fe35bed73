//! What the values of each column were before and after, for `asof diff --summary`.

use arrow::datatypes::FieldRef;

use super::side::Side;
use super::{ColumnCount, DiffOptions};
use crate::commands::Workspace;
use crate::commands::cells::cell;
use crate::commands::describe::{Distribution, distribution};
use crate::commands::shown_columns::selected_columns;
use crate::domain::column_statistics::ColumnStatistics;
use crate::domain::type_names::type_name;
use crate::engine::as_of::AsOfTable;
use crate::engine::statistics::{StatisticsOptions, statistics};
use crate::error::Result;

/// A value and how often it occurs on each side.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FrequentOnSides {
    /// The value.
    pub value: String,
    /// In how many rows of the first state it is.
    pub old: u64,
    /// In how many rows of the second state it is.
    pub new: u64,
}

/// What changed in a column.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// The name of its type, in which both sides are compared.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it is one of the key.
    pub key: bool,
    /// How many keys that both states have changed it; none of a key column, and of one that is not
    /// compared.
    pub changed: Option<u64>,
    /// What its values are in the first state, in all rows.
    pub old: Distribution,
    /// What its values are in the second state, in all rows.
    pub new: Distribution,
    /// The most frequent values of either state, those first that are in most rows of both
    /// together. Those of a column that is the whole key are not counted.
    pub frequent: Vec<FrequentOnSides>,
}

/// What is summed up: the two states, and what their comparison found.
pub(super) struct ComparedStates<'a> {
    pub(super) old: &'a AsOfTable,
    pub(super) new: &'a AsOfTable,
    /// Whether no key stands twice in either state.
    pub(super) has_unique_keys: bool,
    pub(super) changed: &'a [ColumnCount],
    pub(super) not_compared: &'a [String],
}

/// What changed in each column: those that were asked for, or all.
///
/// # Errors
/// A usage error for a column that neither state has; a failure or refusal of reading; a refusal of
/// a column that has more different values than memory holds.
pub(super) fn summary(
    workspace: &Workspace<'_>,
    options: &DiffOptions,
    side: &Side<'_>,
    compared: &ComparedStates<'_>,
) -> Result<Vec<ColumnSummary>> {
    let table = side.table;
    let (from, to) = (compared.old.observed, compared.new.observed);
    let what = format!("table {} from {from} to {to}", table.name);
    let columns = selected_columns(&options.columns, side.schema, &what)?;
    let columns = columns.fields();
    let unique = match table.key.as_slice() {
        [only] if compared.has_unique_keys => Some(only.as_str()),
        _ => None,
    };
    let asked = StatisticsOptions {
        columns,
        unique,
        most: options.top,
        memory: workspace.memory,
        what: &what,
    };
    let found = statistics(
        &asked,
        &[&|names| side.read(compared.old, names), &|names| {
            side.read(compared.new, names)
        }],
    )?;
    let columns = columns.iter().zip(&found);
    Ok(columns
        .map(|(column, found)| column_summary(column, found, &table.key, compared))
        .collect())
}

fn column_summary(
    column: &FieldRef,
    found: &ColumnStatistics,
    key: &[String],
    compared: &ComparedStates<'_>,
) -> ColumnSummary {
    let name = column.name();
    let is_key = key.contains(name);
    let changed = compared.changed.iter().find(|count| count.name == *name);
    let changed = changed.map_or(0, |count| count.changed);
    let is_compared = !is_key && !compared.not_compared.contains(name);
    let of_side = |at: usize| distribution(column.data_type(), found.sides.get(at));
    let frequent = (0..found.frequent.len()).zip(&found.counts);
    let frequent = frequent.filter_map(|(row, counts)| match counts.as_slice() {
        [old, new] => Some(FrequentOnSides {
            value: cell(&found.frequent, row)?,
            old: *old,
            new: *new,
        }),
        _ => None,
    });
    ColumnSummary {
        name: name.clone(),
        data_type: type_name(column.data_type()),
        key: is_key,
        changed: is_compared.then_some(changed),
        old: of_side(0),
        new: of_side(1),
        frequent: frequent.collect(),
    }
}
