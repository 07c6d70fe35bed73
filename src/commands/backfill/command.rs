//! A job that is a program: it is given its relations as Parquet files, and what it leaves is the
//! date's output.
//!
//! For each date a private folder is made in TMPDIR, which only the user can read. Each relation is
//! a Parquet file in it, with the rows and types that a query would see. An object that is such a
//! file already, as a snapshot of the lake or events of one Parquet file are, is not copied: the
//! file is a link to it. So no reader takes a partition of the object's own path for a column.
//! After the program has ended it is made sure that the object is still the one that the output's
//! footer records.
//!
//! The program may leave one data file in the folder of `ASOF_OUTPUT`, in any format that sources
//! have. It is read as a source is, checked against the job's other outputs, and published like the
//! result of a query. If the program fails, or leaves nothing or more than one file, nothing is
//! published.
//!
//! Memory: a batch of one relation, and the program's own.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::date::{DateRun, Output};
use super::job::{JobRelation, Reads};
use crate::engine::command::{Failed, Program};
use crate::error::{Context, Error, Result, shorten};
use crate::source::{self, Format, FormatRule, TypeRules, files_of};
use crate::storage::Batches;
use crate::storage::lake::location::{Location, Object};
use crate::storage::parquet::writer::ObjectWriter;

/// A program with what its results depend on.
pub(super) struct CommandWork {
    pub(super) program: Program,
    pub(super) definition: Definition,
}

/// What makes a program this one: of two that differ in it, the outputs may differ.
#[derive(Serialize)]
pub(super) struct Definition {
    pub(super) command: Vec<String>,
    /// The declared files, each with the hash of its content.
    pub(super) inputs: Vec<(String, String)>,
    pub(super) relations: Vec<String>,
}

/// The variable of the environment that tells the path of a relation, as the relation is spelled.
pub(super) fn variable(relation: &JobRelation) -> String {
    let kind = if matches!(relation.reads, Reads::Events(_)) {
        "EVENTS"
    } else {
        "TABLE"
    };
    let name: String = relation
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("ASOF_{kind}_{name}")
}

