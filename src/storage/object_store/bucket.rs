//! One bucket or container of an object store, and how it is reached.
//!
//! The rest of asof is not async: [`Store::wait`] runs a request on the stores' own threads, and is
//! the one bridge.
//!
//! Every store is reached in two ways. Reads, listings and writes that may be repeated go through a
//! client that tries again by itself, up to a limit. A conditional write goes through one that
//! tries once: after a lost reply it must be found out whose object stands there before anything is
//! tried again ([`super::upload`]).
//!
//! A secret is never shown: what is told of a store is its URL as the user wrote it.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use object_store::multipart::MultipartStore;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::storage::object_store::listing::Pages;
use crate::storage::object_store::provider::{ObjectFacts, Service};

/// One bucket or container.
pub struct Store {
    pub(crate) url: String,
    /// What is the same for every way to write its URL.
    pub(crate) identity: String,
    pub(crate) service: Service,
    /// How often a conditional write is tried again after it was found not to have happened.
    pub(crate) retries: usize,
    /// When trying again ends.
    pub(crate) retry_timeout: Duration,
    /// Tries again by itself.
    pub(crate) reads: Arc<dyn ObjectStore>,
    /// Tries once.
    pub(crate) once: Arc<dyn ObjectStore>,
    pub(crate) parts: Arc<dyn MultipartStore>,
    pub(crate) parts_once: Arc<dyn MultipartStore>,
    pub(crate) pages: Arc<dyn Pages>,
    pub(crate) runtime: Arc<OnceLock<Runtime>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Store {
    /// Its URL up to the path, as the user wrote it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is the same bucket or container as another one.
    pub(crate) fn is(&self, other: &Store) -> bool {
        self.identity == other.identity
    }

    /// Does something on the stores' threads, and waits for it.
    ///
    /// # Errors
    /// What it fails with, or a failure to begin.
    pub fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let threads = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_name("asof-store")
                    .enable_all()
                    .build();
                let runtime = threads.map_err(|error| {
                    Error::io(format!(
                        "no thread for object stores can be started: {error}"
                    ))
                })?;
                self.runtime.get_or_init(|| runtime)
            }
        };
        // Not `block_on`: whoever waits may be inside a runtime of DataFusion's.
        let (answer, answered) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = answer.send(work.await);
        });
        answered
            .recv()
            .map_err(|_| Error::io(format!("a request to '{}' was aborted", self.url)))?
    }

    /// What is known of an object; `None` if there is none.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn head(&self, key: &str) -> Result<Option<ObjectFacts>> {
        let reads = self.reads.clone();
        let path = self.path(key)?;
        let what = format!("cannot look at '{}'", self.name(key));
        self.wait(async move {
            facts(reads.as_ref(), &path)
                .await
                .map_err(|error| failure(&what, &error))
        })
    }

    /// A small object, whole; `None` if there is none.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let reads = self.reads.clone();
        let path = self.path(key)?;
        let what = format!("cannot read '{}'", self.name(key));
        self.wait(async move {
            let read = async { reads.get(&path).await?.bytes().await };
            match read.await {
                Ok(bytes) => Ok(Some(bytes.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(failure(&what, &error)),
            }
        })
    }

    /// Writes a small object in the place of whatever has its name.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let reads = self.reads.clone();
        let path = self.path(key)?;
        let what = format!("cannot write '{}'", self.name(key));
        self.wait(async move {
            reads
                .put(&path, bytes.into())
                .await
                .map(|_| ())
                .map_err(|error| failure(&what, &error))
        })
    }

    /// Removes an object, if there is one.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn delete(&self, key: &str) -> Result<()> {
        let reads = self.reads.clone();
        let path = self.path(key)?;
        let what = format!("cannot remove '{}'", self.name(key));
        self.wait(async move {
            match reads.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failure(&what, &error)),
            }
        })
    }

    /// An object's URL, as messages show it.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// A key as the store's client wants it.
    ///
    /// # Errors
    /// A usage error for a key that no store takes.
    pub(crate) fn path(&self, key: &str) -> Result<StorePath> {
        StorePath::parse(key).map_err(|error| {
            Error::usage(format!(
                "'{}' cannot be the name of an object: {error}",
                self.name(key)
            ))
        })
    }
}

