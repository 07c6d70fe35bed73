//! What is known of the snapshots of a pass: their schemas, and the columns of them all.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::facts::CompactionFacts;
use super::pass::Pass;
use crate::domain::schema::{by_name, unify};
use crate::engine::table::SnapshotTable;
use crate::engine::table_part::TablePart;
use crate::error::Result;
use crate::storage::parquet::footer::ObservedWire;

/// The facts of a pass while its snapshots are seen one by one.
pub(super) struct SnapshotObserver<'a> {
    table: &'a SnapshotTable,
    /// The part whose columns are of interest, of whole snapshots.
    part: Option<&'a TablePart>,
    /// The columns of all that was seen, as far as they are of interest.
    pub(super) schema: Option<SchemaRef>,
    /// All columns of all that was seen, if only some are of interest: in the first of their types.
    pub(super) every: Option<SchemaRef>,
    pub(super) facts: CompactionFacts,
}

impl<'a> SnapshotObserver<'a> {
    /// An observer that has seen the snapshots of the pass's base.
    pub(super) fn new(pass: &'a Pass<'_>) -> Result<Self> {
        let part = pass.part.filter(|part| part.observes);
        let mut observer = SnapshotObserver {
            table: pass.table,
            part,
            schema: None,
            every: None,
            facts: CompactionFacts::default(),
        };
        if let Some(base) = pass.base {
            for (index, observed) in base.observed().iter().enumerate() {
                observer.saw(observed.clone(), &base.intervals.schema_of(index)?)?;
            }
        }
        Ok(observer)
    }

    /// Records a snapshot and folds its schema into the table's.
    pub(super) fn saw(&mut self, observed: ObservedWire, schema: &SchemaRef) -> Result<()> {
        let date = observed.date;
        let schemas = &mut self.facts.schemas;
        let index = schemas
            .iter()
            .position(|known| known == schema)
            .unwrap_or_else(|| {
                schemas.push(schema.clone());
                schemas.len() - 1
            });
        let read = self.of_interest(schema);
        self.schema = Some(match &self.schema {
            None => read,
            Some(wide) => {
                unify(wide, &read)
                    .map_err(|clash| clash.refusal(self.table.name.as_str(), date))?
                    .0
            }
        });
        if self.part.is_some() {
            let known = self
                .every
                .take()
                .unwrap_or_else(|| Arc::new(Schema::empty()));
            let names = by_name(&known);
            let new = schema
                .fields()
                .iter()
                .filter(|field| !names.contains_key(field.name().as_str()));
            self.every = Some(Arc::new(Schema::new(
                known
                    .fields()
                    .iter()
                    .chain(new)
                    .cloned()
                    .collect::<Vec<_>>(),
            )));
        }
        self.facts.observed.push(ObservedWire {
            schema: index,
            ..observed
        });
        Ok(())
    }

    /// The columns that the rows depend on.
    pub(super) fn of_interest(&self, schema: &SchemaRef) -> SchemaRef {
        let Some(part) = self.part else {
            return schema.clone();
        };
        let fields = schema
            .fields()
            .iter()
            .filter(|field| part.reads(field.name()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }

    /// Whether a schema is that of the last snapshot.
    pub(super) fn has_columns_of_last(&self, schema: &SchemaRef) -> bool {
        let last = self
            .facts
            .observed
            .last()
            .and_then(|observed| self.facts.schemas.get(observed.schema));
        last == Some(schema)
    }
}
