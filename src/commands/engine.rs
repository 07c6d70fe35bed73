//! What runs jobs and compactions: this process, or a cluster.

#[cfg(feature = "spark")]
use super::Workspace;
#[cfg(feature = "spark")]
use crate::engine::spark::{SparkRemote, SparkServer};
#[cfg(feature = "spark")]
use crate::error::{Error, Result};
use crate::secret::Secret;

/// What runs a job.
#[derive(Clone, Debug, Default)]
pub enum Engine {
    /// This process.
    #[default]
    Local,
    /// Spark, by Spark Connect: the address of the server, or that of `[spark]` in asof.toml.
    Spark(Option<Secret>),
}

/// Connects to the server that the command line names, or asof.toml.
///
/// # Errors
/// A usage error if neither names one; as [`SparkServer::connect`].
#[cfg(feature = "spark")]
pub(super) fn connect(workspace: &Workspace<'_>, remote: Option<&Secret>) -> Result<SparkServer> {
    let config = &workspace.config.spark;
    let remote = match (remote, &config.remote) {
        (Some(remote), _) => remote.clone(),
        (None, Some(remote)) => {
            let expanded = workspace.configured_text(remote.expose());
            expanded
                .map_err(|error| error.within("[spark], 'remote'"))?
                .into()
        }
        (None, None) => {
            return Err(Error::usage("--engine spark needs the address of a server")
                .hint("--remote sc://localhost:15002, or [spark] remote in asof.toml"));
        }
    };
    SparkServer::connect(
        SparkRemote::parse(&remote, &config.paths)?,
        &config.settings,
    )
}

/// The refusal of an engine that this program was built without.
#[cfg(not(feature = "spark"))]
pub(super) fn no_spark() -> crate::error::Error {
    crate::error::Error::usage("this asof was built without Spark")
        .hint("build it with: cargo install --path . --features spark")
}
