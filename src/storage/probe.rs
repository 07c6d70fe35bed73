//! Whether a store honours the conditions of conditional writes.
//!
//! Some services that speak S3's language accept `If-None-Match` and `If-Match` and ignore them: two writers of one date would
//! both be told that they published, and one of them would have lost its object. So before asof publishes below a root
//! for the first time, it writes an object of a name of its own there twice under the condition that it is new, and once more under
//! the condition of a version that it never had; a store that takes the second or the third is not safe. What was found is remembered in `_asof/store.json`
//! below the root, a hint that may be deleted: then the next write finds out again.

use object_store::{ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};
use serde::{Deserialize, Serialize};

use super::location::{Location, Place};
use super::store::{failure, random};
use crate::error::Result;

/// What is remembered of a store.
#[derive(Serialize, Deserialize)]
struct Remembered {
    conditional_writes: bool,
}

/// Whether writes below `root` are conditional when they say so: always on a local disk, and in a store that honours it.
///
/// # Errors
/// A failure of the store.
pub fn honours_conditions(root: &Location) -> Result<bool> {
    let Place::Remote(store, _) = root.place() else { return Ok(true) };
    let memory = root.join("_asof").join("store.json");
    if let Some(remembered) = memory.read_small()?.and_then(|bytes| serde_json::from_slice::<Remembered>(&bytes).ok()) {
        return Ok(remembered.conditional_writes);
    }
    let probe = root.join("_asof").join(&format!("probe-{:016x}", random()));
    let Place::Remote(_, key) = probe.place() else { return Ok(true) };
    let (once, reads, path) = (store.once.clone(), store.reads.clone(), store.path(key)?);
    let doing = format!("cannot find out whether '{}' honours conditions", store.url());
    let honoured = store.wait(async move {
        let put = |text: &'static str, mode| once.put_opts(&path, text.into(), PutOptions { mode, ..PutOptions::default() });
        let refused = |answer: object_store::Result<PutResult>| match answer {
            Ok(_) => Ok(false),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. },
            ) => Ok(true),
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        let asked = async {
            put("1", PutMode::Create).await?;
            let other = UpdateVersion { e_tag: Some("\"0123456789abcdef0123456789abcdef\"".to_owned()), version: Some("1".to_owned()) };
            Ok(refused(put("2", PutMode::Create).await)? && refused(put("3", PutMode::Update(other)).await)?)
        };
        let asked = asked.await;
        let _ = reads.delete(&path).await;
        asked.map_err(|error| failure(&doing, &error))
    })?;
    super::commit::publish_hint(&memory, &Remembered { conditional_writes: honoured });
    Ok(honoured)
}
