//! External commands: a job that is a program. It is given its relations as Parquet files, and what
//! it leaves is the date's output.
//!
//! For each date a private folder is made in TMPDIR, which only the user can read. Each relation is
//! a Parquet file in it, with the rows and types that a query would see. An object that is such a
//! file already, as a snapshot of the lake or events of one Parquet file are, is not copied: the
//! file is a link to it. So no reader takes a partition of the object's own path for a column.
//! After the program has ended it is made sure that the object is still the one that the output's
//! footer records. The declared input files are compared with their recorded hashes before the
//! program starts, and must not have been touched when it has ended.
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
use tempfile::TempDir;

use super::input_files::{InputFile, identities_of, refuse_touched};
use super::{Execution, Executor};
use crate::commands::Progress;
use crate::commands::backfill::bound::{BoundJob, BoundRelation, RelationRows};
use crate::commands::backfill::output::DateOutput;
use crate::commands::backfill::relations::{JobRelation, Reads};
use crate::engine::command::{Failed, Program};
use crate::error::{Context, Error, Result, shorten};
use crate::interrupt::{Temporary, temporary};
use crate::source::{self, Format, FormatRule, TypeRules, files_of};
use crate::storage::Batches;
use crate::storage::lake::location::{Location, Object};
use crate::storage::parquet::writer::ObjectWriter;

/// A program with what its results depend on.
pub(in crate::commands::backfill) struct CommandWork {
    pub(in crate::commands::backfill) program: Program,
    /// The declared files, in the order of the definition.
    pub(in crate::commands::backfill) inputs: Vec<InputFile>,
    pub(in crate::commands::backfill) definition: CommandDefinition,
}

/// What makes a program this one: of two that differ in it, the outputs may differ.
#[derive(Serialize)]
pub(in crate::commands::backfill) struct CommandDefinition {
    pub(in crate::commands::backfill) command: Vec<String>,
    /// The declared files, each with the hash of its content.
    pub(in crate::commands::backfill) inputs: Vec<(String, String)>,
    pub(in crate::commands::backfill) relations: Vec<String>,
}

/// The variable of the environment that tells the path of a relation, as the relation is spelled.
pub(in crate::commands::backfill) fn variable(relation: &JobRelation) -> String {
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

/// Runs a program, and takes what it leaves for the output.
pub(super) struct ExternalCommand<'a> {
    work: &'a CommandWork,
    progress: &'a dyn Progress,
}

impl<'a> ExternalCommand<'a> {
    pub(super) fn new(work: &'a CommandWork, progress: &'a dyn Progress) -> Self {
        ExternalCommand { work, progress }
    }

    /// The failure of the program; tells what it printed, if that is more than the one line of the
    /// error.
    fn tell(&self, bound: &BoundJob<'_>, failed: Failed) -> Error {
        let Failed {
            error,
            timed_out,
            printed,
        } = failed;
        if printed.len() > 1 {
            let lines: Vec<String> = printed
                .iter()
                .map(|line| format!("  {}", shorten(line)))
                .collect();
            self.progress.note(&format!(
                "job {}, {}: the command printed:\n{}",
                bound.job.name,
                bound.date,
                lines.join("\n")
            ));
        }
        match timed_out {
            true => error.hint("timeout = \"1h\" in asof.toml gives it an hour"),
            false => error,
        }
    }
}

impl Executor for ExternalCommand<'_> {
    /// Checks nothing: what a program makes of its relations is its own affair.
    fn check(&self, _: &BoundJob<'_>, _: &mut Execution) -> Result<()> {
        Ok(())
    }

    fn execute(
        &self,
        bound: &BoundJob<'_>,
        output: &mut DateOutput<'_>,
        told: &mut Execution,
    ) -> Result<()> {
        let folder = JobFolder::create(bound)?;
        let mut variables: Vec<(String, OsString)> = vec![
            ("ASOF_DATE".into(), bound.date.to_string().into()),
            ("ASOF_OUTPUT".into(), folder.result.clone().into()),
        ];
        let mut linked: Vec<Object> = Vec::new();
        for relation in &bound.relations {
            let path = folder
                .path
                .join(format!("{}.parquet", relation.relation.name));
            linked.extend(materialize(relation, &path, told)?);
            let name = variable(relation.relation);
            variables.push((name.to_ascii_uppercase(), path.clone().into()));
            variables.push((name, path.into()));
        }
        let before = identities_of(&self.work.inputs)?;
        self.work
            .program
            .run(&variables)
            .map_err(|failed| self.tell(bound, failed))?;
        refuse_touched(&self.work.inputs, &before)?;
        linked.iter().try_for_each(still_there)?;
        let file = one_file(&folder.left, &self.work.program)?;
        take(file, &folder, output)
    }
}

