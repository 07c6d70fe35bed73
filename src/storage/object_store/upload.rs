//! Publishing a staged file into an object store, by one conditional write.
//!
//! A file of up to [`PART`] bytes is one request; a larger one goes up in parts, a few at a time,
//! and is published by the request that completes it, under the same condition. Memory: four parts,
//! whatever the file's size.
//!
//! | service | a small file | a large one |
//! | --- | --- | --- |
//! | S3 | `PutObject` with `If-None-Match: *` or `If-Match` | `CompleteMultipartUpload` with the same |
//! | Azure | `Put Blob` with the same | `Put Block List` with the same |
//! | Google | `PUT` with `x-goog-if-generation-match` | parts to a hidden name, then a copy within the store under that condition, since Google takes no condition on parts |
//!
//! **Lost replies.** A request that breaks off may have been carried out. So a conditional write is
//! sent once, and when it was not answered, what stands under the name is looked at: nothing new,
//! and it is sent again; our own bytes, and it is done; others', and they were first. Without a
//! lost reply nothing is compared: of two writers of equal bytes one is first.
//!
//! A process that is killed leaves no object that was not whole. Parts of an upload that was never
//! completed are invisible; they cost money until a lifecycle rule of the bucket removes them
//! (docs/stores.md).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::multipart::PartId;
use object_store::path::Path as StorePath;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};
use tracing::debug;

use crate::domain::file_names::{STAGED_PREFIX, STAGED_SUFFIX};
use crate::error::{Context, Error, Result};
use crate::interrupt;
use crate::storage::object_store::bucket::{Store, facts};
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::http::CONDITION;
use crate::storage::object_store::patience::{LONGEST_WRITE_PAUSE, WRITE_PAUSE};
use crate::storage::object_store::service::{ObjectFacts, Service, WriteCondition};

/// The size of a part, and of the largest file that is one request.
pub const PART: u64 = 16 << 20;
/// The most parts that services take, with room.
const PARTS: u64 = 9_000;
/// How many parts are on their way at a time.
const SIDE_BY_SIDE: usize = 4;

/// How a conditional write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// The object stands under its name.
    Published,
    /// The condition did not hold: somebody else's object stands there, or none any more.
    Lost,
}

/// A staged file on its way to a key.
struct Upload {
    store: Arc<Store>,
    key: String,
    path: StorePath,
    file: File,
    size: u64,
    part: u64,
}

impl Store {
    /// Publishes a file under a key, if the condition holds.
    ///
    /// # Errors
    /// A failure of the store; the key then holds what it held or the whole file.
    pub fn publish(
        self: &Arc<Self>,
        key: &str,
        file: File,
        condition: WriteCondition,
    ) -> Result<UploadOutcome> {
        let upload = self.upload(key, file)?;
        self.wait(async move { upload.under(condition).await })
    }

    /// Publishes a file in the place of whatever has the key.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub fn publish_over(self: &Arc<Self>, key: &str, file: File) -> Result<()> {
        let upload = self.upload(key, file)?;
        self.wait(async move {
            if upload.is_small() {
                return upload
                    .put(&upload.store.reads, PutMode::Overwrite)
                    .await
                    .map_err(|error| upload.failure(error));
            }
            let Err(failed) = upload.in_parts(&upload.path, None).await else {
                return Ok(());
            };
            // An upload that was completed without our hearing of it cannot be completed again.
            match facts(upload.store.reads.as_ref(), &upload.path).await {
                Ok(Some(stands)) if matches!(upload.is_ours(&stands).await, Ok(true)) => Ok(()),
                _ => Err(upload.failure(failed)),
            }
        })
    }

    /// Copies an object to a name that is free. Another object there is left, and that is no
    /// failure.
    ///
    /// Returns whether the copy was made now.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn copy_new(self: &Arc<Self>, from: &str, to: &str) -> Result<bool> {
        let source = self.path(from)?;
        let target = self.path(to)?;
        let store = self.clone();
        let what = format!(
            "cannot keep '{}' aside as '{}'",
            self.name(from),
            self.name(to)
        );
        self.wait(async move {
            // The condition is imposed: the client (object_store 0.13.2) has both of Google's
            // copies the wrong way round.
            let copy = store.reads.copy_if_not_exists(&source, &target);
            match CONDITION.scope(WriteCondition::Absent, copy).await {
                Ok(()) => Ok(true),
                Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => Ok(false),
                Err(error) => Err(failure(&what, error)),
            }
        })
    }

    fn upload(self: &Arc<Self>, key: &str, file: File) -> Result<Upload> {
        let facts = file
            .metadata()
            .io_context(|| format!("cannot read what is to be written to '{}'", self.name(key)))?;
        let size = facts.len();
        let part = PART.max(size.div_ceil(PARTS).next_multiple_of(1 << 20));
        Ok(Upload {
            store: self.clone(),
            key: key.to_owned(),
            path: self.path(key)?,
            file,
            size,
            part,
        })
    }
}

