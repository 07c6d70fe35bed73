//! Rows that cannot be a snapshot of their table: a key has nulls, or a column is of another type
//! than it was. They are kept as they arrived, so that the night is not lost.

use arrow::datatypes::SchemaRef;

use super::SnapshotOptions;
use super::plan::SnapshotPlan;
use super::refused::{PublishRefusal, RefusedSnapshot, WayOut};
use super::staged::{footer, stage};
use crate::commands::Workspace;
use crate::domain::digest::RowSum;
use crate::engine::table::all_digests;
use crate::error::{Error, Kind, Result};
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::lake::commit::Staged;
use crate::storage::parquet::footer::{ColumnWire, SnapshotFooter};
use crate::storage::parquet::writer::ObjectWriter;

/// What is wrong with the rows of a source, all of which could be read.
#[derive(Default)]
pub(super) struct Unfitness {
    null_keys: Option<Error>,
    types: Vec<Error>,
}

impl Unfitness {
    /// Keys with nulls, and columns of text that are of another type than they were.
    pub(super) fn new(null_keys: Option<Error>, mistyped: Vec<Error>) -> Self {
        Unfitness {
            null_keys,
            types: mistyped,
        }
    }

    /// What was worked out of the rows; nothing if that is refused.
    ///
    /// # Errors
    /// Every error that is not a refusal.
    pub(super) fn unless_refused<T>(&mut self, worked_out: Result<T>) -> Result<Option<T>> {
        match worked_out {
            Err(error) if error.kind() == Kind::Refused && !error.is_damage() => {
                // The same columns were refused as they were read.
                if self.types.is_empty() {
                    self.types.push(error);
                }
                Ok(None)
            }
            worked_out => worked_out.map(Some),
        }
    }

    /// Whether the rows can be a snapshot.
    pub(super) fn is_none(&self) -> bool {
        self.null_keys.is_none() && self.types.is_empty()
    }
}

/// Rows in the order of the key that cannot be a snapshot.
pub(super) struct UnfitRows {
    pub(super) schema: SchemaRef,
    pub(super) batches: Batches,
    /// The columns that the table has pinned and the source lacks.
    pub(super) absent: Vec<ColumnWire>,
    pub(super) why: Unfitness,
}

impl UnfitRows {
    /// Keeps the rows, unless nothing is to be written, and returns the refusal with what can be
    /// done now.
    pub(super) fn keep(
        self,
        workspace: &Workspace<'_>,
        plan: &SnapshotPlan<'_>,
        options: &SnapshotOptions,
        has_previous: bool,
    ) -> Box<RefusedSnapshot> {
        let UnfitRows {
            schema,
            batches,
            absent,
            why: Unfitness { null_keys, types },
        } = self;
        let way_out = match null_keys {
            Some(_) => WayOut::Key,
            None => WayOut::Types,
        };
        let refusals: Vec<Error> = null_keys.into_iter().chain(types).collect();
        let reasons = PublishRefusal::reasons(plan, &refusals);
        let Some(error) = refusals.into_iter().next() else {
            return Error::internal("rows are refused for no reason").into();
        };
        if options.dry_run {
            return error.into();
        }
        let written = || -> Result<(Staged, u64)> {
            let staged = stage(plan, options)?;
            let key = &plan.table.key;
            let mut writer = ObjectWriter::create(staged.writer()?, &schema, key, &plan.path)?;
            let mut sum = RowSum::default();
            for rows in each(batches, |batch| Ok((all_digests(&batch)?, batch)))? {
                let (digests, batch) = rows?;
                sum.add(&digests);
                writer.write(batch)?;
            }
            // Which row of a key counts was not asked.
            let footer = SnapshotFooter {
                dedup: None,
                ..footer(workspace, plan, (absent, None), &sum)
            };
            writer.finish(&PublishRefusal::footer(reasons, footer))?;
            Ok((staged, sum.rows()))
        };
        match written() {
            Ok((staged, rows)) => PublishRefusal::of_unfit(error, rows, way_out).kept(
                workspace,
                plan,
                options,
                &staged,
                has_previous,
            ),
            Err(why) => {
                let name = &plan.table.name;
                let note = format!("{name}: the refused copy is not kept: {why}");
                workspace.progress.note(&note);
                error.into()
            }
        }
    }
}

/// Whether the rows are not to be kept if they are refused: nothing is to be written, or they are
/// kept already.
pub(super) fn is_tried(options: &SnapshotOptions) -> bool {
    options.dry_run || options.publish.is_some()
}

/// The refusal of a source that could not be read to its end: nothing of it can be kept.
pub(super) fn nothing_kept(error: Error, options: &SnapshotOptions) -> Error {
    if error.kind() != Kind::Refused || is_tried(options) {
        return error;
    }
    error.hint("nothing of this copy was kept: it was refused before all of its rows were read")
}
