//! A part of a table: some of its rows and columns.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};

use crate::error::Result;

/// Chooses rows of a batch, and says which those are; nothing for all.
pub type ChooseRows =
    Arc<dyn Fn(&RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> + Send + Sync>;

/// A part of a table.
#[derive(Clone)]
pub struct TablePart {
    /// The columns that are read, those of the key among them; all of them if nothing.
    pub columns: Option<Vec<String>>,
    /// The columns of the result, of those; all of them if nothing.
    pub kept: Option<Vec<String>>,
    /// Which rows there are; in the columns that a snapshot has of those that are kept.
    pub rows: ChooseRows,
    /// Whether the facts are of whole snapshots, their fingerprints and columns. Otherwise external
    /// snapshots have no fingerprints.
    pub observes: bool,
}

impl TablePart {
    /// Whether the rows of the part depend on a column.
    pub(super) fn reads(&self, column: &str) -> bool {
        self.columns
            .as_ref()
            .is_none_or(|columns| columns.iter().any(|name| name == column))
    }

    /// The columns of the result.
    pub(super) fn kept(&self, schema: &SchemaRef) -> SchemaRef {
        let Some(kept) = &self.kept else {
            return schema.clone();
        };
        let fields = schema
            .fields()
            .iter()
            .filter(|field| kept.contains(field.name()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }
}