/// The private folder of a program on one date; dropping it removes it.
struct JobFolder {
    _private: Temporary<TempDir>,
    path: PathBuf,
    /// The folder in which the program leaves its result.
    left: PathBuf,
    /// The file that the program is told to write.
    result: PathBuf,
}

impl JobFolder {
    fn create(bound: &BoundJob<'_>) -> Result<Self> {
        let private = temporary(|| {
            tempfile::Builder::new()
                .prefix("asof-job-")
                .permissions(std::fs::Permissions::from_mode(0o700))
                .tempdir()
        });
        let private = private.io_context(|| "cannot make a temporary folder".into())?;
        // The program runs in another folder, and TMPDIR may be relative.
        let path = std::path::absolute(private.path())
            .io_context(|| "cannot find the temporary folder".into())?;
        let left = path.join("output");
        std::fs::create_dir(&left).io_context(|| format!("cannot make '{}'", left.display()))?;
        Ok(JobFolder {
            result: left.join(format!("{}.parquet", bound.job.name)),
            _private: private,
            path,
            left,
        })
    }
}

/// Writes the rows of a file that a program left to the output.
fn take(file: Object, folder: &JobFolder, output: &mut DateOutput<'_>) -> Result<()> {
    // The folder has another name on every run.
    let left = format!("{}/", folder.left.display());
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

/// Puts a relation's rows at a path: as a link, if an object is just these rows, and otherwise as a
/// file. Returns the object of a link.
fn materialize(
    relation: &BoundRelation<'_>,
    path: &Path,
    told: &mut Execution,
) -> Result<Option<Object>> {
    let (schema, batches): (_, Batches) = match &relation.rows {
        RelationRows::Events(events) => {
            let rows = events.open(None, None)?;
            let types = &events.source.types;
            let is_plain = rows.format == Format::Parquet
                && types.declared.is_empty()
                && !source::has_path_columns(events.files(), &rows.schema, types)?;
            if let ([object], true) = (events.files(), is_plain)
                && link(object, path)?
            {
                return Ok(Some(object.clone()));
            }
            (rows.schema, rows.batches)
        }
        RelationRows::Table(table) => {
            let rows = table.open()?;
            told.note(table.name, table.served_by(&rows));
            if let Some(object) = rows.plain_object()?
                && link(&object, path)?
            {
                return Ok(Some(object));
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
        File::create_new(path).io_context(|| format!("cannot write '{}'", path.display()))?;
    let mut writer = ObjectWriter::create(file, &schema, &[], &Location::local(path))?;
    for batch in batches {
        writer.write(batch?)?;
    }
    writer.finish_plain()?;
    Ok(None)
}

/// Links to an object on this machine; `false` if it is elsewhere.
fn link(object: &Object, path: &Path) -> Result<bool> {
    let Some(local) = object.location.as_local() else {
        return Ok(false);
    };
    let doing = || format!("cannot link to '{}'", local.display());
    std::os::unix::fs::symlink(std::path::absolute(local).io_context(doing)?, path)
        .io_context(doing)?;
    Ok(true)
}

/// The one file that a program left.
fn one_file(folder: &Path, program: &Program) -> Result<Object> {
    let expected =
        || "the command writes its result to the path in ASOF_OUTPUT, as one file".to_owned();
    let mut files = match is_empty(folder)? {
        true => Vec::new(),
        false => files_of(&Location::local(folder)).unwrap_or_default(),
    };
    match (files.pop(), files.pop()) {
        (Some(file), None) => Ok(file),
        (None, _) => Err(Error::refused(format!(
            "the command '{}' succeeded but wrote nothing",
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

fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries =
        std::fs::read_dir(folder).io_context(|| format!("cannot list '{}'", folder.display()))?;
    Ok(entries.next().is_none())
}

/// Refuses an object that was replaced while the program read it, even if it stands there again by
/// now.
fn still_there(object: &Object) -> Result<()> {
    if object.is_untouched()? {
        return Ok(());
    }
    Err(Error::io(format!(
        "'{}' was replaced while the command ran",
        object.location
    ))
    .hint("run it again"))
}
