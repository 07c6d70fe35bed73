//! What tells a file on a local disk from another one that takes its name.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

/// Which file this is, and its state when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    /// The number of the file on its disk.
    pub inode: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// When the file was last written: seconds since 1970, and nanoseconds.
    pub modified: (i64, i64),
    /// When the file was last written, renamed, linked or given other rights: seconds since 1970,
    /// and nanoseconds.
    pub changed: (i64, i64),
}

impl FileIdentity {
    /// Of the file that has been looked at.
    pub fn of(metadata: &Metadata) -> Self {
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Of an open file, whatever has its name by now.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn of_open(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| FileIdentity::of(&metadata))
    }

    /// Whether this is the same file with the same content. That it was renamed, linked or given
    /// other rights meanwhile makes no difference to whoever reads it.
    pub fn has_content_of(&self, other: &FileIdentity) -> bool {
        let changed = other.changed;
        *other == FileIdentity { changed, ..*self }
    }
}
