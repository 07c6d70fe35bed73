//! `[limits]` of `asof.toml`: limits that are not those that follow from the memory.

use std::num::NonZeroUsize;

use serde::Deserialize;

use crate::domain::row_limits::{Limits, MOST_BYTES};
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;

/// The settings; what is left open follows from the memory that may be used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The longest row, such as `64MiB`.
    pub max_row: Option<String>,
    /// The longest key.
    pub max_key: Option<String>,
    /// The most columns.
    pub max_columns: Option<usize>,
    /// The most connections to one database server at a time.
    pub max_connections: Option<NonZeroUsize>,
}

/// The connections to one database server, if nothing is set.
const CONNECTIONS: usize = 4;

impl LimitsConfig {
    /// How many connections one database server is asked for at a time.
    pub fn connections(&self) -> usize {
        self.max_connections.map_or(CONNECTIONS, NonZeroUsize::get)
    }

    /// The limits with these settings.
    ///
    /// # Errors
    /// A usage error for text that is not an amount of bytes, or one that is too large.
    pub fn limits(&self, memory: MemoryBudget) -> Result<Limits> {
        let by_default = Limits::of(memory);
        Ok(Limits {
            row_bytes: bytes("max_row", self.max_row.as_deref())?.unwrap_or(by_default.row_bytes),
            key_bytes: bytes("max_key", self.max_key.as_deref())?.unwrap_or(by_default.key_bytes),
            columns: self.max_columns.unwrap_or(by_default.columns),
        })
    }
}

/// The amount that a setting has.
fn bytes(setting: &str, text: Option<&str>) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |why: &str| {
        Error::usage(format!("[limits]: {setting} = \"{text}\" {why}"))
            .hint(format!("{setting} = \"64MiB\""))
    };
    let bytes = text.trim().parse::<bytesize::ByteSize>();
    let bytes = bytes.map_err(|_| wrong("is not an amount of bytes"))?;
    match bytes.as_u64() {
        0 => Err(wrong("leaves room for nothing")),
        bytes if bytes > MOST_BYTES => Err(wrong("is more than 1GiB, the most that works")),
        bytes => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_replace_what_follows_from_the_memory() {
        let memory = MemoryBudget(512 << 20);
        let read = |text: &str| {
            let config: LimitsConfig = toml::from_str(text).expect("TOML");
            config.limits(memory)
        };
        assert_eq!(read("").expect("limits"), Limits::of(memory));
        let connections = |text: &str| {
            let config = toml::from_str::<LimitsConfig>(text);
            config.map(|config| config.connections()).ok()
        };
        assert_eq!(
            ["", "max_connections = 1", "max_connections = 0"].map(connections),
            [Some(4), Some(1), None]
        );
        let limits = read("max_row = '1GiB'\nmax_key = '64KiB'\nmax_columns = 7\n");
        let expected = Limits {
            row_bytes: 1 << 30,
            key_bytes: 64 << 10,
            columns: 7,
        };
        assert_eq!(limits.expect("limits"), expected);
        for (text, why) in [
            (
                "max_row = 'much'",
                "max_row = \"much\" is not an amount of bytes",
            ),
            (
                "max_row = '2GiB'",
                "max_row = \"2GiB\" is more than 1GiB, the most that works",
            ),
            ("max_key = '0'", "max_key = \"0\" leaves room for nothing"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.to_string(), format!("[limits]: {why}"));
        }
    }
}
