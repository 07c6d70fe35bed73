//! `[spark]` of `asof.toml`: the cluster of `--engine spark`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::secret::Secret;

/// The cluster of `--engine spark`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SparkConfig {
    /// The address of its Spark Connect server, in which `${VAR}` stands for a variable of the
    /// environment.
    pub remote: Option<Secret>,
    /// Prefixes of paths and URLs, each with what Spark calls it.
    pub paths: BTreeMap<String, String>,
    /// Settings of sessions, such as `spark.sql.shuffle.partitions`.
    pub settings: BTreeMap<String, String>,
}
