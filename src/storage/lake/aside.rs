//! Snapshots that are dropped, and copies that come back: a date loses its snapshot, and no byte is
//! lost. A snapshot that is replaced is set aside by [`super::commit`], below `superseded/`
//! ([`super::paths`]).
//!
//! The copy has its new name before the old one goes. So a process that is killed at any instant
//! leaves the snapshot in one of the two places, or in both, and the same command finishes the
//! work.
//!
//! **On a local disk** the lock of the folder is held from the check that the snapshot is the one
//! that was read to its removal, as by a replacement ([`super::commit`]).
//!
//! **In an object store** no client can delete an object on the condition that it is still the one
//! that was read. So it is replaced first, on that condition, by a marker ([`MARKER`]), and the
//! marker is deleted. Whoever would replace the snapshot meanwhile has lost, or finds the marker
//! and reports a conflict ([`is_being_dropped`]).

use std::fs::{self, File};
use std::io::{self, Write as _};

use chrono::{DateTime, NaiveDate, Utc};

use super::LakeRoot;
use super::commit::{FolderLock, Published, Staged, make_folders, set_aside, sync_folder};
use crate::domain::digest::Fingerprint;
use crate::error::{Context, Error, Kind, Result};
use crate::interrupt::uninterrupted;
use crate::model::DateRange;
use crate::storage::lake::commit::write_error;
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::lake::partitions::find_if_there;
use crate::storage::lake::paths::read_aside;
use crate::storage::lake::read::ObjectReader;

/// What has the name of a snapshot in an object store after it was put aside and until the name is
/// free.
pub const MARKER: &[u8] = b"asof: this snapshot is being dropped; run the same 'asof drop' again\n";

/// The same after the snapshot was given up, since the intervals give it back
/// ([`super::deletion`]).
pub const PRUNED: &[u8] = b"asof: this snapshot is being pruned; run the same 'asof prune' again\n";

/// A snapshot that was put aside.
#[derive(Clone, Debug)]
pub struct AsideCopy {
    /// Its date.
    pub date: NaiveDate,
    /// When it was put aside.
    pub when: DateTime<Utc>,
    /// Its content; 0 if it was damaged then.
    pub fingerprint: Fingerprint,
    /// The object.
    pub object: Object,
}

impl AsideCopy {
    /// The name of its object without the ending, which no other copy of the date has.
    pub fn name(&self) -> String {
        let name = self.object.location.name();
        name.strip_suffix(".parquet").unwrap_or(&name).to_owned()
    }

    /// Whether it is the copy with this content, or may be it.
    pub fn may_be(&self, is_content: impl Fn(Fingerprint) -> bool) -> bool {
        self.fingerprint == Fingerprint(0) || is_content(self.fingerprint)
    }
}

/// The snapshots that were put aside below a root, of all dates or of a range, by date and time.
///
/// # Errors
/// A failure to list them.
pub fn aside_below(root: &Location, range: Option<DateRange>) -> Result<Vec<AsideCopy>> {
    let found = find_if_there(root, &LakeRoot::layout()?, range)?;
    let mut copies: Vec<AsideCopy> = found
        .partitions
        .into_iter()
        .flat_map(|(date, objects)| objects.into_iter().map(move |object| (date, object)))
        .filter_map(|(date, object)| {
            let (when, fingerprint) = read_aside(&object.location.name())?;
            Some(AsideCopy {
                date,
                when,
                fingerprint,
                // The folder of the date is not a column of the rows.
                object: Object {
                    below: String::new(),
                    ..object
                },
            })
        })
        .collect();
    copies.sort_by_key(|copy| (copy.date, copy.when));
    Ok(copies)
}

