//! Staging and publishing: the old object or the new one, whole.
//!
//! **On a local disk** a file is written under a hidden temporary name in the folder where it will
//! stand, synced, and then published by one atomic step: a rename that fails if the name is taken
//! (create-if-absent), or a rename that replaces. So a process killed at any instant leaves the old
//! object or the new one, whole; what it leaves behind begins with `.asof-`, which no reader takes
//! for data, and [`sweep`] removes it later. Replacements compare and swap: they hold a lock file
//! of the folder, check that the object is still the one they read, and only then rename. Locks are
//! released by the system when a process dies, and their file is removed by whoever has the lock.
//! Folders that staging made are removed again if nothing was published into them.
//!
//! **In an object store** a file is written to the temporary folder of this machine (TMPDIR), and
//! published by one conditional request ([`crate::storage::object_store::upload`]): if nothing has
//! the name, or if what has it is still the version that was read. Whether the store honours
//! conditions is found out first ([`super::conditional_writes`]).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use chrono::{DateTime, Days, NaiveDate, Utc};
use tempfile::NamedTempFile;
use tracing::{debug, info};

use crate::domain::file_names::{STAGED_PREFIX, STAGED_SUFFIX, is_staged};
use crate::error::{Context, Error, Result};
use crate::interrupt::{MadeFolder, Temporary, publication, temporary};
use crate::phases::Phase;
use crate::storage::lake::file_identity::FileIdentity;
use crate::storage::lake::location::{Location, Place};
use crate::storage::lake::paths::{partition, replacement_lock};
use crate::storage::lake::standing::Standing;
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::listing::PageQuery;
use crate::storage::object_store::service::{Service, WriteCondition};
use crate::storage::object_store::upload::UploadOutcome;

/// How long a leftover is left alone: its writer may still be at work.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// For how many days before a date leftovers are looked for.
const SWEPT_DAYS: u64 = 31;

/// A file on its way to its place; dropping it leaves no trace.
pub struct Staged {
    file: Option<StagedFile>,
    target: Location,
    made: Vec<MadeFolder>,
}

/// Where the bytes are meanwhile.
enum StagedFile {
    /// Beside the target, on its disk.
    Beside(Temporary<NamedTempFile>),
    /// In the temporary folder, without a name: the system removes it even if the process is
    /// killed.
    Unnamed(File),
}

impl StagedFile {
    fn as_file(&self) -> &File {
        match self {
            StagedFile::Beside(file) => file.as_file(),
            StagedFile::Unnamed(file) => file,
        }
    }
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
    pub fn create(target: &Location) -> Result<Self> {
        let mut staged = Staged {
            file: None,
            target: target.clone(),
            made: Vec::new(),
        };
        staged.file = Some(match target.as_local() {
            Some(path) => {
                let folder = path.parent().unwrap_or(Path::new("."));
                staged.made = make_folders(folder)?;
                let file = temporary(|| {
                    tempfile::Builder::new()
                        .prefix(STAGED_PREFIX)
                        .suffix(STAGED_SUFFIX)
                        .permissions(permissions())
                        .tempfile_in(folder)
                });
                StagedFile::Beside(
                    file.map_err(|error| write_error(error, &Location::local(folder)))?,
                )
            }
            None => StagedFile::Unnamed(
                tempfile::tempfile().map_err(|error| write_error(error, target))?,
            ),
        });
        Ok(staged)
    }

    /// The file to write into.
    ///
    /// # Errors
    /// A failure if its handle cannot be shared.
    pub fn writer(&self) -> Result<File> {
        let file = self
            .file
            .as_ref()
            .ok_or_else(|| Error::internal("the staged file is gone"))?;
        file.as_file()
            .try_clone()
            .io_context(|| format!("cannot write '{}'", self.target))
    }

    fn whole(&mut self) -> Result<StagedFile> {
        let file = self
            .file
            .take()
            .ok_or_else(|| Error::internal("the staged file is gone"))?;
        if self.target.as_local().is_some() {
            file.as_file()
                .sync_all()
                .map_err(|error| write_error(error, &self.target))?;
        }
        Ok(file)
    }

