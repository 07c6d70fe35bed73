//! `[openlineage]` of `asof.toml`: where events of runs are sent.

use serde::Deserialize;

use super::variables::expand;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Where events of OpenLineage are sent; nothing is sent without `url` and `file`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenLineageConfig {
    /// The URL of the server.
    pub url: Option<String>,
    /// The path that events are sent to; by default `api/v1/lineage`.
    pub endpoint: Option<String>,
    /// What is sent as a bearer token, in which `${VAR}` stands for a variable of the environment.
    pub api_key: Option<Secret>,
    /// A file that gets one event a line.
    pub file: Option<String>,
    /// The namespace of jobs; by default `asof`.
    pub namespace: Option<String>,
}

impl OpenLineageConfig {
    /// The key, with the values of variables in their places.
    ///
    /// # Errors
    /// A usage error for a variable that is not set.
    pub fn api_key(&self, variable: &dyn Fn(&str) -> Option<Secret>) -> Result<Option<Secret>> {
        let key = self.api_key.as_ref().map(|key| {
            expand(key.expose(), "the value", variable, |_, _, _, _| ())
                .map(Secret::from)
                .map_err(|error| error.within("[openlineage], 'api_key'"))
        });
        key.transpose()
    }

    /// Refuses settings that need others.
    pub(super) fn check(&self) -> Result<()> {
        let of_url = [
            ("endpoint", self.endpoint.is_some()),
            ("api_key", self.api_key.is_some()),
        ];
        match of_url.iter().find(|(_, is_given)| *is_given) {
            // The environment may name the URL, but then it names these too.
            Some((name, _)) if self.url.is_none() => Err(Error::usage(format!(
                "[openlineage]: '{name}' requires 'url'"
            ))
            .hint("url = \"https://HOST\"")),
            _ => Ok(()),
        }
    }
}
