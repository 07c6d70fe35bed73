//! Arguments of the commands that a cluster can run.

use clap::{Args, ValueEnum};

use crate::commands::engine::Engine;
use crate::secret::Secret;

/// What runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// This machine
    Local,
    /// A cluster, by Spark Connect
    Spark,
}

/// The engine, and where it is.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// What runs the work: this machine, or a Spark cluster
    #[arg(long, value_name = "ENGINE", default_value = "local")]
    pub engine: EngineArg,
    /// The Spark Connect server, such as sc://localhost:15002; overrides asof.toml
    #[arg(long, value_name = "URL", env = "SPARK_REMOTE", hide_env_values = true)]
    pub remote: Option<String>,
}

impl From<EngineArgs> for Engine {
    fn from(args: EngineArgs) -> Self {
        match args.engine {
            EngineArg::Local => Engine::Local,
            EngineArg::Spark => Engine::Spark(args.remote.map(Secret::from)),
        }
    }
}