    /// Publishes the file if its name is free.
    ///
    /// # Errors
    /// A failure of the disk or the store; the name is then free or holds the whole file.
    pub fn publish_new(self) -> Result<Published> {
        publication(|| Phase::Write.spend(|| self.published_new()))
    }

    fn published_new(mut self) -> Result<Published> {
        match (self.whole()?, self.target.place()) {
            (StagedFile::Beside(file), Place::Local(path)) => {
                match file.keep(|file| file.persist_noclobber(path)) {
                    Ok(_) => self.settle(),
                    Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                        Ok(Published::Exists)
                    }
                    Err(error) => Err(write_error(error.error, &self.target)),
                }
            }
            (StagedFile::Unnamed(file), Place::Remote(store, key)) => {
                Ok(match store.publish(key, file, WriteCondition::Absent)? {
                    UploadOutcome::Published => Published::Done,
                    UploadOutcome::Lost => Published::Exists,
                })
            }
            _ => Err(self.misplaced()),
        }
    }

    /// Publishes the file in the place of whatever has its name. Only for objects that one command
    /// owns.
    ///
    /// # Errors
    /// A failure of the disk or the store; the name then holds the old object or the new one.
    pub fn publish_over(self) -> Result<Published> {
        publication(|| Phase::Write.spend(|| self.published_over()))
    }

    fn published_over(mut self) -> Result<Published> {
        let file = self.whole()?;
        self.put_over(file)
    }

    fn put_over(self, file: StagedFile) -> Result<Published> {
        match (file, self.target.place()) {
            (StagedFile::Beside(file), Place::Local(path)) => {
                match file.keep(|file| file.persist(path)) {
                    Ok(_) => self.settle(),
                    Err(error) => Err(write_error(error.error, &self.target)),
                }
            }
            (StagedFile::Unnamed(file), Place::Remote(store, key)) => {
                store.publish_over(key, file).map(|()| Published::Done)
            }
            _ => Err(self.misplaced()),
        }
    }

    /// Publishes the file in the place of what was found under its name, if that still stands
    /// there. For objects that several processes may write at once.
    ///
    /// # Errors
    /// A failure of the disk or the store; the name then holds the old object or the new one.
    pub fn publish_in_place_of(self, found: &Standing) -> Result<Published> {
        self.publish_in_place_of_if(found, &|| Ok(()))
    }

    /// The same, if nothing speaks against it at the last moment. On a local disk nobody who holds
    /// the lock of the folder comes between `check` and the publication.
    ///
    /// # Errors
    /// What `check` fails with; then nothing is published. Otherwise as
    /// [`Staged::publish_in_place_of`].
    pub fn publish_in_place_of_if(
        self,
        found: &Standing,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Published> {
        publication(|| Phase::Write.spend(|| self.published_in_place_of(found, check)))
    }

    fn published_in_place_of(
        mut self,
        found: &Standing,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Published> {
        match (found, self.target.clone().place()) {
            (Standing::Nothing, _) => self.published_new(),
            (Standing::File(found), Place::Local(path)) => {
                // Synced before the lock is taken: others need not wait for the disk.
                let file = self.whole()?;
                let _lock = FolderLock::take(path)?;
                match self.target.standing()? {
                    Standing::File(now) if now.has_content_of(found) => {
                        check()?;
                        self.put_over(file)
                    }
                    _ => Ok(Published::Exists),
                }
            }
            (Standing::Version(found), Place::Remote(store, key)) => {
                let StagedFile::Unnamed(file) = self.whole()? else {
                    return Err(self.misplaced());
                };
                check()?;
                Ok(match store.publish(key, file, found.unchanged())? {
                    UploadOutcome::Published => Published::Done,
                    UploadOutcome::Lost => Published::Exists,
                })
            }
            _ => Err(self.misplaced()),
        }
    }

    /// Publishes the file in the place of an object, having kept a copy of that object at `aside`.
    /// `is_read` tells whether what stands somewhere is the object that was read. Of several
    /// replacements at a time one is published.
    ///
    /// # Errors
    /// A conflict if what stands there is no longer the object that was read, or another writer
    /// replaces it meanwhile.
    pub fn publish_replacing(
        self,
        aside: &Location,
        is_read: impl Fn(&Location) -> Result<bool>,
    ) -> Result<Published> {
        publication(|| self.published_replacing(aside, is_read))
    }

    fn published_replacing(
        mut self,
        aside: &Location,
        is_read: impl Fn(&Location) -> Result<bool>,
    ) -> Result<Published> {
        let lost = Error::conflict(format!("another writer replaced '{}' first", self.target));
        match (self.target.clone().place(), aside.place()) {
            (Place::Local(target), Place::Local(aside)) => {
                let _lock = FolderLock::take(target)?;
                if !is_read(&self.target)? {
                    return Err(lost);
                }
                set_aside(target, aside)?;
                self.publish_over()
            }
            (Place::Remote(store, key), Place::Remote(_, aside_key)) => {
                // The version first: what `is_read` reads afterwards is that version, or the write
                // will fail.
                let Some(facts) = store.head(key)? else {
                    return Err(lost);
                };
                if !is_read(&self.target)? {
                    return Err(lost);
                }
                let copied = match store.copy_new(key, aside_key) {
                    // Somebody dropped it since.
                    Err(_) if store.head(key)?.is_none() => return Err(lost),
                    copied => copied?,
                };
                let StagedFile::Unnamed(file) = self.whole()? else {
                    return Err(self.misplaced());
                };
                match store.publish(key, file, facts.unchanged())? {
                    UploadOutcome::Published => Ok(Published::Done),
                    UploadOutcome::Lost => {
                        // The copy stays if it is of the object that was read: the winner may have
                        // found it there, and rely on it. If it is of the winner's own, nobody
                        // does: who would have to has lost, too.
                        if copied && matches!(is_read(aside), Ok(false)) {
                            let _ = store.delete(aside_key);
                        }
                        Err(lost)
                    }
                }
            }
            _ => Err(Error::internal(format!(
                "'{}' and '{aside}' are not in one store",
                self.target
            ))),
        }
    }

    fn misplaced(&self) -> Error {
        Error::internal(format!(
            "the object for '{}' was staged elsewhere",
            self.target
        ))
    }

    /// The file has its name: keep its folders, and have the disk know of it.
    fn settle(mut self) -> Result<Published> {
        let made = std::mem::take(&mut self.made);
        if let Some(path) = self.target.as_local() {
            sync_folder(path)?;
        }
        for folder in made {
            sync_folder(folder.path())?;
        }
        Ok(Published::Done)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        drop(self.file.take());
        for folder in self.made.iter().rev() {
            // Fails, as it should, if another writer has put something there.
            let _ = fs::remove_dir(folder.path());
        }
    }
}

/// Gives an object a second name, or, where the disk has no links or the name is taken, copies it
/// to it. A copy is never written into what stands there: that may be the object itself, linked by
/// a run that was killed.
pub(super) fn set_aside(object: &Path, aside: &Path) -> Result<()> {
    if let Some(folder) = aside.parent() {
        make_folders(folder)?;
    }
    if fs::hard_link(object, aside).is_ok() {
        return sync_folder(aside);
    }
    let doing = || format!("cannot read '{}'", object.display());
    let target = Location::local(aside);
    let staged = Staged::create(&target)?;
    let mut from = File::open(object).io_context(doing)?;
    io::copy(&mut from, &mut staged.writer()?).map_err(|error| write_error(error, &target))?;
    staged.publish_over().map(|_| ())
}

/// What umask leaves of the usual permissions; temporary files would otherwise be private.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

/// Makes the folders of a path that lack, and returns them, outermost first.
pub(super) fn make_folders(folder: &Path) -> Result<Vec<MadeFolder>> {
    MadeFolder::make_all(folder).map_err(|error| write_error(error, &Location::local(folder)))
}

pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| write_error(error, &Location::local(folder)))
}

