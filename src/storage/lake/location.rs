//! Locations: what users write for a lake, an external table, a source, events or an output,
//! wherever a path goes.
//!
//! | written | is |
//! | --- | --- |
//! | `lake`, `/data/lake`, `file:///data/lake` | a local disk |
//! | `s3://bucket/lake` | Amazon S3, or with an endpoint any service that speaks its language |
//! | `gs://bucket/lake` | Google Cloud Storage |
//! | `az://container/lake`, `abfss://container@account.dfs.core.windows.net/lake` | Azure Blob Storage |
//!
//! A [`Location`] names an object or a folder, and need not exist. Invariant: the key of a remote
//! one has no empty part, and neither begins nor ends with a `/`; it is what stands in the store,
//! and nothing in it is decoded.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::staleness::EventsInput;
use crate::error::{Context, Error, Result, shorten};
use crate::secret::{has_secret_query, has_user_info};
use crate::storage::lake::file_identity::FileIdentity;
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::registry::Stores;
use crate::storage::object_store::service::Service;

/// The most bytes that the name of a file has on Linux.
const LONGEST_NAME: usize = 255;
/// The most bytes that a path has on Linux.
const LONGEST_PATH: usize = 4095;

/// A place on a local disk or in an object store; see the module for its invariants.
#[derive(Clone)]
pub struct Location(Place);

#[derive(Clone)]
pub(crate) enum Place {
    Local(PathBuf),
    Remote(Arc<Store>, String),
}