/// A number that no other process has.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What is known of an object; `None` if there is none.
pub(crate) async fn facts(
    store: &dyn ObjectStore,
    path: &StorePath,
) -> object_store::Result<Option<ObjectFacts>> {
    match store.head(path).await {
        Ok(meta) => Ok(Some(ObjectFacts {
            size: meta.size,
            etag: meta.e_tag,
            version: meta.version,
        })),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A failure of a store as one of ours: what the scheduler should do, and what was said at the
/// bottom of it.
pub(crate) fn failure(doing: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    let why = cause(error);
    // A listing that is refused is of no kind: its words tell.
    let says = |codes: &[&str]| codes.iter().any(|code| why.starts_with(code));
    if says(&["NoSuchBucket", "ContainerNotFound"]) {
        return Error::usage(format!("{doing}: {why}"))
            .hint("create the bucket or container first; asof creates none");
    }
    if says(&[
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AuthenticationFailed",
        "AuthorizationFailure",
        "AuthorizationPermissionMismatch",
    ]) {
        return Error::usage(format!("{doing}: {why}")).hint(
            "check the credentials in the environment or in [stores] of asof.toml; see \
             docs/stores.md",
        );
    }
    if says(&[
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
    ]) || why.contains("redirect without LOCATION")
    {
        return Error::usage(format!("{doing}: {why}")).hint(
            "AWS_REGION=REGION, or region = \"REGION\" in [stores], where REGION is the bucket's",
        );
    }
    match error {
        Store::InvalidPath { .. } => {
            let refused = Error::refused(format!("{doing}: {why}"));
            refused.hint(
                "a key with an empty part, or the part '.' or '..', cannot be read: \
                 rename or remove that object",
            )
        }
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            Error::usage(format!("{doing}: {why}")).hint(
                "check the credentials in the environment or in [stores] of asof.toml; see \
                 docs/stores.md",
            )
        }
        Store::NotSupported { .. }
        | Store::NotImplemented { .. }
        | Store::UnknownConfigurationKey { .. } => Error::usage(format!("{doing}: {why}")),
        Store::Precondition { .. } => {
            Error::io(format!("{doing}: it was replaced while being read"))
                .hint("run the same command again")
        }
        _ => {
            let failed = Error::io(format!("{doing}: {why}"));
            if why.contains("/computeMetadata/") {
                return failed.hint(
                    "there are no credentials: set GOOGLE_SERVICE_ACCOUNT or \
                     GOOGLE_SERVICE_ACCOUNT_KEY; see docs/stores.md",
                );
            }
            if why.contains("/metadata/identity/") {
                return failed.hint(
                    "there are no credentials: set AZURE_STORAGE_ACCOUNT_KEY, \
                     AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID and the variables that belong to \
                     it; see docs/stores.md",
                );
            }
            if why.contains("169.254.") {
                return failed.hint(
                    "there are no credentials: set AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket; see \
                     docs/stores.md",
                );
            }
            if [
                "Connection refused",
                "dns error",
                "failed to lookup address",
                "InvalidContentType",
                "deadline has elapsed",
                "timed out",
            ]
            .iter()
            .any(|words| why.contains(words))
            {
                return failed.hint(
                    "check the endpoint, and whether it is http:// or https://: \
                     AWS_ENDPOINT_URL, AZURE_STORAGE_ENDPOINT, or endpoint in [stores]",
                );
            }
            failed
        }
    }
}

/// What is at the bottom of an error, without the layers above: a service's own code and message,
/// or the system's.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let whole = error.to_string();
    let between = |from: &str, to: &str| {
        whole
            .split_once(from)
            .and_then(|(_, rest)| rest.split_once(to))
            .map(|(found, _)| found.trim().to_owned())
    };
    if let Some(code) = between("<Code>", "</Code>") {
        let said = between("<Message>", "</Message>").unwrap_or_default();
        let said = said.lines().next().unwrap_or_default();
        return if said.is_empty() || said == code {
            code
        } else {
            format!("{code}: {said}")
        };
    }
    let mut bottom: &dyn std::error::Error = error;
    while let Some(deeper) = bottom.source() {
        bottom = deeper;
    }
    let bottom = bottom.to_string();
    let address = between("Error performing ", " in ").map(|request| {
        request
            .split(' ')
            .next_back()
            .unwrap_or_default()
            .to_owned()
    });
    let bottom = bottom
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches([':', ' '])
        .to_owned();
    match address.filter(|address| !bottom.contains(address.as_str())) {
        Some(address) => format!(
            "{bottom} ({})",
            address.split('?').next().unwrap_or_default()
        ),
        None => bottom,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_the_service_said() {
        let said = "Server returned non-2xx status code: 403 Forbidden: \
         <?xml?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
        let error = object_store::Error::Generic {
            store: "S3",
            source: said.into(),
        };
        let error = failure("cannot list 's3://shop'", &error);
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (
                crate::error::Kind::Usage,
                "cannot list 's3://shop': AccessDenied: No."
            )
        );
    }
}
