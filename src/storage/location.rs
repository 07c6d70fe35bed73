//! Locations: what users write for a lake, a foreign lake, events or an output.
//!
//! A plain path and `file://` are a local disk. Object stores are not served by this version, and
//! their URLs are refused rather than taken for odd paths.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A place on a local disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    path: PathBuf,
}

impl Location {
    /// Reads what a user wrote; a relative path is taken from `base`.
    ///
    /// # Errors
    /// A usage error for a URL of another scheme.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        if let Some((scheme, rest)) = text.split_once("://") {
            if scheme != "file" {
                return Err(Error::usage(format!("'{text}': this version of asof reads and writes local disks only, not {scheme}://"))
                    .hint("give a path, or file:///absolute/path"));
            }
            if !rest.starts_with('/') {
                return Err(Error::usage(format!("'{text}' is not an absolute file URL")).hint(format!("file:///{rest}")));
            }
            return Ok(Location { path: PathBuf::from(rest) });
        }
        if text.is_empty() {
            return Err(Error::usage("a path is empty"));
        }
        Ok(Location { path: base.join(text) })
    }

    /// The path on this machine.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_urls_are_local_and_other_schemes_are_refused() {
        let base = Path::new("/base");
        let path = |text: &str| Location::parse(text, base).map(|location| location.path().to_owned());
        assert_eq!(path("lake").expect("a path"), Path::new("/base/lake"));
        assert_eq!(path("/lake").expect("a path"), Path::new("/lake"));
        assert_eq!(path("file:///lake").expect("a URL"), Path::new("/lake"));
        for wrong in ["s3://bucket/lake", "file://lake", ""] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
