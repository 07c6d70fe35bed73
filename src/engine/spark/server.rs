//! The server of Spark Connect: whether it is there, lets us in, and is new enough.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use spark_connect_core::{RetryPolicy, SparkConnectClient, SparkError, SparkErrorKind};
use spark_connect_proto as proto;
use spark_connect_proto::analyze_plan_request::{Analyze, SparkVersion};
use spark_connect_proto::analyze_plan_response::Result as Analyzed;
use tokio::runtime::Runtime;

use super::remote::SparkRemote;
use super::session::{SETTINGS, SparkSession};
use crate::error::{Context, Error, Kind, Result};

/// How long it is waited for a connection, and then for the first answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The setting that says up to which size Spark sends a table to every executor.
const BROADCAST: &str = "spark.sql.autoBroadcastJoinThreshold";
/// The oldest version whose rules are those that asof relies on.
const OLDEST: u32 = 4;

/// A server that has answered.
pub struct SparkServer {
    pub(super) runtime: Runtime,
    pub(super) client: SparkConnectClient,
    pub(super) remote: SparkRemote,
    /// The version of Spark.
    pub version: String,
    /// What the configuration sets in every session.
    settings: BTreeMap<String, String>,
}

impl SparkServer {
    /// Connects to a server; `settings` are those of every session.
    ///
    /// # Errors
    /// A failure, within ten seconds, if it cannot be reached or does not answer; a usage error if
    /// it refuses the token, is no Spark Connect server or too old, and for a setting that asof's
    /// rules depend on.
    pub fn connect(remote: SparkRemote, settings: &BTreeMap<String, String>) -> Result<Self> {
        if let Some((key, value)) = SETTINGS.iter().find(|(key, _)| settings.contains_key(*key)) {
            let what = format!("[spark.settings]: '{key}' is {value} in every session of asof");
            return Err(Error::usage(what).hint("leave it out"));
        }
        let doing = || format!("cannot connect to Spark at {}", remote.shown());
        reach(&remote)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .io_context(doing)?;
        let asked = async {
            let mut client = SparkConnectClient::connect(&remote.address).await?;
            client.set_retry_policy(RetryPolicy::no_retries());
            let version = version(&client, remote.address.user_id()).await?;
            client.set_retry_policy(policy());
            Ok::<_, SparkError>((client, version))
        };
        let answered = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
        let (client, version) = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(of_first_answer(&error, &remote)),
            Err(_) => {
                let what = format!("{}: it does not answer", doing());
                return Err(Error::io(what).hint(hint_of_address(&remote)));
            }
        };
        check_version(&version, &remote)?;
        Ok(SparkServer {
            runtime,
            client,
            remote,
            version,
            settings: settings.clone(),
        })
    }

    /// A new session, which shares nothing with others.
    ///
    /// # Errors
    /// A failure to reach the server; a usage error for a setting that it does not take.
    pub fn session(&self) -> Result<SparkSession<'_>> {
        let mut client = self.client.with_new_session_id();
        client.set_retry_policy(policy());
        let own = self.settings.iter();
        let own = own.map(|(key, value)| (key.as_str(), value.as_str()));
        let settings: Vec<(&str, &str)> = SETTINGS.into_iter().chain(own).collect();
        SparkSession::start(self, Arc::new(client), &settings)
    }

    /// How the server names places.
    pub fn remote(&self) -> &SparkRemote {
        &self.remote
    }

    /// A failure of Spark as an error of ours.
    pub(super) fn error(&self, error: &SparkError) -> Error {
        let told = told(error);
        let kind = match (error.grpc_code(), &error.kind) {
            (Some(14), _) => {
                let what = format!(
                    "the connection to Spark at {} broke: {told}",
                    self.remote.shown()
                );
                let hint = "run the same command again: it does the dates that are missing";
                return Error::io(what).hint(hint);
            }
            (_, SparkErrorKind::Analysis | SparkErrorKind::Parse) => Kind::Usage,
            (
                _,
                SparkErrorKind::Arithmetic
                | SparkErrorKind::ArrayIndexOutOfBounds
                | SparkErrorKind::DateTime
                | SparkErrorKind::NumberFormat,
            ) => Kind::Refused,
            _ => Kind::Io,
        };
        let what = format!("Spark: {told}");
        match kind {
            Kind::Usage => Error::usage(what),
            Kind::Refused => Error::refused(what),
            // Spark knows the size of a file, and a compressed one is small.
            _ if told.contains(BROADCAST) => Error::io(what).hint(format!(
                "[spark.settings] \"{BROADCAST}\" = \"-1\" in asof.toml, or more memory for the driver"
            )),
            _ => Error::io(what),
        }
    }
}

/// Tries a transient failure again for about 15 seconds. The client's own default is eleven minutes.
fn policy() -> RetryPolicy {
    RetryPolicy {
        max_retries: Some(6),
        initial_backoff_ms: 500,
        max_backoff_ms: Some(4000),
        ..RetryPolicy::default()
    }
}

