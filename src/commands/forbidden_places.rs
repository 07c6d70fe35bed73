//! Where commands may write: not among what they, or others, read.
//!
//! Whatever lies in the lake's snapshots, in a folder of events or in that of an external table is
//! taken for data. Places are compared by where they lead to, links and `..` resolved.

use super::Workspace;
use crate::error::{Error, Result};
use crate::storage::lake::location::Location;

/// A place that is to be written to, and how errors call it.
pub(super) struct Destination<'a> {
    /// The file, or the folder of several.
    pub(super) place: &'a Location,
    /// One of the files, if `place` is a folder of several.
    pub(super) object: &'a Location,
    /// Such as `the output`.
    pub(super) what: &'a str,
    /// What to try instead.
    pub(super) hint: &'a str,
}

impl Destination<'_> {
    fn is_read_by(&self, source: &Location) -> bool {
        self.place.is_read_by(source) || self.object.is_read_by(source)
    }

    fn refused(&self, is: &str) -> Error {
        let Destination { place, what, .. } = self;
        Error::usage(format!("{what} '{place}' is {is}")).hint(self.hint)
    }

    /// Refuses a place whose files some events would be taken for.
    ///
    /// # Errors
    /// A usage error.
    pub(super) fn check_events(&self, name: &str, root: &Location) -> Result<()> {
        if self.is_read_by(root) {
            return Err(self.refused(&format!("among the events {name}")));
        }
        Ok(())
    }

    /// Refuses a place among the events that are configured.
    ///
    /// # Errors
    /// A usage error; also for a variable in the path of events that is not set.
    pub(super) fn check_configured_events(&self, workspace: &Workspace<'_>) -> Result<()> {
        let configured = workspace.config.events.iter();
        for (name, config) in configured.filter(|(_, config)| !config.path.is_empty()) {
            self.check_events(name, &workspace.configured(&config.path)?)?;
        }
        Ok(())
    }

    /// Refuses a place in the lake, or among the copies of an external table.
    ///
    /// # Errors
    /// A usage error.
    pub(super) fn check_tables(&self, workspace: &Workspace<'_>) -> Result<()> {
        if workspace.has_lake() && self.place.is_within(workspace.lake()?.root()) {
            return Err(self.refused("in the lake, among tables"));
        }
        self.check_external(workspace)
    }

    /// Refuses a place among the copies of an external table.
    ///
    /// # Errors
    /// A usage error.
    pub(super) fn check_external(&self, workspace: &Workspace<'_>) -> Result<()> {
        for (name, config) in &workspace.config.tables {
            if let Some(snapshots) = &config.snapshots
                && self.is_read_by(&workspace.configured(snapshots)?)
            {
                return Err(self.refused(&format!("among the snapshots of table {name}")));
            }
        }
        Ok(())
    }
}