/// Puts a snapshot aside: `aside` becomes the name of the object, and `snapshot` is free. `is_read`
/// tells whether what has the name is the snapshot that was read.
///
/// # Errors
/// A conflict if it is another one, or if another writer replaces it meanwhile; a failure of the
/// disk or the store. The object is then in one of the two places, or in both.
pub fn put_aside(
    snapshot: &Location,
    aside: &Location,
    is_read: impl Fn(&Location) -> Result<bool>,
) -> Result<()> {
    uninterrupted(|| match (snapshot.place(), aside.place()) {
        (Place::Local(path), Place::Local(aside)) => {
            // Whoever dropped it first may have removed its folder, too.
            let lock = FolderLock::take(path);
            let _lock = lock.map_err(|error| overtaken(snapshot, error))?;
            if !is_read(snapshot)? {
                return Err(Error::conflict(format!(
                    "another writer replaced or removed '{snapshot}' first"
                )));
            }
            set_aside(path, aside)?;
            snapshot.remove()?;
            sync_folder(path)
        }
        _ => {
            if !is_being_dropped(snapshot)? {
                let marker = Staged::create(snapshot)?;
                let written = marker.writer()?.write_all(MARKER);
                written.map_err(|error| write_error(error, snapshot))?;
                marker.publish_replacing(aside, is_read)?;
            }
            snapshot.remove()
        }
    })
}

/// Whether a process is putting the snapshot of this name aside in an object store, or deleting it
/// ([`super::deletion`]), or was killed while it did.
///
/// # Errors
/// A failure of the store.
pub fn is_being_dropped(snapshot: &Location) -> Result<bool> {
    Ok(marker_of(snapshot)?.is_some())
}

/// The marker that has the name of a snapshot in an object store, if one has.
pub(super) fn marker_of(snapshot: &Location) -> Result<Option<&'static [u8]>> {
    let Place::Remote(store, key) = snapshot.place() else {
        return Ok(None);
    };
    let Some(facts) = store.head(key)? else {
        return Ok(None);
    };
    let may_be = |marker: &&[u8]| facts.size == marker.len() as u64;
    if ![MARKER, PRUNED].iter().any(may_be) {
        return Ok(None);
    }
    let stands = snapshot.read_small()?;
    let is_marker = |marker: &&'static [u8]| stands.as_deref() == Some(*marker);
    Ok([MARKER, PRUNED].into_iter().find(is_marker))
}

/// A failure to read a snapshot, or the conflict that it comes from: somebody dropped the snapshot
/// meanwhile.
pub fn overtaken(snapshot: &Location, error: Error) -> Error {
    match snapshot.is_taken() {
        Ok(false) if error.kind() == Kind::Io => {
            Error::conflict(format!("another process dropped '{snapshot}' first"))
                .hint("run the same command again")
        }
        _ => error,
    }
}

/// Publishes a copy that was put aside as the snapshot of a name that is free. The copy stays where
/// it is.
///
/// # Errors
/// A failure of the disk or the store; the name is then free or holds the whole object.
pub fn publish_copy(copy: &Location, snapshot: &Location) -> Result<Published> {
    if let (Some(from), Some(to)) = (copy.as_local(), snapshot.as_local()) {
        let linked = uninterrupted(|| {
            if let Some(folder) = to.parent() {
                make_folders(folder)?;
            }
            match fs::hard_link(from, to) {
                Ok(()) => sync_folder(to).map(|()| Some(Published::Done)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Ok(Some(Published::Exists))
                }
                // Some disks have no links.
                Err(_) => Ok::<_, Error>(None),
            }
        })?;
        if let Some(published) = linked {
            return Ok(published);
        }
    }
    let staged = Staged::create(snapshot)?;
    copy_bytes(copy, staged.writer()?)?;
    staged.publish_new()
}

/// Moves a copy that was put aside to another place for such copies.
///
/// # Errors
/// A failure of the disk or the store; the copy is then in one of the two places, or in both.
pub fn move_copy(copy: &Location, to: &Location) -> Result<()> {
    match (copy.place(), to.place()) {
        (Place::Local(from), Place::Local(to)) => set_aside(from, to)?,
        (Place::Remote(store, from), Place::Remote(_, to)) => {
            store.copy_new(from, to)?;
        }
        _ => {
            let what = format!("'{copy}' and '{to}' are not in one store");
            return Err(Error::internal(what));
        }
    }
    copy.remove()
}

fn copy_bytes(from: &Location, mut to: File) -> Result<()> {
    let mut bytes = ObjectReader::open(from)?.stream()?;
    io::copy(&mut bytes, &mut to).io_context(|| format!("cannot copy '{from}'"))?;
    Ok(())
}
