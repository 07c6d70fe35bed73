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

use crate::error::{Context, Error, Result};
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::listing::Pages;
use crate::storage::object_store::service::{ObjectFacts, Service};

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

/// Does something on the threads of object stores, which begin when they are first needed, and
/// waits for it.
///
/// # Errors
/// What it fails with, or a failure to begin.
pub(super) fn wait<T: Send + 'static>(
    threads: &OnceLock<Runtime>,
    url: &str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let runtime = match threads.get() {
        Some(runtime) => runtime,
        None => {
            let new = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("asof-store")
                .enable_all()
                .build();
            let new = new.io_context(|| "no thread for object stores can be started".into())?;
            threads.get_or_init(|| new)
        }
    };
    // Not `block_on`: whoever waits may be inside a runtime of DataFusion's.
    let (answer, answered) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        let _ = answer.send(work.await);
    });
    answered
        .recv()
        .map_err(|_| Error::internal(format!("a request to '{url}' was aborted")))?
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Store {
    /// The URL of the bucket up to the path, as the user wrote the URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether this is the same bucket or container as another one.
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
        wait(&self.runtime, &self.url, work)
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
                .map_err(|error| failure(&what, error))
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
                Err(error) => Err(failure(&what, error)),
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
                .map_err(|error| failure(&what, error))
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
                Err(error) => Err(failure(&what, error)),
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
