//! The output of a date as it stands: one object of asof's own, or a folder of another engine's
//! files with `_asof.json` beside them.
//!
//! | in the date's folder | the date's output is |
//! | --- | --- |
//! | the object of the job | that object |
//! | files of an engine, and an `_asof.json` that names these and no others | that folder |
//! | files of an engine, and no such `_asof.json` | missing: the run that wrote them did not end |
//! | both an object and files of an engine | missing: one was about to replace the other |
//!
//! Files of an engine are told from files of others by their names: `<job>-<run>-...`, where a run
//! is 16 hexadecimal digits.

use arrow::datatypes::SchemaRef;

use super::states::recorded_in;
use crate::error::Result;
use crate::storage::lake::location::{Location, Object};
use crate::storage::parquet::folder_record::{FolderRecord, RECORD};
use crate::storage::parquet::footer::{OutputFooter, read_schema};
#[cfg(feature = "spark")]
use crate::storage::parquet::object::ParquetObject;

/// How many digits tell a run of an engine from others.
const RUN_DIGITS: usize = 16;

/// The output of a date.
#[derive(Clone, Debug)]
pub(in crate::commands) enum JobOutput {
    /// An object that says in its footer what it is.
    Object(Object),
    /// Files of another engine.
    Folder(Box<OutputFolder>),
}

/// Files of another engine, with what stands beside them.
#[derive(Clone, Debug)]
pub(in crate::commands) struct OutputFolder {
    /// Where they are.
    pub(in crate::commands) folder: Location,
    /// What is said of them.
    pub(in crate::commands) record: FolderRecord,
    /// The files.
    pub(in crate::commands) files: Vec<Object>,
}

/// What an output records of itself.
pub(in crate::commands) struct OutputRecord {
    /// What it says of itself.
    pub(in crate::commands) footer: OutputFooter,
    /// Its columns.
    pub(in crate::commands) schema: SchemaRef,
}

impl JobOutput {
    /// The output among the files of a date, if asof or an engine wrote it to its end. `path` is
    /// the object that asof would write.
    ///
    /// # Errors
    /// A failure to read what a folder says of itself, and a refusal if that is damaged.
    pub(in crate::commands) fn among(path: &Location, files: &[Object]) -> Result<Option<Self>> {
        let is_of_engine = |file: &Object| is_of_engine(path, &file.location);
        match files.iter().find(|file| file.location == *path) {
            Some(_) if files.iter().any(is_of_engine) => return Ok(None),
            Some(own) => return Ok(Some(JobOutput::Object(own.clone()))),
            None if !files.iter().any(is_of_engine) => return Ok(None),
            None => {}
        }
        let folder = OutputFolder::of(files)?;
        Ok(folder.map(|folder| JobOutput::Folder(Box::new(folder))))
    }

    /// What the output says of itself.
    ///
    /// # Errors
    /// A refusal of an object that asof did not write; a failure to read it.
    pub(in crate::commands) fn record(&self) -> Result<OutputRecord> {
        match self {
            JobOutput::Object(object) => recorded_in(object),
            JobOutput::Folder(folder) => Ok(OutputRecord {
                footer: folder.record.output.clone(),
                schema: read_schema(&folder.record.columns)?,
            }),
        }
    }

    /// The object with its footer, or the `_asof.json` beside its files.
    pub(in crate::commands) fn place(&self) -> Location {
        match self {
            JobOutput::Object(object) => object.location.clone(),
            JobOutput::Folder(folder) => folder.folder.join(RECORD),
        }
    }

    /// The files that have its rows.
    pub(in crate::commands) fn files(&self) -> &[Object] {
        match self {
            JobOutput::Object(object) => std::slice::from_ref(object),
            JobOutput::Folder(folder) => &folder.files,
        }
    }

    /// Removes it. What says what it is goes last, or first if that is the object itself.
    ///
    /// # Errors
    /// A failure of the disk or the store.
    pub(super) fn remove(&self) -> Result<()> {
        match self {
            JobOutput::Object(object) => object.location.remove(),
            JobOutput::Folder(folder) => remove_files(&folder.folder, &folder.files),
        }
    }
}

impl OutputFolder {
    /// The files of one folder, if an engine wrote these and no others to their end.
    ///
    /// # Errors
    /// A failure to read what the folder says of itself, and a refusal if that is damaged.
    pub(in crate::commands) fn of(files: &[Object]) -> Result<Option<Self>> {
        let Some(folder) = files.first().and_then(|file| file.location.parent()) else {
            return Ok(None);
        };
        let record = FolderRecord::read(&folder)?.filter(|record| record.is_of(files));
        Ok(record.map(|record| OutputFolder {
            folder,
            record,
            files: files.to_vec(),
        }))
    }
}

/// Whether a file has the name that an engine gives to files of the output whose object would be
/// `path`.
pub(super) fn is_of_engine(path: &Location, file: &Location) -> bool {
    let name = path.name();
    let job = name.strip_suffix(".parquet").unwrap_or(&name);
    let name = file.name();
    let run = name
        .strip_prefix(job)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once('-'));
    let is_run = |run: &str| run.len() == RUN_DIGITS && run.bytes().all(|c| c.is_ascii_hexdigit());
    run.is_some_and(|(run, _)| is_run(run)) && path.parent() == file.parent()
}

