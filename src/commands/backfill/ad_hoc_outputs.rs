//! Where ad-hoc jobs write. The lake remembers it, so that `asof verify` reads their outputs too.
//!
//! No asof.toml names a job that only a command line describes. So each backfill of such a job
//! leaves a hint in the lake: the job's name, its output and its layout. A hint whose output is
//! gone means nothing, and a lake that cannot be written to has none.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tracing::debug;
use xxhash_rust::xxh3::xxh3_64;

use super::job::ResolvedJob;
use super::job_output::JobOutput;
use super::outputs::outputs_below;
use crate::commands::Workspace;
use crate::domain::layout::Layout;
use crate::error::Result;
use crate::storage::lake::hints::{publish_hint, read_hint};
use crate::storage::lake::location::Location;
use crate::storage::lake::paths;

/// What the lake remembers of an ad-hoc job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::commands) struct AdHocOutput {
    /// The root of the outputs: an absolute path or a URL.
    output: String,
    layout: String,
    /// The name that the job gave its outputs.
    pub(in crate::commands) job: String,
}

impl AdHocOutput {
    fn of(job: &ResolvedJob) -> Self {
        AdHocOutput {
            output: job.output.to_string(),
            layout: job.layout.to_string(),
            job: job.name.clone(),
        }
    }

    fn hint(&self, lake: &Location) -> Location {
        let AdHocOutput {
            output,
            layout,
            job,
        } = self;
        let id = xxh3_64(format!("{output}\n{layout}\n{job}").as_bytes());
        paths::ad_hoc_outputs(lake).join(&format!("{id:016x}.json"))
    }

    /// Remembers where an ad-hoc job writes, if there is a lake. A failure is only logged.
    pub(super) fn remember(job: &ResolvedJob, workspace: &Workspace<'_>) {
        if !job.is_ad_hoc || !workspace.has_lake() {
            return;
        }
        let remembered = AdHocOutput::of(job);
        let hint = || -> Result<Option<Location>> {
            let lake = workspace.lake()?;
            let hint = remembered.hint(lake.root());
            let is_known = || matches!(read_hint(&hint), Ok(Some(known)) if remembered == known);
            Ok((!lake.tables()?.is_empty() && !is_known()).then_some(hint))
        };
        match hint() {
            Ok(None) => {}
            Ok(Some(hint)) => publish_hint(&hint, &remembered),
            Err(error) => debug!(%error, "the lake does not remember where an ad-hoc job writes"),
        }
    }

    /// What the lake remembers of ad-hoc jobs, in the order of their outputs. A hint that is
    /// damaged is passed over.
    ///
    /// # Errors
    /// A failure to list the hints.
    pub(in crate::commands) fn all(workspace: &Workspace<'_>) -> Result<Vec<Self>> {
        if !workspace.has_lake() {
            return Ok(Vec::new());
        }
        let folder = paths::ad_hoc_outputs(workspace.lake()?.root());
        let hints = folder.entries()?.into_iter().filter_map(|entry| {
            let hint = folder.join(&entry.name);
            read_hint(&hint).unwrap_or_else(|error| {
                debug!(%error, "a hint is passed over");
                None
            })
        });
        let mut all: Vec<Self> = hints.collect();
        all.sort();
        Ok(all)
    }

    /// The root of the outputs.
    ///
    /// # Errors
    /// A usage error if this program cannot reach such a place.
    pub(in crate::commands) fn root(&self, workspace: &Workspace<'_>) -> Result<Location> {
        workspace.here(&self.output)
    }

    /// The outputs that stand, by date; none if the folder is gone.
    ///
    /// # Errors
    /// A failure to list them.
    pub(in crate::commands) fn outputs(
        &self,
        root: &Location,
    ) -> Result<BTreeMap<NaiveDate, JobOutput>> {
        outputs_below(root, &Layout::parse(&self.layout)?, &self.job)
    }
}
