//! How a [`Workspace`] is put together: every piece but the configuration has a default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{debug, warn};

use super::lineage::Emitter;
use super::{DeclaredTypes, Progress, Workspace};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::memory::MemoryBudget;
use crate::secret::Secret;
use crate::storage::object_store::registry::Stores;

/// Progress that goes to the log.
struct Logged;

impl Progress for Logged {
    fn step(&self, what: &str, done: u64, total: u64) {
        debug!("{what}: {done} of {total}");
    }

    fn note(&self, text: &str) {
        warn!("{text}");
    }
}

/// Builds a [`Workspace`].
///
/// ```
/// use asof::commands::Workspace;
/// use asof::config::Config;
///
/// let workspace = Workspace::builder(Config::default()).lake("lake").build()?;
/// # Ok::<(), asof::error::Error>(())
/// ```
#[must_use]
pub struct WorkspaceBuilder<'a> {
    config: Config,
    lake: Option<String>,
    folder: PathBuf,
    clock: Option<Clock>,
    memory: MemoryBudget,
    environment: BTreeMap<String, Secret>,
    allow_unsafe_store: bool,
    declared: DeclaredTypes,
    progress: &'a dyn Progress,
}

impl<'a> WorkspaceBuilder<'a> {
    pub(super) fn new(config: Config) -> Self {
        WorkspaceBuilder {
            folder: config.base.clone(),
            config,
            lake: None,
            clock: None,
            memory: MemoryBudget::default(),
            environment: BTreeMap::new(),
            allow_unsafe_store: false,
            declared: DeclaredTypes::default(),
            progress: &Logged,
        }
    }

    /// Names the lake, a folder or a URL; it overrules the one of the configuration.
    pub fn lake(mut self, lake: impl Into<String>) -> Self {
        self.lake = Some(lake.into());
        self
    }

    /// Sets the folder from which relative paths are taken; by default the configuration's.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// Sets the time; by default that of this machine, in the zone of the configuration.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets about how much memory may be used.
    pub fn memory(mut self, memory: MemoryBudget) -> Self {
        self.memory = memory;
        self
    }

    /// Sets the environment's variables, for `${VAR}` and for the credentials of object stores; by
    /// default there are none.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = variables
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        self
    }

    /// Sets whether a store that does not enforce conditional writes may be written to.
    pub fn allow_unsafe_store(mut self, allow: bool) -> Self {
        self.allow_unsafe_store = allow;
        self
    }

    /// Declares types that overrule the configuration.
    pub fn declared(mut self, declared: DeclaredTypes) -> Self {
        self.declared = declared;
        self
    }

    /// Sets who is told of progress; by default the log is, by events of `tracing`.
    pub fn progress(mut self, progress: &'a dyn Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Returns the workspace.
    ///
    /// # Errors
    /// A usage error for a time zone, a store or a variable of the configuration that is unknown,
    /// or for an invalid URL of OpenLineage.
    pub fn build(self) -> Result<Workspace<'a>> {
        let variable = |name: &str| self.environment.get(name).cloned();
        let options = self.config.store_options(&variable)?;
        let clock = match self.clock {
            Some(clock) => clock,
            None => Clock::read(None)?.in_zone(self.config.zone()?),
        };
        let variables = self.environment.clone().into_iter().collect();
        let stores = Stores::new(variables, options)?;
        let emitter = Emitter::new(
            &self.config.openlineage,
            &self.config.base,
            &self.environment,
            &stores,
            clock,
            self.progress,
        )?;
        Ok(Workspace {
            emitter: emitter.map(Arc::new),
            stores: Arc::new(stores),
            config: self.config,
            lake: self.lake,
            folder: self.folder,
            clock,
            memory: self.memory,
            whole_memory: self.memory,
            allow_unsafe_store: self.allow_unsafe_store,
            declared: self.declared,
            only_columns: false,
            environment: self.environment,
            observed: Default::default(),
            dated: Default::default(),
            open_lake: Default::default(),
            progress: self.progress,
        })
    }
}