impl Location {
    /// Reads what a user wrote; a relative path is taken from `base`.
    ///
    /// # Errors
    /// A usage error for a URL of a scheme that is not served, or of a store that is not
    /// configured.
    pub fn parse(text: &str, base: &Path, stores: &Stores) -> Result<Self> {
        match text.split_once("://") {
            None => parse_path(text, base),
            Some(("file", rest)) if rest.starts_with('/') => Ok(Location::local(rest)),
            Some(("file", rest)) => {
                let error = Error::usage(format!("'{text}' is not an absolute file URL"));
                // What is before a '@' may be a secret.
                let path = rest.rsplit('@').next().unwrap_or_default();
                Err(error.hint(format!("file:///{path}")))
            }
            Some((scheme, rest)) => {
                let service = Service::of(scheme).ok_or_else(|| unsupported(scheme, rest))?;
                check_secrets(text, scheme, rest)?;
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(Error::usage(format!("'{text}' names no bucket"))
                        .hint(format!("{scheme}://bucket/path")));
                }
                let key = key.trim_end_matches('/');
                check_key(text, key)?;
                let store = stores.open(service, &format!("{scheme}://{bucket}"))?;
                Ok(Location::remote(store, key))
            }
        }
    }

    /// A place on this machine.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Location(Place::Local(path.into()))
    }

    /// A place in a store.
    pub fn remote(store: Arc<Store>, key: impl Into<String>) -> Self {
        Location(Place::Remote(store, key.into()))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }

    /// Whether this place, or what is below it, would be read by whoever reads `source`, which is a
    /// file, a folder or a pattern.
    pub fn is_read_by(&self, source: &Location) -> bool {
        let is_matched = || {
            glob::Pattern::new(&source.resolved().to_string())
                .is_ok_and(|pattern| pattern.matches(&self.resolved().to_string()))
        };
        self.is_within(source) || is_matched()
    }

    /// The path of a place on this machine.
    pub fn as_local(&self) -> Option<&Path> {
        match &self.0 {
            Place::Local(path) => Some(path),
            Place::Remote(..) => None,
        }
    }

    /// The store of a place in a store.
    pub fn store(&self) -> Option<&Arc<Store>> {
        match &self.0 {
            Place::Local(_) => None,
            Place::Remote(store, _) => Some(store),
        }
    }

    /// The place that a relative path, with `/`, leads to from here.
    #[must_use]
    pub fn join(&self, relative: &str) -> Location {
        Location(match &self.0 {
            Place::Local(path) => Place::Local(path.join(relative)),
            Place::Remote(store, key) if key.is_empty() => {
                Place::Remote(store.clone(), relative.to_owned())
            }
            Place::Remote(store, key) => Place::Remote(store.clone(), format!("{key}/{relative}")),
        })
    }

    /// The folder that the place is in; a bucket is in none.
    pub fn parent(&self) -> Option<Location> {
        match &self.0 {
            Place::Local(path) => path.parent().map(Location::local),
            Place::Remote(_, key) if key.is_empty() => None,
            Place::Remote(store, key) => Some(Location::remote(
                store.clone(),
                key.rsplit_once('/').map_or("", |(folder, _)| folder),
            )),
        }
    }

    /// The last part of the place's name.
    pub fn name(&self) -> String {
        match &self.0 {
            Place::Local(path) => path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            Place::Remote(_, key) => key.rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }

    /// The ending of the place's name in lower case, without the dot; empty if there is none.
    pub fn ending(&self) -> String {
        let name = self.name();
        name.rsplit_once('.')
            .filter(|(stem, _)| !stem.is_empty())
            .map(|(_, ending)| ending.to_lowercase())
            .unwrap_or_default()
    }

    /// Another place in the same folder.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Location {
        match (&self.0, self.parent()) {
            (Place::Local(path), _) => Location::local(path.with_file_name(name)),
            (_, Some(folder)) => folder.join(name),
            (_, None) => self.join(name),
        }
    }

    /// The same place, by a path without `.`, `..` and symbolic links, for comparisons.
    #[must_use]
    pub fn resolved(&self) -> Location {
        match &self.0 {
            Place::Local(path) => Location::local(resolved(path)),
            Place::Remote(..) => self.clone(),
        }
    }

    /// Whether this place is `folder`, or lies in that folder, wherever links lead to.
    pub fn is_within(&self, folder: &Location) -> bool {
        match (&self.0, &folder.0) {
            (Place::Local(path), Place::Local(folder)) => {
                resolved(path).starts_with(resolved(folder))
            }
            (Place::Remote(store, key), Place::Remote(other, folder)) => {
                store.is(other)
                    && (folder.is_empty()
                        || key
                            .strip_prefix(folder.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            }
            _ => false,
        }
    }

    /// The path, with `/`, that leads here from a folder, if this place lies in that folder.
    pub fn below(&self, folder: &Location) -> Option<String> {
        match (&self.0, &folder.0) {
            (Place::Local(path), Place::Local(root)) => {
                Some(path.strip_prefix(root).ok()?.to_str()?.to_owned())
            }
            (Place::Remote(_, key), Place::Remote(_, root)) if self.is_within(folder) => {
                Some(key[root.len()..].trim_start_matches('/').to_owned())
            }
            _ => None,
        }
    }

    /// Whether an object has this name; on a local disk also a folder.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn exists(&self) -> Result<bool> {
        match &self.0 {
            Place::Local(path) => Ok(path.exists()),
            Place::Remote(_, key) if key.is_empty() => Ok(false),
            Place::Remote(store, key) => Ok(store.head(key)?.is_some()),
        }
    }

    /// Whether something has this name, be it a link that leads nowhere.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn is_taken(&self) -> Result<bool> {
        match &self.0 {
            Place::Local(path) => Ok(path.symlink_metadata().is_ok()),
            Place::Remote(..) => self.exists(),
        }
    }

    /// A small object, whole; `None` if there is none.
    ///
    /// # Errors
    /// A failure to read it.
    pub fn read_small(&self) -> Result<Option<Vec<u8>>> {
        match &self.0 {
            Place::Local(path) => match fs::read(path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).io_context(|| format!("cannot read '{self}'")),
            },
            Place::Remote(store, key) => store.get(key),
        }
    }

    /// Removes an object, if there is one.
    ///
    /// # Errors
    /// A failure of the disk or the store.
    pub fn remove(&self) -> Result<()> {
        match &self.0 {
            Place::Local(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).io_context(|| format!("cannot remove '{self}'"))
                }
                _ => Ok(()),
            },
            Place::Remote(store, key) => store.delete(key),
        }
    }

    /// Removes the folders that lead from `root` to here and are empty, on a local disk. Nothing is
    /// said of a failure.
    pub fn remove_empty_folders(&self, root: &Location) {
        let (Some(path), Some(root)) = (self.as_local(), root.as_local()) else {
            return;
        };
        let folders = path
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(root) && *folder != root);
        for folder in folders {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// One file or object that was found: a partition has any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The location of the object.
    pub location: Location,
    /// The path of the object below the root, with `/`.
    pub relative: String,
    /// The path of the object below the root of a layout, or below a source, whose folders may
    /// hold columns; empty for an object that is in neither.
    pub below: String,
    /// The size of the object in bytes.
    pub size: u64,
    /// What changes when the object is rewritten: the ETag in a store, the modification time on a
    /// local disk.
    pub etag: String,
    /// Which file it is, on a local disk.
    pub file: Option<FileIdentity>,
}

