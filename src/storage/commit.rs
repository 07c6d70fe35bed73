//! Staging and publishing on a local disk.
//!
//! A file is written under a hidden temporary name in the folder where it will stand, synced, and then
//! published by one atomic step: a rename that fails if the name is taken (create-if-absent), or a rename
//! that replaces. So a process killed at any instant leaves the old object or the new one, whole; what it
//! leaves behind begins with `.asof-`, which no reader takes for data, and [`sweep`] removes it later.
//!
//! Replacements compare and swap: they hold a lock file of the folder, check that the object
//! is still the one they read, and only then rename. Locks are released by the system when a process dies.
//!
//! Folders that staging made are removed again if nothing was published into them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::{Context, Error, Result};

/// How leftovers of killed processes begin.
const PREFIX: &str = ".asof-";
/// How long a leftover is left alone: its writer may still be at work.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A file on its way to its place; dropping it leaves no trace.
pub struct Staged {
    file: Option<NamedTempFile>,
    target: PathBuf,
    made: Vec<PathBuf>,
}

/// How a publication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The object stands under its name.
    Done,
    /// Another object has the name already; nothing was changed.
    Exists,
}

impl Staged {
    /// Begins a file that will stand at `target`, making the folders that lack.
    ///
    /// # Errors
    /// A failure that names the folder.
    pub fn create(target: &Path) -> Result<Self> {
        let folder = target.parent().unwrap_or(Path::new("."));
        let made = make_folders(folder)?;
        let mut staged = Staged { file: None, target: target.to_owned(), made };
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(".tmp").permissions(permissions()).tempfile_in(folder);
        staged.file = Some(file.map_err(|error| write_error(&error, folder))?);
        Ok(staged)
    }

    /// The file to write into.
    ///
    /// # Errors
    /// A failure if its handle cannot be shared.
    pub fn writer(&self) -> Result<File> {
        let file = self.file.as_ref().ok_or_else(|| Error::io("the staged file is gone"))?;
        file.as_file().try_clone().io_context(|| format!("cannot write '{}'", self.target.display()))
    }

    fn synced(&mut self) -> Result<NamedTempFile> {
        let file = self.file.take().ok_or_else(|| Error::io("the staged file is gone"))?;
        file.as_file().sync_all().map_err(|error| write_error(&error, &self.target))?;
        Ok(file)
    }

    /// Publishes the file if its name is free.
    ///
    /// # Errors
    /// A failure of the disk; the name is then free or holds the whole file.
    pub fn publish_new(mut self) -> Result<Published> {
        match self.synced()?.persist_noclobber(&self.target) {
            Ok(_) => self.settle(),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(error) => Err(write_error(&error.error, &self.target)),
        }
    }

    /// Publishes the file in the place of whatever has its name. Only for objects that one command owns.
    ///
    /// # Errors
    /// A failure of the disk; the name then holds the old object or the new one.
    pub fn publish_over(mut self) -> Result<Published> {
        match self.synced()?.persist(&self.target) {
            Ok(_) => self.settle(),
            Err(error) => Err(write_error(&error.error, &self.target)),
        }
    }

    /// Publishes the file in the place of the object that `unchanged` accepts, having moved a copy of
    /// that object to `aside`. Other replacements of this folder wait meanwhile.
    ///
    /// # Errors
    /// A conflict if `unchanged` says that the object is no longer the one that was read.
    pub fn publish_replacing(self, aside: &Path, unchanged: impl FnOnce() -> Result<bool>) -> Result<Published> {
        let _lock = FolderLock::take(&self.target)?;
        if !unchanged()? {
            return Err(Error::conflict(format!("another writer replaced '{}' first", self.target.display())));
        }
        set_aside(&self.target, aside)?;
        self.publish_over()
    }

    /// The file has its name: keep its folders, and have the disk know of it.
    fn settle(mut self) -> Result<Published> {
        let made = std::mem::take(&mut self.made);
        sync_folder(&self.target)?;
        for folder in made {
            sync_folder(&folder)?;
        }
        Ok(Published::Done)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        drop(self.file.take());
        for folder in self.made.iter().rev() {
            // Fails, as it should, if another writer has put something there.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Gives an object a second name, or, where the disk has no links or the name is taken, copies it to it. A copy is
/// never written into what stands there: that may be the object itself, linked by a run that was killed.
fn set_aside(object: &Path, aside: &Path) -> Result<()> {
    if let Some(folder) = aside.parent() {
        make_folders(folder)?;
    }
    if fs::hard_link(object, aside).is_ok() {
        return sync_folder(aside);
    }
    let doing = || format!("cannot read '{}'", object.display());
    let staged = Staged::create(aside)?;
    let mut from = File::open(object).io_context(doing)?;
    io::copy(&mut from, &mut staged.writer()?).map_err(|error| write_error(&error, aside))?;
    staged.publish_over().map(|_| ())
}

/// What umask leaves of the usual permissions; temporary files would otherwise be private.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

/// Makes the folders of a path that lack, and returns them, outermost first.
fn make_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let lacking: Vec<PathBuf> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).map(Path::to_owned).collect();
    fs::create_dir_all(folder).map_err(|error| write_error(&error, folder))?;
    Ok(lacking.into_iter().rev().collect())
}

fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| write_error(&error, folder))
}

