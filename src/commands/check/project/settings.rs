//! What asof.toml alone tells of its parts.

use super::{CheckedPart, PartName, ProjectPart};
use crate::commands::Workspace;
use crate::commands::backfill::{check_settings_of_job, configured_events};
use crate::commands::compact::settings_of;
use crate::commands::lookup::unconfigured;
use crate::commands::sources::check_source;
use crate::domain::layout::Layout;
use crate::error::Result;
use crate::model::TableName;
use crate::storage::lake::LakeRoot;

/// Checks the settings of a part, and opens nothing.
pub(super) fn check_settings(workspace: &Workspace<'_>, (part, name): &PartName) -> CheckedPart {
    let config = &workspace.config;
    let shown = match part {
        ProjectPart::Lake => workspace.lake_in_words().unwrap_or_default(),
        _ => name.clone(),
    };
    let checked = CheckedPart::new(*part, shown);
    let found = match part {
        ProjectPart::Lake => match &config.lake {
            Some(lake) => workspace.configured(lake).map(|_| ()),
            None => Ok(()),
        },
        ProjectPart::Table => name.parse().and_then(|name| of_table(workspace, &name)),
        // Without a path it is what is known of events that the command line names.
        ProjectPart::Events => match config.events.get(name) {
            Some(events) if !events.path.is_empty() => {
                configured_events(workspace, name).map(|_| ())
            }
            _ => Ok(()),
        },
        ProjectPart::Job => match config.jobs.get(name) {
            Some(job) => check_settings_of_job(workspace, job),
            None => Ok(()),
        },
    };
    checked.with_problems(found.err())
}

fn of_table(workspace: &Workspace<'_>, name: &TableName) -> Result<()> {
    let config = workspace.table_config(name);
    config.layout.as_deref().map(Layout::parse).transpose()?;
    if config.snapshots.is_some() {
        workspace.configured_table(name)?;
    } else {
        check_source(workspace, name)?;
    }
    let here = workspace.here(".")?;
    let table = unconfigured(name.clone(), config.key, here, LakeRoot::layout()?);
    settings_of(workspace, &table, None).map(|_| ())
}
