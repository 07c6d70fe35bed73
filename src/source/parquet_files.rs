//! Parquet files of one table, opened once and read as often as is wanted, whole or by pieces.

use std::ops::Range;
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use super::parts::Parts;
use super::path_columns::FolderColumns;
use super::{Format, TypeRules, inputs_of};
use crate::error::{Context, Result};
use crate::storage::Batches;
use crate::storage::lake::location::Object;
use crate::storage::parquet::object::RowCondition;

/// The least number of rows of a piece, unless there are no more.
const PIECE_ROWS: u64 = 65_536;

/// Row groups that follow one another, numbered through all files.
pub(super) type Piece = Range<usize>;

/// Parquet files of one table, whose footers have been read; they are not held open.
#[derive(Clone)]
pub struct ParquetFiles {
    parts: Arc<Parts>,
    folders: Arc<FolderColumns>,
    /// Their columns with those that their folders hold.
    schema: SchemaRef,
}

impl ParquetFiles {
    /// Opens files; nothing if they are of another format, or if their folders hold several values
    /// of a column.
    ///
    /// # Errors
    /// As [`read`](super::read).
    pub fn open(files: &[Object], format: Format, rules: &TypeRules) -> Result<Option<Self>> {
        let folders = FolderColumns::of(files, rules)?;
        if format != Format::Parquet || !folders.are_constant() {
            return Ok(None);
        }
        ParquetFiles::of(files, rules, folders).map(Some)
    }

    pub(super) fn of(files: &[Object], rules: &TypeRules, folders: FolderColumns) -> Result<Self> {
        let rules = folders.rules_of_files(rules);
        let parts = Parts::open(&inputs_of(files), Format::Parquet, &rules)?;
        Ok(ParquetFiles {
            schema: folders.schema(&parts.schema),
            parts: Arc::new(parts),
            folders: Arc::new(folders),
        })
    }

    /// The pieces in which the rows can be read: each of as few row groups as have enough rows.
    pub fn pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut missing = 0;
        for (group, rows) in self.parts.groups().into_iter().flatten().enumerate() {
            match pieces.last_mut() {
                Some(piece) if missing > 0 => piece.end = group + 1,
                _ => {
                    pieces.push(group..group + 1);
                    missing = PIECE_ROWS;
                }
            }
            missing = missing.saturating_sub(rows);
        }
        pieces
    }

    /// Reads the named columns, in their order, of the rows for which a condition holds; only those
    /// of one piece, if it is told.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(
        &self,
        columns: &[String],
        condition: Option<Arc<dyn RowCondition>>,
        piece: Option<Piece>,
    ) -> Result<Batches> {
        match condition {
            Some(condition)
                if condition
                    .columns()
                    .iter()
                    .any(|name| self.is_in_folder(name)) =>
            {
                let looked_at = condition.columns().iter();
                let added = looked_at.filter(|name| !columns.contains(name)).cloned();
                let all: Vec<String> = columns.iter().cloned().chain(added).collect();
                let kept: Vec<usize> = (0..self.project(columns).fields().len()).collect();
                let rows = self.read_files(&all, None, piece);
                Ok(Box::new(rows.map(move |batch| {
                    let batch = batch?;
                    filter_record_batch(&batch, &condition.holds(&batch)?)
                        .and_then(|rows| rows.project(&kept))
                        .io_context(|| "cannot select rows".into())
                })))
            }
            condition => Ok(self.read_files(columns, condition, piece)),
        }
    }

    /// Reads columns by a condition on those that the files have themselves.
    fn read_files(
        &self,
        columns: &[String],
        condition: Option<Arc<dyn RowCondition>>,
        piece: Option<Piece>,
    ) -> Batches {
        let target = self.project(columns);
        let own = columns
            .iter()
            .filter_map(|name| self.parts.schema.field_with_name(name).ok().cloned());
        let of_files = Schema::new(own.collect::<Vec<_>>());
        let wanted = columns.to_vec();
        let is_all = condition.is_none() && piece.is_none();
        let groups = piece.map(|piece| self.groups_of(&piece));
        let is_whole = of_files.fields().len() == target.fields().len();
        let parts = self.parts.clone();
        let rows = parts.read(Arc::new(of_files), is_all, move |file, part| {
            let groups = groups.as_ref().map(|groups| groups[file].clone());
            part.read_where(&wanted, condition.as_ref(), groups)
        });
        let mut read = target.fields().iter();
        if is_whole && !read.any(|field| self.is_in_folder(field.name())) {
            return rows;
        }
        let folders = self.folders.clone();
        Box::new(rows.map(move |batch| folders.added(&batch?, 0, &target)))
    }

    /// The row groups of a piece, by the files that have them.
    fn groups_of(&self, piece: &Piece) -> Vec<Range<usize>> {
        let mut before = 0;
        let of_file = |groups: Vec<u64>| {
            let first = before;
            before += groups.len();
            piece.start.clamp(first, before) - first..piece.end.clamp(first, before) - first
        };
        self.parts.groups().into_iter().map(of_file).collect()
    }

    /// The columns of some names.
    fn project(&self, names: &[String]) -> SchemaRef {
        let fields = names.iter();
        let fields = fields.filter_map(|name| self.schema.field_with_name(name).ok().cloned());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn is_in_folder(&self, name: &str) -> bool {
        let mut folders = self.folders.names();
        folders.any(|folder| folder.eq_ignore_ascii_case(name))
    }
}