/// Publishes a small JSON file that is a hint and never needed: nothing is said of a failure.
pub fn publish_hint(path: &Path, hint: &impl Serialize) {
    if let Ok(bytes) = serde_json::to_vec(hint)
        && let Ok(staged) = Staged::create(path)
        && staged.writer().is_ok_and(|mut file| io::Write::write_all(&mut file, &bytes).is_ok())
    {
        let _ = staged.publish_over();
    }
}

/// An error of writing, with what to do about the usual ones.
pub fn write_error(error: &io::Error, path: &Path) -> Error {
    // An error without a number is one that a library wrapped, with a path of its own.
    let kind = error.kind();
    let error = if error.raw_os_error().is_some() { error.to_string() } else { io::Error::from(kind).to_string() };
    let plain = Error::io(format!("cannot write '{}': {error}", path.display()));
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            plain.hint(format!("make room on the disk of '{}', then run the same command again", path.display()))
        }
        io::ErrorKind::PermissionDenied => {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            plain.hint(format!("ls -ld '{}'", folder.display()))
        }
        _ => plain,
    }
}

/// Held by one process at a time, for one folder.
struct FolderLock {
    _file: File,
}

impl FolderLock {
    fn take(target: &Path) -> Result<Self> {
        let path = target.with_file_name("_asof.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| write_error(&error, &path))?;
        file.lock().io_context(|| format!("cannot lock '{}'", path.display()))?;
        Ok(FolderLock { _file: file })
    }
}

/// Removes from a folder what killed processes left there more than a day before `now`.
pub fn sweep(folder: &Path, now: DateTime<Utc>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let old = entry
            .metadata()
            .ok()
            .and_then(|metadata| metadata.modified().ok())
            .is_some_and(|modified| DateTime::<Utc>::from(modified) + LEFTOVER_AGE < now);
        if old && name.starts_with(PREFIX) && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// [`sweep`]s every folder in `root`: where a killed run of another night left its traces.
pub fn sweep_partitions(root: &Path, now: DateTime<Utc>) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        sweep(&entry.path(), now);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn stage(target: &Path, text: &str) -> Staged {
        let staged = Staged::create(target).expect("staged");
        staged.writer().expect("a writer").write_all(text.as_bytes()).expect("written");
        staged
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_name_is_given_once_and_nothing_is_left() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("a/b/x");
        let (first, second) = (stage(&target, "first"), stage(&target, "second"));
        assert_eq!(first.publish_new().expect("published"), Published::Done);
        assert_eq!(second.publish_new().expect("tried"), Published::Exists);
        assert_eq!(fs::read_to_string(&target).expect("the file"), "first");
        assert_eq!(names(&root.path().join("a/b")), ["x"]);
    }

    #[test]
    fn what_is_not_published_leaves_no_trace() {
        let root = tempfile::tempdir().expect("a folder");
        drop(stage(&root.path().join("a/b/x"), "text"));
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn a_replacement_keeps_the_old_object_aside_and_refuses_a_changed_one() {
        let root = tempfile::tempdir().expect("a folder");
        let (target, aside) = (root.path().join("x"), root.path().join("old/x"));
        stage(&target, "first").publish_new().expect("published");
        stage(&target, "second").publish_replacing(&aside, || Ok(true)).expect("replaced");
        assert_eq!(
            (fs::read_to_string(&target).expect("new"), fs::read_to_string(&aside).expect("old")),
            ("second".into(), "first".into())
        );
        let error = stage(&target, "third").publish_replacing(&root.path().join("old/y"), || Ok(false)).expect_err("changed");
        assert_eq!(error.kind(), crate::error::Kind::Conflict);
        assert_eq!(names(root.path()), ["_asof.lock", "old", "x"]);
    }

    #[test]
    fn leftovers_are_swept_after_a_day_and_not_before() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join(".asof-1.tmp"), "x").expect("a leftover");
        fs::write(root.path().join(".other"), "x").expect("a stranger");
        let written: DateTime<Utc> =
            fs::metadata(root.path().join(".asof-1.tmp")).and_then(|metadata| metadata.modified()).expect("a time").into();
        sweep(root.path(), written + Duration::from_secs(3600));
        assert_eq!(names(root.path()).len(), 2);
        sweep(root.path(), written + Duration::from_secs(25 * 3600));
        assert_eq!(names(root.path()), [".other"]);
    }
}