/// An error of writing what will stand at `target`, with what to do about the usual ones.
pub fn write_error(error: io::Error, target: &Location) -> Error {
    // An error without a number is one that a library wrapped, with a path of its own.
    let kind = error.kind();
    let why = if error.raw_os_error().is_some() {
        error.to_string()
    } else {
        io::Error::from(kind).to_string()
    };
    let failed = match kind {
        io::ErrorKind::InvalidFilename => Error::usage,
        _ => Error::io,
    };
    let plain = failed(format!("cannot write '{target}': {why}")).caused_by(error);
    let disk = target.as_local().map_or_else(
        || "the temporary folder (TMPDIR)".to_owned(),
        |path| format!("'{}'", path.display()),
    );
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            plain.hint(format!(
                "make room on the disk of {disk}, then run the same command again"
            ))
        }
        io::ErrorKind::PermissionDenied => {
            let folder = match target.as_local() {
                None => "\"$TMPDIR\"".to_owned(),
                Some(path) => format!(
                    "'{}'",
                    if path.is_dir() {
                        path
                    } else {
                        path.parent().unwrap_or(path)
                    }
                    .display()
                ),
            };
            plain.hint(format!("ls -ld {folder}"))
        }
        io::ErrorKind::InvalidFilename => plain.hint("shorten the name"),
        _ => plain,
    }
}

