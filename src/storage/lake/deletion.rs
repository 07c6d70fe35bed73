//! Deleting a snapshot for good, since another object gives it back.
//!
//! That object, the *witness*, must still be the one that was found to do so. Whoever replaces it
//! meanwhile keeps the snapshot from being deleted.
//!
//! **On a local disk** the lock of the witness's folder is held from the look at it to the
//! deletion, so nobody publishes another witness in between ([`super::commit`]). The lock of the
//! snapshot's folder is held, too, as by a replacement.
//!
//! **In an object store** no client can delete an object on the condition that it is still the one
//! that was found. So it is replaced first, on that condition, by a marker ([`PRUNED`]), and the
//! marker is deleted, as by [`super::aside`].

use std::io::Write as _;

use super::aside::{PRUNED, marker_of};
use super::commit::{FolderLock, Published, Staged, sync_folder, write_error};
use crate::error::Result;
use crate::interrupt::uninterrupted;
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::lake::standing::Standing;

/// How a deletion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The object is gone.
    Done,
    /// Another object has the name now, or none; nothing was deleted.
    Replaced,
    /// The witness is another one now; nothing was deleted.
    WitnessReplaced,
}

/// Deletes an object if it is still the one that was found, and if the witness still stands as it
/// was found.
///
/// # Errors
/// A failure of the disk or the store. The object is then there, or in a store a marker in its
/// place, or neither.
pub fn delete_with_witness(
    object: &Object,
    witness: &Location,
    found: &Standing,
) -> Result<Deletion> {
    uninterrupted(|| {
        let _held = match witness.place() {
            Place::Local(path) => Some(FolderLock::take(path)?),
            Place::Remote(..) => None,
        };
        if !witness.standing()?.has_content_of(found) {
            return Ok(Deletion::WitnessReplaced);
        }
        match object.location.place() {
            Place::Local(path) => {
                let lock = match FolderLock::take(path) {
                    // The folder is gone, and so is the object.
                    Err(_) if !object.location.is_taken()? => return Ok(Deletion::Replaced),
                    lock => lock?,
                };
                if !object.is_untouched()? {
                    return Ok(Deletion::Replaced);
                }
                object.location.remove()?;
                sync_folder(path)?;
                drop(lock);
            }
            Place::Remote(store, key) => {
                let facts = store.head(key)?;
                // Azure lists ETags without the quotes that it answers them with.
                let found = object.etag.trim_matches('"');
                let is_found = |etag: &str| etag.trim_matches('"') == found;
                let facts = facts.filter(|facts| facts.etag.as_deref().is_some_and(is_found));
                let Some(facts) = facts else {
                    return Ok(Deletion::Replaced);
                };
                let marker = Staged::create(&object.location)?;
                let written = marker.writer()?.write_all(PRUNED);
                written.map_err(|error| write_error(error, &object.location))?;
                let put = marker.publish_in_place_of(&Standing::Version(facts))?;
                if put == Published::Exists {
                    return Ok(Deletion::Replaced);
                }
                object.location.remove()?;
            }
        }
        Ok(Deletion::Done)
    })
}

/// Whether a process is deleting the snapshot of this name in an object store, or was killed while
/// it did.
///
/// # Errors
/// A failure of the store.
pub fn is_being_pruned(snapshot: &Location) -> Result<bool> {
    Ok(marker_of(snapshot)? == Some(PRUNED))
}
