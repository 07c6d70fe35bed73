//! [`Lake`]: where the tables are, and what applies to all of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Job, Table, only};
use crate::commands::Workspace;
use crate::commands::backfill::{BackfillOptions, BackfillReport, backfill};
use crate::config::Config;
use crate::error::Result;
use crate::memory::MemoryBudget;
use crate::model::TableName;

/// Settings with which a [`Lake`] is opened.
///
/// By default there is no `asof.toml`, at most 2 GiB of memory are used, and object stores see the
/// environment's variables, as the program does.
#[derive(Clone, Debug)]
#[must_use]
pub struct LakeOptions {
    config: Config,
    memory: MemoryBudget,
    environment: BTreeMap<String, String>,
}

impl Default for LakeOptions {
    fn default() -> Self {
        LakeOptions {
            config: Config::default(),
            memory: MemoryBudget::default(),
            environment: std::env::vars().collect(),
        }
    }
}

impl LakeOptions {
    /// Settings with every default.
    pub fn new() -> Self {
        LakeOptions::default()
    }

    /// Reads tables, events, jobs and stores from an `asof.toml`. Relative paths in it start at its
    /// folder.
    ///
    /// # Errors
    /// An [`Io`](crate::Kind::Io) error if the file cannot be read; a
    /// [`Usage`](crate::Kind::Usage) error that names line and column if it is wrong.
    pub fn config_file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        self.config = Config::load(path.as_ref())?;
        Ok(self)
    }

    /// Sets about how much memory one command may use, in bytes; at least 64 MiB.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = MemoryBudget(bytes.max(MemoryBudget::LEAST));
        self
    }

    /// Sets the variables that `${VAR}` in `asof.toml` and the credentials of object stores are
    /// taken from, instead of the environment of the process.
    pub fn environment<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        self
    }

    /// Opens a lake: a folder, or a URL such as `s3://bucket/path`. A folder that does not exist is
    /// an empty lake; the first snapshot makes it.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error for a folder that holds other things, and for a URL or
    /// a store that is not known.
    pub fn open(self, root: impl Into<String>) -> Result<Lake> {
        let lake = Lake {
            options: self,
            root: Some(root.into()),
        };
        lake.workspace()?.lake()?;
        Ok(lake)
    }

    /// Opens the lake that `asof.toml` names.
    ///
    /// # Errors
    /// As [`open`](Self::open); a [`Usage`](crate::Kind::Usage) error if none is named.
    pub fn open_configured(self) -> Result<Lake> {
        let lake = Lake {
            options: self,
            root: None,
        };
        lake.workspace()?.lake()?;
        Ok(lake)
    }
}

/// A lake: dated snapshots of tables, and the intervals made from them.
///
/// It holds no files open and caches nothing between calls, so several processes may write to the
/// same lake. Every call reads the clock of the machine where it needs today's date.
#[derive(Clone, Debug)]
pub struct Lake {
    options: LakeOptions,
    root: Option<String>,
}

impl Lake {
    /// Opens a lake with default settings; see [`LakeOptions::open`].
    ///
    /// # Errors
    /// As [`LakeOptions::open`].
    pub fn open(root: impl Into<String>) -> Result<Self> {
        LakeOptions::default().open(root)
    }

    /// Settings for a lake that is to be opened.
    pub fn options() -> LakeOptions {
        LakeOptions::default()
    }

    /// A table of this lake, or an external table of `asof.toml`. It need not have a snapshot yet.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error for a name that cannot be that of a table.
    pub fn table(&self, name: &str) -> Result<Table<'_>> {
        Ok(Table::new(self, name.parse()?))
    }

    /// The names of the tables in this lake, in order.
    ///
    /// # Errors
    /// A failure to list the lake.
    pub fn tables(&self) -> Result<Vec<String>> {
        let workspace = self.workspace()?;
        let names = workspace.lake()?.tables()?;
        Ok(names.iter().map(TableName::to_string).collect())
    }

    /// Runs a job for each date of a range that has events and whose output is not up to date. A
    /// failure of one date does not stop the others: look at the report's
    /// [`failure`](BackfillReport::failure).
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error for a job that cannot run on any date; a failure to
    /// find the events.
    pub fn backfill(&self, job: &Job, options: &BackfillOptions) -> Result<BackfillReport> {
        only(backfill(&self.workspace()?, &[], &job.described(options))?)
    }

    /// Runs a job of `asof.toml`, as [`backfill`](Self::backfill) does.
    ///
    /// # Errors
    /// As [`backfill`](Self::backfill); a [`Usage`](crate::Kind::Usage) error for a name that is
    /// not a job's.
    pub fn backfill_configured(
        &self,
        job: &str,
        options: &BackfillOptions,
    ) -> Result<BackfillReport> {
        only(backfill(&self.workspace()?, &[job.to_owned()], options)?)
    }

    /// What one call works with.
    pub(super) fn workspace(&self) -> Result<Workspace<'static>> {
        let mut builder = Workspace::builder(self.options.config.clone())
            .memory(self.options.memory)
            .environment(self.options.environment.clone());
        if let Some(root) = &self.root {
            builder = builder.lake(root.clone());
        }
        builder.build()
    }
}
