//! The first differences as text, and in how many rows each column differs.

use arrow::array::RecordBatch;

use super::{ChangeKind, RowChange};
use crate::commands::cells::{Cells, ColumnChange, cell};
use crate::domain::diff::Difference;
use crate::domain::schema::columns_by_name;
use crate::error::Result;

/// Counts differences by column and keeps the first ones.
pub(super) struct Listing<'a> {
    key: &'a [String],
    pub(super) attributes: Vec<String>,
    pub(super) counts: Vec<u64>,
    limit: usize,
    pub(super) rows: Vec<RowChange>,
    old: Option<Cells>,
    new: Option<Cells>,
}

impl<'a> Listing<'a> {
    /// Of a table with a key, and of the other columns that are compared.
    pub(super) fn new(key: &'a [String], attributes: Vec<String>, limit: usize) -> Self {
        Listing {
            key,
            counts: vec![0; attributes.len()],
            attributes,
            limit,
            rows: Vec::new(),
            old: None,
            new: None,
        }
    }

    /// Takes a difference, and returns the places of the columns in which a changed row differs.
    pub(super) fn see(&mut self, difference: &Difference<'_>) -> Result<Vec<usize>> {
        let listed = self.rows.len() < self.limit;
        let mut changed = Vec::new();
        match *difference {
            Difference::Added(batch, row) if listed => {
                let columns = self.values(batch, row).map(|(name, value)| ColumnChange {
                    name,
                    old: None,
                    new: Some(value),
                });
                let columns = columns.collect();
                self.list(ChangeKind::Added, batch, row, columns);
            }
            Difference::Removed(batch, row) if listed => {
                let columns = self.values(batch, row).map(|(name, value)| ColumnChange {
                    name,
                    old: Some(value),
                    new: None,
                });
                let columns = columns.collect();
                self.list(ChangeKind::Removed, batch, row, columns);
            }
            Difference::Changed((old, old_row), (new, new_row)) => {
                let differing = self.differing(old, old_row, new, new_row)?;
                differing.iter().for_each(|at| self.counts[*at] += 1);
                if listed {
                    let columns = differing
                        .iter()
                        .map(|at| self.change(*at, (old, old_row), (new, new_row)))
                        .collect();
                    self.list(ChangeKind::Changed, new, new_row, columns);
                }
                changed = differing;
            }
            Difference::Added(..) | Difference::Removed(..) => {}
        }
        Ok(changed)
    }

    fn list(
        &mut self,
        kind: ChangeKind,
        batch: &RecordBatch,
        row: usize,
        columns: Vec<ColumnChange>,
    ) {
        let key = self
            .key
            .iter()
            .filter_map(|name| {
                let value = cell(batch.column_by_name(name)?, row);
                // Only a copy that was refused has nulls in its key.
                Some(value.unwrap_or_else(|| "null".to_owned()))
            })
            .collect();
        self.rows.push(RowChange { kind, key, columns });
    }

    /// The values of a row that are not null, by column.
    fn values<'b>(
        &'b self,
        batch: &'b RecordBatch,
        row: usize,
    ) -> impl Iterator<Item = (String, String)> + 'b {
        let columns = columns_by_name(batch);
        self.attributes.iter().filter_map(move |name| {
            let column = columns.get(name.as_str())?;
            Some((name.clone(), cell(column, row)?))
        })
    }

    fn change(
        &self,
        at: usize,
        old: (&RecordBatch, usize),
        new: (&RecordBatch, usize),
    ) -> ColumnChange {
        let name = &self.attributes[at];
        let value = |(batch, row): (&RecordBatch, usize)| {
            batch
                .column_by_name(name)
                .and_then(|column| cell(column, row))
        };
        ColumnChange {
            name: name.clone(),
            old: value(old),
            new: value(new),
        }
    }

    /// The columns in which two rows differ; a batch's cells are digested when its first changed
    /// row is met.
    fn differing(
        &mut self,
        old: &RecordBatch,
        old_row: usize,
        new: &RecordBatch,
        new_row: usize,
    ) -> Result<Vec<usize>> {
        let old = cells(&mut self.old, old, &self.attributes)?;
        let new = cells(&mut self.new, new, &self.attributes)?;
        Ok(old.differing(old_row, new, new_row).collect())
    }
}

/// The cells of a batch: those that are held, if they are of it.
fn cells<'a>(
    held: &'a mut Option<Cells>,
    batch: &RecordBatch,
    columns: &[String],
) -> Result<&'a Cells> {
    let cells = match held.take().filter(|held| held.are_of(batch)) {
        Some(cells) => cells,
        None => Cells::of(batch, columns)?,
    };
    Ok(held.insert(cells))
}