/// What the names of files begin with that an engine writes in a run.
#[cfg(feature = "spark")]
pub(super) fn engine_prefix(path: &Location, run: u64) -> String {
    let name = path.name();
    let job = name.strip_suffix(".parquet").unwrap_or(&name);
    format!("{job}-{run:0width$x}", width = RUN_DIGITS)
}

/// Removes files of an engine, with the checksums that Hadoop keeps beside them on a disk, and
/// what the folder says of itself.
///
/// # Errors
/// A failure of the disk or the store.
pub(super) fn remove_files(folder: &Location, files: &[Object]) -> Result<()> {
    files.iter().try_for_each(remove_file)?;
    folder.join(RECORD).remove()
}

/// Removes a file of an engine, with the checksum that Hadoop keeps beside it on a disk.
///
/// # Errors
/// A failure of the disk or the store.
pub(super) fn remove_file(file: &Object) -> Result<()> {
    file.location.remove()?;
    match file.location.as_local() {
        Some(_) => {
            let name = format!(".{}.crc", file.location.name());
            file.location.sibling(&name).remove()
        }
        None => Ok(()),
    }
}

/// Opens the files of an output, each with the rows that it must have.
///
/// # Errors
/// A failure to open one.
#[cfg(feature = "spark")]
pub(super) fn open_all(files: &[Object]) -> Result<Vec<ParquetObject>> {
    use crate::parallel::{self, object_threads};

    let remote = files
        .first()
        .is_some_and(|file| file.location.store().is_some());
    parallel::map(object_threads(remote), files, ParquetObject::open_listed)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::staleness::Inputs;
    use crate::model::parse_date;
    use crate::storage::lake::local_files::local_objects_below;
    use crate::storage::parquet::folder_record::RecordedFile;
    use crate::storage::parquet::footer::VERSION;

    const PART: &str = "daily-00c0ffee00c0ffee-00000.parquet";

    /// A record of files, each with its size.
    fn record(files: &[(&str, u64)]) -> FolderRecord {
        let files = files.iter().map(|(name, size)| RecordedFile {
            name: (*name).to_owned(),
            size: *size,
            rows: 1,
        });
        let inputs = Inputs {
            job: "1".into(),
            tables: BTreeMap::new(),
            events: BTreeMap::new(),
            history: BTreeMap::new(),
            known_at: None,
        };
        FolderRecord {
            format_version: VERSION,
            engine: "spark 4.3.0".into(),
            output: OutputFooter {
                job_name: "daily".into(),
                date: parse_date("2024-03-01").expect("a date"),
                rows: 1,
                inputs,
                made_by: None,
                asof_version: "0.1.0".into(),
            },
            columns: Vec::new(),
            files: files.collect(),
        }
    }

    #[test]
    fn a_folder_is_an_output_if_it_has_the_files_that_it_names_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let own = Location::local(folder.path().join("daily.parquet"));
        let place = Location::local(folder.path());
        let among = || {
            let files = local_objects_below(folder.path()).expect("files");
            JobOutput::among(&own, &files)
        };
        let is_folder = |output: &Option<JobOutput>| matches!(output, Some(JobOutput::Folder(_)));
        write(PART, "x");
        assert!(among().expect("listed").is_none(), "no _asof.json");
        record(&[(PART, 1)]).publish(&place).expect("published");
        let output = among().expect("read");
        assert!(is_folder(&output), "{output:?}");
        let output = output.expect("a folder");
        assert_eq!(output.record().expect("a record").footer.job_name, "daily");
        assert_eq!(output.place(), place.join(RECORD));
        write(PART, "xy");
        assert!(among().expect("read").is_none(), "another size");
        write(PART, "x");
        write(&PART.replace("00000", "00001"), "x");
        assert!(among().expect("read").is_none(), "another file");
        std::fs::remove_file(folder.path().join(PART.replace("00000", "00001"))).expect("removed");
        write("daily.parquet", "x");
        assert!(among().expect("read").is_none(), "both kinds of outputs");
        std::fs::remove_file(folder.path().join("daily.parquet")).expect("removed");
        assert!(is_folder(&among().expect("read")));
        write("._asof.json", "");
        let text = std::fs::read_to_string(folder.path().join(RECORD)).expect("text");
        write(RECORD, &text.replace("4.3.0", "4.3.1"));
        assert!(among().expect_err("damaged").is_damage());
        let later = FolderRecord {
            format_version: VERSION + 1,
            ..record(&[(PART, 1)])
        };
        later.publish(&place).expect("published");
        assert!(
            among()
                .expect_err("a later version")
                .to_string()
                .contains("format version")
        );
        output.remove().expect("removed");
        assert!(
            local_objects_below(folder.path())
                .expect("files")
                .is_empty()
        );
        assert!(!place.join(RECORD).exists().expect("looked for"));
    }

    #[test]
    fn files_of_an_engine_are_told_by_their_names() {
        let path = Location::local("/out/date=2024-03-01/daily.parquet");
        let is = |name: &str| is_of_engine(&path, &path.sibling(name));
        assert!(is("daily-00c0ffee00c0ffee-00000-8c6b-c000.zstd.parquet"));
        for other in [
            "daily.parquet",
            "part-00000-8c6b.zstd.parquet",
            "daily-00c0ffee-00000.parquet",
            "daily2-00c0ffee00c0ffee-00000.parquet",
        ] {
            assert!(!is(other), "{other}");
        }
    }
}