impl Upload {
    fn is_small(&self) -> bool {
        self.size <= PART || self.store.service == Service::Memory
    }

    fn failure(&self, error: object_store::Error) -> Error {
        failure(
            &format!("cannot write '{}'", self.store.name(&self.key)),
            error,
        )
    }

    /// Bytes of the staged file.
    fn bytes(&self, from: u64, length: u64) -> object_store::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, from);
        read.map_err(|error| object_store::Error::Generic {
            store: "staged file",
            source: Box::new(error),
        })?;
        Ok(bytes)
    }

    async fn put(&self, store: &Arc<dyn ObjectStore>, mode: PutMode) -> object_store::Result<()> {
        let bytes = self.bytes(0, self.size)?;
        store
            .put_opts(
                &self.path,
                bytes.into(),
                PutOptions {
                    mode,
                    ..PutOptions::default()
                },
            )
            .await
            .map(|_| ())
    }

    /// Publishes if the condition holds, and finds out what happened where no answer came.
    async fn under(&self, condition: WriteCondition) -> Result<UploadOutcome> {
        let begun = tokio::time::Instant::now();
        let mut pause = WRITE_PAUSE;
        let mut unanswered = false;
        for attempt in 0.. {
            let written = self.once(&condition).await;
            let failed = match written {
                Ok(()) => return Ok(UploadOutcome::Published),
                Err(error) => error,
            };
            use object_store::Error as E;
            let refused = matches!(
                failed,
                E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. }
            );
            if matches!(
                failed,
                E::PermissionDenied { .. }
                    | E::Unauthenticated { .. }
                    | E::NotImplemented { .. }
                    | E::NotSupported { .. }
            ) {
                return Err(self.failure(failed));
            }
            unanswered |= !refused;
            let stands = facts(self.store.reads.as_ref(), &self.path)
                .await
                .map_err(|error| self.failure(error))?;
            let still_holds = match (&stands, &condition) {
                (None, WriteCondition::Absent) => true,
                (None, WriteCondition::Unchanged(_)) => false,
                (Some(_), WriteCondition::Absent) => false,
                (Some(facts), unchanged) => facts.unchanged() == *unchanged,
            };
            if !still_holds {
                return self.outcome(stands.filter(|_| unanswered)).await;
            }
            // Nothing was written: an answer that was refused all the same is a conflict of the
            // moment (S3's 409).
            if interrupt::is_stopping()
                || attempt >= self.store.retries
                || !refused && is_for_good(&failed)
                || begun.elapsed() >= self.store.retry_timeout
            {
                return Err(self.failure(failed));
            }
            debug!(
                key = self.key,
                attempt, "nothing was written; the write is tried again"
            );
            tokio::time::sleep(pause).await;
            pause = LONGEST_WRITE_PAUSE.min(pause * 2);
        }
        Ok(UploadOutcome::Lost)
    }

    /// What became of a write whose condition does not hold any more. If no answer came to it, the
    /// object that stands may be the one that was written.
    async fn outcome(&self, may_be_ours: Option<ObjectFacts>) -> Result<UploadOutcome> {
        let ours = match may_be_ours {
            Some(facts) => self
                .is_ours(&facts)
                .await
                .map_err(|error| self.failure(error))?,
            None => false,
        };
        let key = &self.key;
        debug!(key, ours, "an object stands where one was to be written");
        Ok(if ours {
            UploadOutcome::Published
        } else {
            UploadOutcome::Lost
        })
    }

    /// One attempt.
    async fn once(&self, condition: &WriteCondition) -> object_store::Result<()> {
        if self.is_small() {
            let mode = match condition {
                WriteCondition::Absent => PutMode::Create,
                WriteCondition::Unchanged(version) => PutMode::Update(version.clone()),
            };
            return self.put(&self.store.once, mode).await;
        }
        if self.store.service != Service::Google {
            return self.in_parts(&self.path, Some(condition)).await;
        }
        let (folder, name) = self
            .key
            .rsplit_once('/')
            .map_or(("", self.key.as_str()), |(folder, name)| (folder, name));
        let staged = StorePath::parse(
            format!(
                "{folder}/{STAGED_PREFIX}{:016x}-{name}{STAGED_SUFFIX}",
                crate::storage::object_store::bucket::random()
            )
            .trim_start_matches('/'),
        )?;
        self.in_parts(&staged, None).await?;
        let copy = self.store.once.copy_opts(
            &staged,
            &self.path,
            CopyOptions::default().with_mode(CopyMode::Overwrite),
        );
        let copied = CONDITION.scope(condition.clone(), copy).await;
        let _ = self.store.reads.delete(&staged).await;
        copied
    }

    /// Uploads the file in parts, and publishes it under a condition if there is one.
    async fn in_parts(
        &self,
        path: &StorePath,
        condition: Option<&WriteCondition>,
    ) -> object_store::Result<()> {
        let parts = &self.store.parts;
        let id = parts.create_multipart(path).await?;
        let uploaded: object_store::Result<Vec<PartId>> =
            stream::iter(0..self.size.div_ceil(self.part))
                .map(|number| {
                    let id = &id;
                    let from = number * self.part;
                    async move {
                        if interrupt::is_stopping() {
                            return Err(interrupted());
                        }
                        let bytes = self.bytes(from, self.part.min(self.size - from))?;
                        parts
                            .put_part(
                                path,
                                id,
                                usize::try_from(number).unwrap_or(usize::MAX),
                                bytes.into(),
                            )
                            .await
                    }
                })
                .buffered(SIDE_BY_SIDE)
                .try_collect()
                .await;
        let completed = match (uploaded, condition) {
            (Err(error), _) => Err(error),
            (Ok(uploaded), None) => parts.complete_multipart(path, &id, uploaded).await,
            (Ok(uploaded), Some(condition)) => {
                CONDITION
                    .scope(
                        condition.clone(),
                        self.store
                            .parts_once
                            .complete_multipart(path, &id, uploaded),
                    )
                    .await
            }
        };
        if completed.is_err() {
            let _ = parts.abort_multipart(path, &id).await;
        }
        completed.map(|_| ())
    }

    /// Whether what stands under the key is the staged file, byte for byte.
    async fn is_ours(&self, stands: &ObjectFacts) -> object_store::Result<bool> {
        if stands.size != self.size {
            return Ok(false);
        }
        let mut from = 0;
        while from < self.size {
            let length = PART.min(self.size - from);
            let options = GetOptions {
                range: Some(GetRange::Bounded(from..from + length)),
                if_match: stands.etag.clone(),
                ..GetOptions::default()
            };
            let theirs = self
                .store
                .reads
                .get_opts(&self.path, options)
                .await?
                .bytes()
                .await?;
            if theirs != self.bytes(from, length)? {
                return Ok(false);
            }
            from += length;
        }
        Ok(true)
    }
}

/// What a part fails with that does not go up because the process is about to end.
fn interrupted() -> object_store::Error {
    object_store::Error::Generic {
        store: "staged file",
        source: "the run was interrupted".into(),
    }
}

/// Whether a service refuses a request for what it is, so that it need not be sent again: a status
/// of 400 and more that asks for no patience.
fn is_for_good(error: &object_store::Error) -> bool {
    let said = error.to_string();
    let status = said
        .split_once("status code: ")
        .and_then(|(_, rest)| rest.get(..3)?.parse::<u16>().ok());
    status.is_some_and(|status| {
        (400..500).contains(&status) && ![408, 409, 412, 429].contains(&status)
    })
}
