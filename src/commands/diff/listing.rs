//! The differences that a report counts by column, and the first ones, which it lists.

use arrow::array::RecordBatch;

use super::{ChangeKind, DifferenceRows, RowChange};
use crate::commands::cells::{Cells, ColumnChange, cell};
use crate::domain::diff::Difference;
use crate::domain::schema::columns_by_name;
use crate::error::Result;

/// Counts differences by column and keeps the first ones.
pub(super) struct Listing<'a> {
    /// Where all of them go, too.
    all: Option<&'a mut DifferenceRows>,
    key: &'a [String],
    pub(super) attributes: Vec<String>,
    /// In how many changed rows each of these columns differs.
    pub(super) counts: Vec<u64>,
    limit: usize,
    pub(super) rows: Vec<RowChange>,
    old: Option<Cells>,
    new: Option<Cells>,
}

impl<'a> Listing<'a> {
    /// No differences yet of a table with a key and other columns.
    pub(super) fn new(
        key: &'a [String],
        attributes: Vec<String>,
        limit: usize,
        all: Option<&'a mut DifferenceRows>,
    ) -> Self {
        Listing {
            all,
            key,
            counts: vec![0; attributes.len()],
            attributes,
            limit,
            rows: Vec::new(),
            old: None,
            new: None,
        }
    }

    /// Counts a difference, and lists it if few were.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared.
    pub(super) fn see(&mut self, difference: &Difference<'_>) -> Result<()> {
        let listed = self.rows.len() < self.limit;
        let mut differing_columns = Vec::new();
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
                differing_columns = differing;
            }
            Difference::Added(..) | Difference::Removed(..) => {}
        }
        match &mut self.all {
            Some(all) => all.push(difference, &differing_columns),
            None => Ok(()),
        }
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
