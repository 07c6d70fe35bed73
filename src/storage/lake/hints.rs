//! Small JSON files that save work and are never needed.
//!
//! Each holds its content and the checksum of that, so that damage is told from what was written:
//! `{"checksum":"…","content":…}`. The checksum is the XXH3 of 64 bits of the content as it is
//! written here, in 16 hexadecimal digits. A file that is damaged, or that an earlier asof wrote
//! without a checksum, is as good as none, and the next run writes it anew.

use std::io::Write;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::debug;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Context, Error, Result};
use crate::storage::lake::commit::{Staged, write_error};
use crate::storage::lake::location::Location;

#[derive(Serialize, Deserialize)]
struct CheckedHint<T> {
    checksum: String,
    content: T,
}

fn checksum(content: &impl Serialize) -> Result<String> {
    let bytes = serde_json::to_vec(content).io_context(|| "cannot write JSON".into())?;
    Ok(format!("{:016x}", xxh3_64(&bytes)))
}

/// Publishes content with its checksum, in the form of a hint.
///
/// # Errors
/// A failure to write it.
pub fn publish_checked(path: &Location, content: &impl Serialize) -> Result<()> {
    let checksum = checksum(content)?;
    let hint = CheckedHint { checksum, content };
    let bytes = serde_json::to_vec(&hint).io_context(|| "cannot write JSON".into())?;
    let staged = Staged::create(path)?;
    let written = staged.writer()?.write_all(&bytes);
    written.map_err(|error| write_error(error, path))?;
    staged.publish_over().map(|_| ())
}

/// Publishes a hint. A failure is only logged.
pub fn publish_hint(path: &Location, content: &impl Serialize) {
    if let Err(error) = publish_checked(path, content) {
        debug!(%path, %error, "a hint for later runs is not written");
    }
}

/// Reads a hint; nothing if there is none.
///
/// # Errors
/// A failure to read it; a refusal if it is not as it was written.
pub fn read_hint<T: Serialize + DeserializeOwned>(path: &Location) -> Result<Option<T>> {
    let Some(bytes) = path.read_small()? else {
        return Ok(None);
    };
    let damaged = |why: &str| Error::damaged(format!("'{path}' is damaged: {why}"));
    let hint: CheckedHint<T> =
        serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
    if checksum(&hint.content)? != hint.checksum {
        return Err(damaged("its content does not match its checksum"));
    }
    Ok(Some(hint.content))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_flipped_bit_never_gives_another_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Location::local(folder.path().join("x.json"));
        let content = BTreeMap::from([("a".to_owned(), Some(12_u64)), ("b".to_owned(), None)]);
        assert_eq!(
            read_hint::<BTreeMap<String, Option<u64>>>(&path).expect("none"),
            None
        );
        publish_hint(&path, &content);
        let read = || read_hint::<BTreeMap<String, Option<u64>>>(&path);
        assert_eq!(read().expect("it reads"), Some(content.clone()));
        let local = path.as_local().expect("a path");
        let whole = std::fs::read(local).expect("the bytes");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(local, bytes).expect("written");
            match read() {
                Ok(read) => assert_eq!(read.as_ref(), Some(&content), "bit {bit}"),
                Err(error) => assert!(error.to_string().contains("x.json' is damaged"), "{error}"),
            }
        }
    }

    #[test]
    fn a_file_without_a_checksum_is_as_good_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Location::local(folder.path().join("x.json"));
        std::fs::write(path.as_local().expect("a path"), r#"{"a":1}"#).expect("written");
        let error = read_hint::<BTreeMap<String, u64>>(&path).expect_err("an old file");
        assert!(
            error.to_string().contains("missing field `checksum`"),
            "{error}"
        );
    }
}