impl Object {
    /// The identity of the object, as footers record identities.
    pub fn identity(&self) -> EventsInput {
        EventsInput {
            path: self.relative.clone(),
            size: self.size,
            etag: self.etag.clone(),
        }
    }

    /// Whether what has the object's name on a local disk is the file that was found, and nothing
    /// was done to the file since.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn is_untouched(&self) -> Result<bool> {
        let (Some(path), Some(found)) = (self.location.as_local(), &self.file) else {
            return Ok(true);
        };
        match fs::metadata(path) {
            Ok(metadata) => Ok(FileIdentity::of(&metadata) == *found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).io_context(|| format!("cannot read '{}'", self.location)),
        }
    }
}

/// Reads a path on this machine.
fn parse_path(text: &str, base: &Path) -> Result<Location> {
    if text.is_empty() {
        return Err(Error::usage("a path is empty"));
    }
    match text.split_once(':') {
        Some((scheme, rest)) if Service::of(scheme).is_some() => {
            let url = format!("{scheme}://{}", rest.trim_start_matches('/'));
            check_secrets(&url, scheme, rest.trim_start_matches('/'))?;
            let error = Error::usage(format!("'{text}' is neither a path nor a URL"));
            Err(error.hint(url))
        }
        _ => {
            let path = base.join(text);
            check_lengths(&path)?;
            Ok(Location::local(path))
        }
    }
}

/// Refuses names that no disk takes.
fn check_lengths(path: &Path) -> Result<()> {
    let is_long = |name: &OsStr| name.len() > LONGEST_NAME;
    let long = path.iter().find(|name| is_long(name));
    let long = long.or(Some(path.as_os_str()).filter(|path| path.len() > LONGEST_PATH));
    match long {
        None => Ok(()),
        Some(long) => Err(Error::usage(format!(
            "'{}' is too long a name: it has {} bytes",
            shorten(&long.to_string_lossy()),
            long.len()
        ))
        .hint(format!(
            "a name has at most {LONGEST_NAME} bytes, and a path at most {LONGEST_PATH}"
        ))),
    }
}

fn unsupported(scheme: &str, rest: &str) -> Error {
    // What is behind a '?' or before a '@' may be a secret.
    let shown = rest.split('?').next().unwrap_or_default();
    let shown = shown.rsplit('@').next().unwrap_or_default();
    let error = Error::usage(format!(
        "'{scheme}://{shown}': unsupported URL scheme {scheme}://"
    ));
    match scheme {
        "gcs" => error.hint(format!("gs://{shown}")),
        "http" | "https" => error.hint(
            "s3://bucket/path with AWS_ENDPOINT_URL=http://host:port, or az://container/path",
        ),
        _ => error.hint("give a path, or a URL of file://, s3://, gs:// or az://"),
    }
}

/// Refuses URLs that hold credentials: whatever names a place is printed and recorded.
fn check_secrets(text: &str, scheme: &str, rest: &str) -> Result<()> {
    let holds = if has_user_info(scheme, rest) {
        "user info"
    } else if has_secret_query(rest) {
        "a signature or a key"
    } else {
        return Ok(());
    };
    Err(
        Error::usage(format!("'{text}' holds {holds}, which a URL must not")).hint(
            "give credentials by the environment or by [stores] of asof.toml; see docs/stores.md",
        ),
    )
}

/// Refuses keys that are not paths.
fn check_key(text: &str, key: &str) -> Result<()> {
    if !key.is_empty() && key.split('/').any(str::is_empty) {
        return Err(Error::usage(format!("'{text}' has an empty part"))
            .hint("write one '/' between two names"));
    }
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err(Error::usage(format!(
            "'{text}' has a part '.' or '..', which is a name like any other in a store"
        ))
        .hint("write the path in full"));
    }
    Ok(())
}

