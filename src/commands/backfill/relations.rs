//! The relations of a job: the names that it reads, and which events or tables they stand for.

use super::events::{EventsPlace, ad_hoc_events, configured_events};
use super::job::Work;
use super::options::AdHoc;
use super::resolve::ResolvedWork;
use crate::commands::Workspace;
use crate::error::{Error, Result};
use crate::model::TableName;

/// What a name in a query stands for.
#[derive(Clone)]
pub(super) struct JobRelation {
    /// The name in the query.
    pub(super) name: String,
    pub(super) reads: Reads,
}

/// What a job reads under a name.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Reads {
    /// Events of a name.
    Events(String),
    /// A table.
    Table(TableName, View),
}

impl Reads {
    /// What it is, with its name.
    pub(super) fn in_words(&self) -> String {
        match self {
            Reads::Events(name) => format!("events {name}"),
            Reads::Table(table, _) => format!("table {table}"),
        }
    }

    /// The relation's own name.
    pub(super) fn own_name(&self) -> String {
        match self {
            Reads::Events(name) => name.clone(),
            Reads::Table(table, view) => format!("{table}{}", view.suffix()),
        }
    }
}

/// What of a table's past a job reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum View {
    /// The table as of the date.
    AsOf,
    /// Every copy up to the date.
    Snapshots,
    /// The intervals as they were known on the date.
    Intervals,
}

impl View {
    pub(super) const HISTORY: [View; 2] = [View::Snapshots, View::Intervals];

    /// What the relation's name has after the table's.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            View::AsOf => "",
            View::Snapshots => "_snapshots",
            View::Intervals => "_intervals",
        }
    }
}

/// Finds the relations of a job by their names.
pub(super) struct RelationFinder<'a> {
    workspace: &'a Workspace<'a>,
    /// The events that the command line describes.
    given: Option<EventsPlace>,
    known: Vec<TableName>,
    events: Vec<EventsPlace>,
    tables: Vec<TableName>,
    relations: Vec<JobRelation>,
}

impl<'a> RelationFinder<'a> {
    pub(super) fn new(workspace: &'a Workspace<'a>, ad_hoc: Option<&AdHoc>) -> Result<Self> {
        let given = match ad_hoc.and_then(|ad_hoc| Some((ad_hoc, ad_hoc.events.as_ref()?))) {
            Some((ad_hoc, events)) => Some(ad_hoc_events(workspace, ad_hoc, events)?),
            None => None,
        };
        let known = workspace.tables(&[]).unwrap_or_default();
        Ok(RelationFinder {
            workspace,
            given,
            known,
            events: Vec::new(),
            tables: Vec::new(),
            relations: Vec::new(),
        })
    }

    /// The relations that were found so far.
    pub(super) fn relations(&self) -> &[JobRelation] {
        &self.relations
    }

    /// Adds a relation by its own name: that of events or a table, or a table's with `_snapshots`
    /// or `_intervals`. A table of that very name comes first. `what` says where the name is.
    ///
    /// # Errors
    /// A usage error, with the nearest name, for one that is neither.
    pub(super) fn add(&mut self, name: String, own: &str, what: &str) -> Result<&Reads> {
        let reads = if self.is_given(own) || self.workspace.config.events.contains_key(own) {
            if !self.events.iter().any(|events| events.name == own) {
                let events = match &self.given {
                    Some(given) if given.name == own => given.clone(),
                    _ => configured_events(self.workspace, own)?,
                };
                self.events.push(events);
            }
            Reads::Events(own.to_owned())
        } else if let Some((table, view)) = self.table_of(own) {
            if !self.tables.contains(&table) {
                self.tables.push(table.clone());
            }
            Reads::Table(table, view)
        } else {
            return Err(self.unknown(own, what));
        };
        self.relations.push(JobRelation { name, reads });
        let last = self.relations.last().map(|relation| &relation.reads);
        last.ok_or_else(|| Error::internal("a relation was not added"))
    }

    fn is_given(&self, own: &str) -> bool {
        self.given.as_ref().is_some_and(|given| given.name == own)
    }

    fn table_of(&self, own: &str) -> Option<(TableName, View)> {
        [View::AsOf, View::Snapshots, View::Intervals]
            .into_iter()
            .find_map(|view| {
                let table = own.strip_suffix(view.suffix())?;
                let known = self.known.iter().find(|known| known.as_str() == table)?;
                Some((known.clone(), view))
            })
    }

    fn unknown(&self, own: &str, what: &str) -> Error {
        let given = self.given.as_ref().map(|given| given.name.as_str());
        let events = self.workspace.config.events.keys().map(String::as_str);
        let tables = self.known.iter().map(TableName::as_str);
        let mut names: Vec<&str> = events.chain(given).chain(tables).collect();
        names.dedup();
        let histories: Vec<String> = self
            .known
            .iter()
            .flat_map(|table| View::HISTORY.map(|view| format!("{table}{}", view.suffix())))
            .collect();
        let error = Error::usage(format!(
            "{what} '{own}', which is neither a table nor events"
        ));
        let all = names
            .iter()
            .copied()
            .chain(histories.iter().map(String::as_str));
        error.hint_nearest(own, all, || {
            format!(
                "the names are {}; TABLE_snapshots and TABLE_intervals read a table's history",
                names.join(", ")
            )
        })
    }

    /// The work with all relations that were found.
    pub(super) fn resolved(self, work: Work) -> ResolvedWork {
        ResolvedWork {
            work,
            events: self.events,
            tables: self.tables,
            relations: self.relations,
        }
    }
}
