//! What the names on the command line stand for.

use crate::commands::Workspace;
use crate::commands::backfill::AdHocOutput;
use crate::commands::lookup::{intervals_file, inventory, inventory_of_file, is_table};
use crate::engine::as_of::TableInventory;
use crate::error::Result;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::Content;
use crate::storage::parquet::object::ParquetObject;

/// What is to be verified, found.
pub(super) struct Named {
    /// What exists of each table or file of intervals.
    pub(super) inventories: Vec<TableInventory>,
    pub(super) jobs: Vec<String>,
    /// Paths of outputs, as they were written.
    pub(super) outputs: Vec<(String, Location)>,
    /// What the lake remembers of ad-hoc jobs, if nothing is named.
    pub(super) ad_hoc: Vec<AdHocOutput>,
}

impl Named {
    /// What is named, or all tables and jobs if nothing is. A name that a table and a job have
    /// stands for both.
    pub(super) fn of(workspace: &Workspace<'_>, names: &[String]) -> Result<Self> {
        let mut inventories = Vec::new();
        let mut tables = Vec::new();
        let mut jobs = Vec::new();
        let mut outputs = Vec::new();
        let mut ad_hoc = Vec::new();
        for name in names {
            let is_job = workspace.config.jobs.contains_key(name);
            if is_job {
                jobs.push(name.clone());
            }
            match intervals_file(workspace, name)? {
                Some(place) if holds_outputs(&place)? => outputs.push((name.clone(), place)),
                Some(file) => inventories.push(inventory_of_file(&file)?),
                None if is_job && !is_table(workspace, name)? => {}
                None => tables.push(name.clone()),
            }
        }
        if names.is_empty() {
            jobs.extend(workspace.config.jobs.keys().cloned());
            ad_hoc = AdHocOutput::all(workspace)?;
        }
        if names.is_empty() || !tables.is_empty() {
            for name in workspace.tables(&tables)? {
                inventories.push(inventory(workspace, &name)?);
            }
        }
        Ok(Named {
            inventories,
            jobs,
            outputs,
            ad_hoc,
        })
    }
}

/// Whether a path is that of outputs, and not of a file of intervals.
fn holds_outputs(place: &Location) -> Result<bool> {
    if place.is_folder()? {
        return Ok(true);
    }
    let footer = ParquetObject::open(place).and_then(|object| object.footer());
    let content = footer.ok().flatten().map(|footer| footer.content);
    Ok(matches!(
        content,
        Some(Content::Output(_) | Content::Join(_))
    ))
}