/// Makes sure that something listens at the address.
fn reach(remote: &SparkRemote) -> Result<()> {
    let endpoint = remote.address.endpoint();
    let fail = |why: &dyn std::fmt::Display| {
        let what = format!("cannot reach Spark at {}: {why}", remote.shown());
        Error::io(what).hint(hint_of_address(remote))
    };
    let addresses = endpoint.to_socket_addrs().map_err(|error| fail(&error))?;
    let mut failure = fail(&"the host has no address");
    for address in addresses.take(2) {
        match TcpStream::connect_timeout(&address, PATIENCE / 2) {
            Ok(_) => return Ok(()),
            Err(error) => failure = fail(&error),
        }
    }
    Err(failure)
}

fn hint_of_address(remote: &SparkRemote) -> String {
    format!(
        "start a Spark Connect server there, or name another one: --remote {}",
        remote.shown()
    )
}

async fn version(
    client: &SparkConnectClient,
    user: Option<&str>,
) -> std::result::Result<String, SparkError> {
    let request = proto::AnalyzePlanRequest {
        session_id: client.session_id().to_owned(),
        user_context: Some(user_context(user)),
        analyze: Some(Analyze::SparkVersion(SparkVersion {})),
        ..Default::default()
    };
    match client.analyze_plan(request).await?.result {
        Some(Analyzed::SparkVersion(answer)) => Ok(answer.version),
        _ => Err(SparkError::connect_msg("it does not tell its version")),
    }
}

pub(super) fn user_context(user: Option<&str>) -> proto::UserContext {
    proto::UserContext {
        user_id: user.unwrap_or("asof").to_owned(),
        ..Default::default()
    }
}

/// What keeps the server from answering the first question.
fn of_first_answer(error: &SparkError, remote: &SparkRemote) -> Error {
    let shown = remote.shown();
    match error.grpc_code() {
        Some(7 | 16) => {
            let what = match remote.address.token() {
                Some(_) => format!("Spark at {shown} refuses the token"),
                None => format!("Spark at {shown} wants a token"),
            };
            Error::usage(what).hint(format!("--remote '{shown}/;use_ssl=true;token=...'"))
        }
        Some(14) if !remote.address.use_ssl() => {
            let what = format!("cannot connect to Spark at {shown}: {}", told(error));
            Error::io(what).hint(format!(
                "if it expects TLS: --remote '{shown}/;use_ssl=true'"
            ))
        }
        Some(12) => {
            let what =
                format!("the server at {shown} is not a Spark Connect server that asof knows");
            Error::usage(what).hint(hint_of_address(remote))
        }
        _ => {
            let what = format!("cannot connect to Spark at {shown}: {}", told(error));
            Error::io(what).hint(hint_of_address(remote))
        }
    }
}

fn check_version(version: &str, remote: &SparkRemote) -> Result<()> {
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_some_and(|major: u32| major >= OLDEST) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "Spark at {} is version {version}; asof needs {OLDEST}.0 or later",
        remote.shown()
    ))
    .hint("use a newer cluster, or run the job on this machine: --engine local"))
}

/// What a failure says, without the plan and the stack that may follow.
fn told(error: &SparkError) -> String {
    // With a class, `message()` writes it before a message that begins with it.
    let message = match error.message.is_empty() {
        true => error.message(),
        false => error.message.clone(),
    };
    let lines = message.lines().map(str::trim);
    let sentences = lines.take_while(|line| {
        !line.starts_with("== ") && !line.starts_with("at ") && !line.starts_with("JVM stacktrace")
    });
    let told: Vec<&str> = sentences.filter(|line| !line.is_empty()).collect();
    told.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(port: u16) -> SparkRemote {
        let address = format!("sc://127.0.0.1:{port}").into();
        SparkRemote::parse(&address, &Default::default()).expect("an address")
    }

    #[test]
    fn old_versions_are_refused_and_newer_ones_are_not() {
        for (version, is_fine) in [("3.5.1", false), ("4.0.0", true), ("5.1.0-SNAPSHOT", true)] {
            assert_eq!(
                check_version(version, &remote(1)).is_ok(),
                is_fine,
                "{version}"
            );
        }
    }

    #[test]
    fn a_host_that_does_not_listen_or_does_not_answer_fails_within_ten_seconds() {
        let begun = crate::clock::Stopwatch::start();
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let error = SparkServer::connect(remote(port), &BTreeMap::new())
            .err()
            .expect("nobody listens");
        assert!(
            error
                .to_string()
                .starts_with("cannot reach Spark at sc://127.0.0.1"),
            "{error}"
        );
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let error = SparkServer::connect(remote(port), &BTreeMap::new())
            .err()
            .expect("nobody answers");
        assert!(
            error
                .to_string()
                .starts_with("cannot connect to Spark at sc://127.0.0.1"),
            "{error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn of_a_failure_its_sentence_is_told() {
        let error = SparkError::connect_msg(
            "[X] Column `a` is missing.\n Did you mean `b`?\n== SQL ==\nselect a\n^^^",
        );
        assert_eq!(told(&error), "[X] Column `a` is missing. Did you mean `b`?");
    }
}
