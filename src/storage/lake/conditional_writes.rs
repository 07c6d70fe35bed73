//! Whether a store honours the conditions of conditional writes.
//!
//! Some services that speak S3's language accept `If-None-Match` and `If-Match` and ignore them, on
//! single writes or on those that complete an upload in parts: two writers of one date would both
//! be told that they published, and one of them would have lost its object. So before asof
//! publishes below a root for the first time, it writes an object of a name of its own there, and
//! then tries to write it again under the condition that it is new, and under the condition of a
//! version that it never had, in both ways; a store that takes one of these is not safe. What was
//! found is remembered in `_asof/store.json` below the root, a hint that may be deleted: then the
//! next write finds out again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::path::Path as StorePath;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::error::Result;
use crate::storage::lake::commit::sweep_objects;
use crate::storage::lake::hints::{publish_hint, read_hint};
use crate::storage::lake::location::{Location, Place};
use crate::storage::lake::paths;
use crate::storage::object_store::bucket::{Store, random};
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::http::CONDITION;
use crate::storage::object_store::service::{Service, WriteCondition};

/// What is found out by now: an answer that was found in another way is asked for again.
const TRIALS: u32 = 2;

/// How often the trials are begun anew after one was not answered.
const AGAIN: usize = 3;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(300);

/// What is remembered of a store.
#[derive(Serialize, Deserialize)]
struct ProbeResult {
    conditional_writes: bool,
    #[serde(default)]
    trials: u32,
}

/// Whether writes below `root` are conditional when they say so: always on a local disk, and in a
/// store that honours it.
///
/// # Errors
/// A failure of the store.
pub fn honours_conditions(root: &Location, now: DateTime<Utc>) -> Result<bool> {
    if root.store().is_none() {
        return Ok(true);
    }
    let memory = paths::store_facts(root);
    let remembered = read_hint::<ProbeResult>(&memory).unwrap_or_else(|error| {
        debug!(%error, "what was found out of the store is found out again");
        None
    });
    if let Some(remembered) = remembered.filter(|remembered| remembered.trials == TRIALS) {
        return Ok(remembered.conditional_writes);
    }
    let probes = paths::probes(root);
    let Place::Remote(store, prefix) = probes.place() else {
        return Ok(true);
    };
    sweep_objects(store, prefix, "", now);
    let key = format!("{prefix}{:016x}", random());
    let asked = store.clone();
    let path = store.path(&key)?;
    let doing = format!(
        "cannot find out whether '{}' honours conditions",
        store.url()
    );
    let honoured = store.wait(async move {
        let mut honoured = trials(&asked, &path).await;
        for _ in 0..asked.retries.min(AGAIN) {
            if honoured.is_ok() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            honoured = trials(&asked, &path).await;
        }
        let _ = asked.reads.delete(&path).await;
        honoured.map_err(|error| failure(&doing, error))
    })?;
    debug!(%root, conditional_writes = honoured, "the store's conditional writes were tried");
    publish_hint(
        &memory,
        &ProbeResult {
            conditional_writes: honoured,
            trials: TRIALS,
        },
    );
    Ok(honoured)
}

/// Whether every write whose condition does not hold is refused.
async fn trials(store: &Store, path: &StorePath) -> object_store::Result<bool> {
    let options = |mode| PutOptions {
        mode,
        ..PutOptions::default()
    };
    // Nobody else has the name: what stands there already is this same write, whose answer was
    // lost.
    refused(
        store
            .reads
            .put_opts(path, "1".into(), options(PutMode::Create))
            .await,
    )?;
    let other = UpdateVersion {
        e_tag: Some("\"0123456789abcdef0123456789abcdef\"".to_owned()),
        version: Some("1".to_owned()),
    };
    for mode in [PutMode::Create, PutMode::Update(other.clone())] {
        if !refused(store.once.put_opts(path, "2".into(), options(mode)).await)? {
            return Ok(false);
        }
    }
    if matches!(store.service, Service::Google | Service::Memory) {
        // No condition is put on their uploads in parts.
        return Ok(true);
    }
    for condition in [WriteCondition::Absent, WriteCondition::Unchanged(other)] {
        let id = store.parts.create_multipart(path).await?;
        let part = store.parts.put_part(path, &id, 0, "3".into()).await?;
        let completed = CONDITION
            .scope(
                condition,
                store.parts_once.complete_multipart(path, &id, vec![part]),
            )
            .await;
        let _ = store.parts.abort_multipart(path, &id).await;
        if !refused(completed)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a write was refused for its condition.
fn refused(answer: object_store::Result<PutResult>) -> object_store::Result<bool> {
    use object_store::Error as E;
    match answer {
        Ok(_) | Err(E::NotImplemented { .. } | E::NotSupported { .. }) => Ok(false),
        Err(E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