/// Held by one process at a time, for one folder.
pub(super) struct FolderLock {
    path: PathBuf,
    _file: File,
}

impl FolderLock {
    pub(super) fn take(target: &Path) -> Result<Self> {
        let path = replacement_lock(target);
        let doing = || format!("cannot lock '{}'", path.display());
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|error| write_error(error, &Location::local(&path)))?;
            file.lock().io_context(doing)?;
            // Whoever held it meanwhile has removed the file, and another process may have made it
            // anew.
            let locked = FileIdentity::of_open(&file).io_context(doing)?;
            let stands = fs::metadata(&path).map(|metadata| FileIdentity::of(&metadata));
            if stands.is_ok_and(|stands| stands.has_content_of(&locked)) {
                return Ok(FolderLock { path, _file: file });
            }
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Before the lock is released: afterwards it may be another's.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes from a folder what killed processes left there more than a day before `now`. A failure
/// is only logged.
pub fn sweep(folder: &Location, now: DateTime<Utc>) {
    match folder.place() {
        Place::Local(folder) => sweep_local(folder, now),
        Place::Remote(store, key) if store.service == Service::Google => {
            sweep_objects(store, &format!("{key}/{STAGED_PREFIX}"), STAGED_SUFFIX, now);
        }
        // Nothing is staged in other stores.
        Place::Remote(..) => {}
    }
}

/// Removes the objects of a store whose keys begin and end so and that were written more than a day
/// before `now`.
pub(crate) fn sweep_objects(store: &Store, prefix: &str, ending: &str, now: DateTime<Utc>) {
    let query = PageQuery {
        prefix: prefix.to_owned(),
        ..PageQuery::default()
    };
    let pages = store.pages.clone();
    let found =
        store.wait(async move { pages.page(query).await.map_err(|error| failure("", error)) });
    for object in found.map(|page| page.objects).unwrap_or_default() {
        if object.key.ends_with(ending)
            && object
                .modified
                .is_some_and(|modified| modified + LEFTOVER_AGE < now)
        {
            log_removal(&object.key, store.delete(&object.key));
        }
    }
}

fn log_removal<E: fmt::Display>(path: &impl fmt::Display, removed: Result<(), E>) {
    match removed {
        Ok(()) => info!(%path, "removed what an interrupted run left"),
        Err(error) => debug!(%path, %error, "what an interrupted run left is not removed"),
    }
}

fn sweep_local(folder: &Path, now: DateTime<Utc>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if is_staged(&entry.file_name().to_string_lossy()) {
            sweep_file(&entry.path(), now);
        }
    }
}

