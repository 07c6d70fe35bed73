//! Opening a file of SQLite to read it, without leaving anything behind.
//!
//! Readers of a database in WAL mode agree with its writers through two files beside it, `-wal` and
//! `-shm`. If no program has the database open, there are none: SQLite would make them for a
//! reader, too, and leave them behind. Such a file is opened as one to which nobody writes. If
//! somebody did while it was read, what was read does not count.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};
use url::Url;

use crate::error::{Context, Error, Result};

/// How long another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a file begins with. Two bytes follow after it, and then two that are 2 in WAL mode.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A database that is open for reading.
pub(super) struct OpenedFile {
    pub(super) connection: Connection,
    /// The file as it was, if nobody is to write to it.
    unwritten: Option<(PathBuf, FileStamp)>,
}

/// What tells whether a file was written to.
#[derive(PartialEq, Eq)]
struct FileStamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        FileStamp {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

impl OpenedFile {
    /// Opens a file that exists.
    ///
    /// # Errors
    /// A failure to open it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let doing = || format!("cannot open '{}'", path.display());
        // SQLite itself only says that it is unable to open the file. It follows links, too.
        let path = &fs::canonicalize(path).io_context(doing)?;
        let state = FileStamp::of(&fs::metadata(path).io_context(doing)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let quiet = match is_in_wal_mode(path) && !beside(path, "-wal").exists() {
            true => Url::from_file_path(path).ok(),
            false => None,
        };
        let opened = match quiet {
            Some(mut url) => {
                url.set_query(Some("immutable=1"));
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                let connection = Connection::open_with_flags(url.as_str(), flags);
                connection.map(|connection| (connection, Some((path.clone(), state))))
            }
            None => Connection::open_with_flags(path, flags).map(|connection| (connection, None)),
        };
        let (connection, unwritten) = opened.io_context(doing)?;
        connection
            .busy_timeout(PATIENCE)
            .internal_context(|| "SQLite takes no time to wait".into())?;
        Ok(OpenedFile {
            connection,
            unwritten,
        })
    }

    /// Refuses what was read if another program wrote to the file meanwhile.
    ///
    /// # Errors
    /// A failure that a second run does not have.
    pub(super) fn check_unwritten(&self) -> Result<()> {
        let Some((path, before)) = &self.unwritten else {
            return Ok(());
        };
        let now = fs::metadata(path).map(|metadata| FileStamp::of(&metadata));
        match now.is_ok_and(|now| now == *before) {
            true => Ok(()),
            false => Err(
                Error::io("another program wrote to the database while it was read")
                    .hint("run the same command again"),
            ),
        }
    }
}

/// Whether a file is a database in WAL mode.
fn is_in_wal_mode(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.starts_with(MAGIC) && header[18..].contains(&2)
}

/// The name of a file with something after it.
fn beside(path: &Path, after: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(after);
    PathBuf::from(name)
}
