//! Who is told what a command is doing, and the parts of a command that are done at a time.

use std::sync::{Mutex, PoisonError};

use super::Workspace;

/// Told what is being done; results never go this way.
pub trait Progress: Sync {
    /// `done` of `total` steps of `what` are done.
    fn step(&self, what: &str, done: u64, total: u64);
    /// Something that the user should know and that is not a failure.
    fn note(&self, text: &str);
    /// What one of several parts that are done at a time, such as a table, is at.
    fn part(&self, name: &str, state: PartState) {
        let _ = (name, state);
    }
}

/// What a part of a command is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// It reads its source, and has read so many rows.
    Reading(u64),
    /// It writes its snapshot, and has written so many rows.
    Writing(u64),
    /// It has ended, well or not.
    Ended,
}

/// Keeps the notes of one part of a command, so that those of several parts are told in order. All
/// else is told at once.
pub(in crate::commands) struct Notes<'a> {
    progress: &'a dyn Progress,
    notes: Mutex<Vec<String>>,
}

impl<'a> Notes<'a> {
    /// Keeps notes, and tells `progress` all else.
    pub(in crate::commands) fn new(progress: &'a dyn Progress) -> Self {
        Notes {
            progress,
            notes: Mutex::default(),
        }
    }

    /// The notes, in the order in which they were told.
    pub(in crate::commands) fn into_inner(self) -> Vec<String> {
        self.notes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Notes<'_> {
    fn step(&self, what: &str, done: u64, total: u64) {
        self.progress.step(what, done, total);
    }

    fn note(&self, text: &str) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    }

    fn part(&self, name: &str, state: PartState) {
        self.progress.part(name, state);
    }
}

impl Workspace<'_> {
    /// What one of several parts of a command works on, such as a table, while the others do
    /// theirs: its share of the memory, and somebody of its own to tell of progress.
    pub(in crate::commands) fn part<'p>(
        &self,
        parts: usize,
        progress: &'p dyn Progress,
    ) -> Workspace<'p> {
        Workspace {
            config: self.config.clone(),
            lake: self.lake.clone(),
            folder: self.folder.clone(),
            clock: self.clock,
            memory: self.memory.for_each_table_of(parts),
            whole_memory: self.whole_memory,
            emitter: self.emitter.clone(),
            stores: self.stores.clone(),
            allow_unsafe_store: self.allow_unsafe_store,
            declared: self.declared.clone(),
            only_columns: self.only_columns,
            observed: self.observed.clone(),
            dated: self.dated.clone(),
            open_lake: self.open_lake.clone(),
            environment: self.environment.clone(),
            progress,
        }
    }

    /// The same, for a look at the columns of sources alone.
    pub(in crate::commands) fn part_for_columns<'p>(
        &self,
        parts: usize,
        progress: &'p dyn Progress,
    ) -> Workspace<'p> {
        Workspace {
            only_columns: true,
            ..self.part(parts, progress)
        }
    }
}