fn sweep_file(path: &Path, now: DateTime<Utc>) {
    let is_old = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| DateTime::<Utc>::from(modified) + LEFTOVER_AGE < now);
    if is_old {
        log_removal(&path.display(), fs::remove_file(path));
    }
}

/// [`sweep`]s the folder of a date below `root`, and, where looking costs nothing, those of the
/// month before: where a killed run of another night left its traces.
pub fn sweep_dates(root: &Location, date: NaiveDate, now: DateTime<Utc>) {
    sweep(&partition(root, date), now);
    if root.as_local().is_some() {
        let before = (1..=SWEPT_DAYS).filter_map(|days| date.checked_sub_days(Days::new(days)));
        before.for_each(|date| sweep(&partition(root, date), now));
    }
}

/// Removes those files that a search found half written, if they are older than a day.
pub fn sweep_found(leftovers: &[PathBuf], now: DateTime<Utc>) {
    for path in leftovers {
        sweep_file(path, now);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn stage(target: &Path, text: &str) -> Staged {
        let staged = Staged::create(&Location::local(target)).expect("staged");
        staged
            .writer()
            .expect("a writer")
            .write_all(text.as_bytes())
            .expect("written");
        staged
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_name_is_given_once_and_nothing_is_left() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("a/b/x");
        let first = stage(&target, "first");
        let second = stage(&target, "second");
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
        let target = root.path().join("x");
        let aside = root.path().join("old/x");
        stage(&target, "first").publish_new().expect("published");
        stage(&target, "second")
            .publish_replacing(&Location::local(&aside), |_| Ok(true))
            .expect("replaced");
        assert_eq!(
            (
                fs::read_to_string(&target).expect("new"),
                fs::read_to_string(&aside).expect("old")
            ),
            ("second".into(), "first".into())
        );
        let error = stage(&target, "third")
            .publish_replacing(&Location::local(root.path().join("old/y")), |_| Ok(false))
            .expect_err("changed");
        assert_eq!(error.kind(), crate::error::Kind::Conflict);
        assert_eq!(names(root.path()), ["old", "x"], "the lock is gone");
    }

    #[test]
    fn an_object_is_put_in_the_place_of_the_one_that_was_found_and_of_no_other() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("x");
        let place = Location::local(&target);
        let found = || place.standing().expect("looked");
        let publish = |text: &str, found: &Standing| {
            let staged = stage(&target, text);
            staged.publish_in_place_of(found).expect("tried")
        };
        let nothing = found();
        assert_eq!(publish("first", &nothing), Published::Done);
        assert_eq!(publish("late", &nothing), Published::Exists);
        let first = found();
        assert_eq!(publish("second", &first), Published::Done);
        assert_eq!(publish("late", &first), Published::Exists);
        fs::remove_file(&target).expect("removed");
        assert_eq!(publish("late", &first), Published::Exists);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn a_lock_is_held_by_one_at_a_time_and_leaves_no_file() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("x");
        let held = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = FolderLock::take(&target).expect("locked");
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(held.fetch_add(1, SeqCst), 0);
                        held.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn leftovers_are_swept_after_a_day_and_not_before() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join(".asof-1.tmp"), "x").expect("a leftover");
        fs::write(root.path().join(".other"), "x").expect("an unrecognized file");
        let written: DateTime<Utc> = fs::metadata(root.path().join(".asof-1.tmp"))
            .and_then(|metadata| metadata.modified())
            .expect("a time")
            .into();
        sweep(
            &Location::local(root.path()),
            written + Duration::from_secs(3600),
        );
        assert_eq!(names(root.path()).len(), 2);
        sweep(
            &Location::local(root.path()),
            written + Duration::from_secs(25 * 3600),
        );
        assert_eq!(names(root.path()), [".other"]);
    }
}