impl DateRun<'_> {
    /// Writes what the program leaves for the date.
    pub(super) fn write_command(
        &mut self,
        work: &CommandWork,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let private = tempfile::Builder::new()
            .prefix("asof-job-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir();
        let private = private.io_context(|| "cannot make a temporary folder".into())?;
        // The program runs in another folder, and TMPDIR may be relative.
        let folder = std::path::absolute(private.path())
            .io_context(|| "cannot find the temporary folder".into())?;
        let left = folder.join("output");
        std::fs::create_dir(&left).io_context(|| format!("cannot make '{}'", left.display()))?;
        let result = left.join(format!("{}.parquet", self.job.name));
        let mut variables: Vec<(String, OsString)> = vec![
            ("ASOF_DATE".into(), self.date.to_string().into()),
            ("ASOF_OUTPUT".into(), result.into()),
        ];
        let mut given: Vec<Object> = Vec::new();
        for relation in &self.job.relations {
            let path = self.materialized(relation, &folder, &mut given)?;
            let name = variable(relation);
            variables.push((name.to_ascii_uppercase(), path.clone().into()));
            variables.push((name, path.into()));
        }
        work.program
            .run(&variables, &folder)
            .map_err(|failed| self.told(failed))?;
        given.iter().try_for_each(still_there)?;
        let file = self.one_file(&left, &work.program)?;
        // The folder has another name on every run.
        let left = format!("{}/", left.display());
        let told = |error: Error| {
            error
                .reworded(|text| text.replace(&left, ""))
                .within("what the command left")
        };
        let rule = FormatRule {
            declared: None,
            option: "write Parquet to $ASOF_OUTPUT".to_owned(),
        };
        let objects = [file];
        let rows = rule
            .of(&objects)
            .and_then(|format| source::read(&objects, format, &TypeRules::default(), None))
            .map_err(told)?;
        output.begin(&rows.schema)?;
        rows.batches
            .into_iter()
            .try_for_each(|batch| output.write(batch.map_err(told)?))
    }

    /// Tells what a failed program printed, if that is more than the one line of the error.
    fn told(&self, failed: Failed) -> Error {
        let Failed { error, printed } = failed;
        if printed.len() > 1 {
            let lines: Vec<String> = printed
                .iter()
                .map(|line| format!("  {}", shorten(line)))
                .collect();
            self.workspace.progress.note(&format!(
                "job {}, {}: the command printed:\n{}",
                self.job.name,
                self.date,
                lines.join("\n")
            ));
        }
        error
    }

    /// The path of a relation's rows on the date: a link to an object that is such a file, or a
    /// file that is written.
    fn materialized(
        &mut self,
        relation: &JobRelation,
        folder: &Path,
        given: &mut Vec<Object>,
    ) -> Result<PathBuf> {
        let job = self.job;
        let path = folder.join(format!("{}.parquet", relation.name));
        let link = |object: &Path| {
            let doing = || format!("cannot link to '{}'", object.display());
            std::os::unix::fs::symlink(std::path::absolute(object).io_context(doing)?, &path)
                .io_context(doing)
        };
        let (schema, batches): (_, Batches) = match &relation.reads {
            Reads::Events(name) => {
                let events = job.events.iter().find(|events| events.name == *name);
                let events = events
                    .ok_or_else(|| Error::internal(format!("the events {name} are not known")))?;
                let rows = self.events_of(events, None, None)?;
                let is_plain = rows.format == Format::Parquet
                    && events.types.declared.is_empty()
                    && !source::has_path_columns(&rows.objects, &rows.schema, &events.types)?;
                if let ([object], true) = (rows.objects.as_slice(), is_plain)
                    && let Some(local) = object.location.as_local()
                {
                    link(local)?;
                    given.push(object.clone());
                    return Ok(path);
                }
                (rows.schema, rows.batches)
            }
            Reads::Table(table, view) => {
                let (rows, ..) = self.table_rows(relation, table, *view)?;
                if let Some(object) = rows.plain_object()?
                    && let Some(local) = object.location.as_local()
                {
                    link(local)?;
                    given.push(object);
                    return Ok(path);
                }
                let schema = rows.schema().clone();
                let columns: Vec<String> = schema
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect();
                (schema, rows.read(&columns)?)
            }
        };
        let file =
            File::create_new(&path).io_context(|| format!("cannot write '{}'", path.display()))?;
        let mut writer = ObjectWriter::create(file, &schema, &[], &Location::local(&path))?;
        for batch in batches {
            writer.write(batch?)?;
        }
        writer.finish_plain()?;
        Ok(path)
    }

    /// The one file that a program left.
    fn one_file(&self, folder: &Path, program: &Program) -> Result<Object> {
        let expected =
            || "the command writes its result to the path in ASOF_OUTPUT, as one file".to_owned();
        let mut files = match is_empty(folder)? {
            true => Vec::new(),
            false => files_of(&Location::local(folder)).unwrap_or_default(),
        };
        match (files.pop(), files.pop()) {
            (Some(file), None) => Ok(file),
            (None, _) => Err(Error::refused(format!(
                "the command '{}' ended well and wrote nothing",
                program.shown()
            ))
            .hint(expected())),
            (Some(last), Some(other)) => {
                let both = format!("'{}' and '{}'", other.location.name(), last.location.name());
                let more = if files.is_empty() {
                    String::new()
                } else {
                    format!(" and {} more", files.len())
                };
                Err(Error::refused(format!(
                    "the command '{}' left more than one file: {both}{more}",
                    program.shown()
                ))
                .hint(expected()))
            }
        }
    }
}

fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries =
        std::fs::read_dir(folder).io_context(|| format!("cannot list '{}'", folder.display()))?;
    Ok(entries.next().is_none())
}

/// Refuses an object that was replaced while the program read it.
fn still_there(object: &Object) -> Result<()> {
    let now = files_of(&object.location)
        .ok()
        .and_then(|mut files| files.pop());
    let is_same = now.is_some_and(|now| {
        (now.identity().size, now.identity().etag)
            == (object.identity().size, object.identity().etag)
    });
    if is_same {
        Ok(())
    } else {
        Err(Error::io(format!(
            "'{}' was replaced while the command ran",
            object.location
        ))
        .hint("run it again"))
    }
}