/// A path without `.`, `..` and symbolic links. What does not exist yet is taken as it is written.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        match part {
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            part => {
                resolved.push(part);
                resolved = resolved.canonicalize().unwrap_or(resolved);
            }
        }
    }
    resolved
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Local(path) => write!(f, "{}", path.display()),
            Place::Remote(store, key) if key.is_empty() => f.write_str(store.url()),
            Place::Remote(store, key) => f.write_str(&store.name(key)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Local(one), Place::Local(other)) => one == other,
            (Place::Remote(store, key), Place::Remote(other, other_key)) => {
                store.is(other) && key == other_key
            }
            _ => false,
        }
    }
}

impl Eq for Location {}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores() -> Stores {
        Stores::new(
            vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), "x".into()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), "y".into()),
            ],
            Default::default(),
        )
        .expect("stores")
    }

    fn parse(text: &str) -> Result<Location> {
        Location::parse(text, Path::new("/base"), &stores())
    }

    #[test]
    fn paths_and_file_urls_are_local() {
        for (text, path) in [
            ("lake", "/base/lake"),
            ("/lake", "/lake"),
            ("file:///lake", "/lake"),
        ] {
            assert_eq!(
                parse(text).expect("a path").as_local(),
                Some(Path::new(path))
            );
        }
    }

    #[test]
    fn a_url_of_a_store_is_a_bucket_and_a_key_as_it_stands() {
        let lake = parse("s3://shop/lake/a%20b/").expect("a URL");
        assert_eq!(
            (lake.to_string().as_str(), lake.name().as_str()),
            ("s3://shop/lake/a%20b", "a%20b")
        );
        assert_eq!(lake.join("item/x.parquet").ending(), "parquet");
        assert_eq!(
            lake.parent()
                .and_then(|folder| folder.parent())
                .map(|bucket| bucket.to_string())
                .as_deref(),
            Some("s3://shop")
        );
        assert!(
            lake.join("item").is_within(&lake)
                && !parse("s3://shop/lake/a%20bc")
                    .expect("a URL")
                    .is_within(&lake)
        );
        assert_eq!(lake.sibling("x").to_string(), "s3://shop/lake/x");
    }

    #[test]
    fn a_link_leads_into_the_folder_that_it_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| Location::local(folder.path().join(path));
        std::fs::create_dir_all(folder.path().join("lake/item")).expect("made");
        for (name, to) in [("link", "lake"), ("deep", "lake/item")] {
            std::os::unix::fs::symlink(to, folder.path().join(name)).expect("linked");
        }
        for within in [
            "link",
            "link/new/x",
            "deep/x",
            "deep/..",
            "deep/../x",
            "lake/../link/x",
        ] {
            assert!(at(within).is_within(&at("lake")), "{within}");
            assert!(at(within).is_read_by(&at("link")), "{within}");
        }
        assert!(at("deep/x.csv").is_read_by(&at("lake/item/*.csv")));
        for outside in ["lakes", "other/link", "link/../x", "x/../other"] {
            assert!(!at(outside).is_within(&at("lake")), "{outside}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_told() {
        for wrong in [
            "s3://AKID:hunter2@b/x",
            "s3://AKID:hun/ter2@b/x",
            "s3:/AKID:hunter2@b/x",
            "s3://hunter2@b/x",
            "gs://u:hunter2@b",
            "abfss://u:hunter2@c@a.dfs.core.windows.net/x",
            "az://c/x?sv=2&sig=hunter2",
            "file://u:hunter2@host/x",
            "ftp://u:hunter2@host/x",
        ] {
            let error = parse(wrong).expect_err(wrong);
            let said = format!("{error} {:?}", error.hints());
            assert!(
                error.kind() == crate::error::Kind::Usage && !said.contains("ter2"),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let long_path = "b/".repeat(2048);
        for wrong in [
            "a".repeat(256).as_str(),
            long_path.as_str(),
            "ftp://bucket/lake",
            "http://host/lake",
            "file://lake",
            "s3://",
            "s3:///lake",
            "s3://shop//lake",
            "s3://shop/a/../b",
            "s3:/shop/lake",
            "",
        ] {
            assert_eq!(
                parse(wrong).expect_err(wrong).kind(),
                crate::error::Kind::Usage,
                "{wrong}"
            );
        }
    }
}
