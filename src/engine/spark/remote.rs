//! The address of a Spark Connect server, and how it names the places that asof names.
//!
//! The address is the one that Spark's own clients take: `sc://HOST:PORT/;KEY=VALUE;...`, with the
//! keys `token`, `use_ssl`, `user_id` and, for services that want them, headers.
//!
//! | asof | Spark |
//! | --- | --- |
//! | `/srv/shop` | `file:///srv/shop`, which all executors must see |
//! | `s3://shop/x` | `s3a://shop/x`, the name of Hadoop's connector |
//! | `gs://shop/x` | the same |
//! | another prefix | what `[spark] paths` says |

use std::collections::BTreeMap;
use std::path::Path;

use spark_connect_core::ChannelBuilder;

use crate::error::{Context, Error, Result};
use crate::secret::Secret;
use crate::storage::lake::location::Location;

/// What the program calls itself.
const USER_AGENT: &str = concat!("asof/", env!("CARGO_PKG_VERSION"));
/// Prefixes that Spark spells in another way.
const PREFIXES: [(&str, &str); 1] = [("s3://", "s3a://")];

/// A Spark Connect server that has not been reached yet.
#[derive(Clone, Debug)]
pub struct SparkRemote {
    pub(super) address: ChannelBuilder,
    /// Prefixes of places, each with what Spark calls it; a longer one counts first.
    paths: Vec<(String, String)>,
}

impl SparkRemote {
    /// Reads an address; `paths` has prefixes of places, each with what Spark calls it.
    ///
    /// # Errors
    /// A usage error for what is not the address of a Spark Connect server.
    pub fn parse(address: &Secret, paths: &BTreeMap<String, String>) -> Result<Self> {
        let mut parsed = ChannelBuilder::parse(address.expose()).map_err(|_| {
            // The address may have a token anywhere.
            Error::usage("the address of Spark is not of the form 'sc://HOST:PORT'")
                .hint("--remote sc://localhost:15002")
        })?;
        if parsed.host().is_empty() {
            return Err(Error::usage("the address of Spark names no host")
                .hint("--remote sc://localhost:15002"));
        }
        if parsed.token().is_some() && !parsed.use_ssl() && !parsed.is_loopback() {
            let what = format!(
                "a token for Spark at {} would be sent over a connection that is not encrypted",
                parsed.endpoint()
            );
            let hint = format!(
                "--remote 'sc://{}/;use_ssl=true;token=...'",
                parsed.endpoint()
            );
            return Err(Error::usage(what).hint(hint));
        }
        if parsed.get("user_agent").is_none() {
            parsed.set("user_agent", USER_AGENT);
        }
        let mut paths: Vec<(String, String)> = paths.clone().into_iter().collect();
        paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(SparkRemote {
            address: parsed,
            paths,
        })
    }

    /// The server as messages name it: without the token.
    pub fn shown(&self) -> String {
        format!("sc://{}", self.address.endpoint())
    }

    /// A place as Spark names it.
    ///
    /// # Errors
    /// A failure to find the current folder.
    pub fn path(&self, location: &Location) -> Result<String> {
        let own = match location.as_local() {
            Some(path) => absolute(path)?,
            None => location.to_string(),
        };
        let own_prefix = self.paths.iter().find_map(|(prefix, other)| {
            let rest = own.strip_prefix(prefix.as_str())?;
            Some(format!("{other}{rest}"))
        });
        if let Some(path) = own_prefix {
            return Ok(path);
        }
        if location.as_local().is_some() {
            return Ok(format!("file://{own}"));
        }
        let known = PREFIXES
            .iter()
            .find_map(|(prefix, other)| Some(format!("{other}{}", own.strip_prefix(prefix)?)));
        Ok(known.unwrap_or(own))
    }
}

fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).io_context(|| "cannot find the current folder".into())?;
    Ok(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(address: &str, paths: &[(&str, &str)]) -> Result<SparkRemote> {
        let paths = paths
            .iter()
            .map(|(from, to)| ((*from).into(), (*to).into()));
        SparkRemote::parse(&address.to_owned().into(), &paths.collect())
    }

    #[test]
    fn an_address_is_what_spark_s_clients_take_and_its_token_is_never_shown() {
        let address = "sc://Spark.example.org:443/;use_ssl=true;token=abc;x-cluster=7";
        let parsed = remote(address, &[]).expect("an address");
        assert_eq!(parsed.shown(), "sc://spark.example.org:443");
        assert_eq!(
            remote("sc://h", &[]).expect("a port").shown(),
            "sc://h:15002"
        );
        for wrong in [
            "localhost:15002",
            "http://h",
            "sc://",
            "sc://h/path",
            "sc://h:port",
        ] {
            let error = remote(wrong, &[]).expect_err(wrong);
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{wrong}");
        }
        let error = remote("sc://h/;token=abc", &[]).expect_err("not encrypted");
        assert!(!error.to_string().contains("abc"), "{error}");
        remote("sc://localhost/;token=abc", &[]).expect("on this machine");
    }

    #[test]
    fn places_have_the_names_that_spark_gives_them() {
        let parsed = remote(
            "sc://h",
            &[("/srv/", "hdfs://n/"), ("/srv/a/", "abfss://x@y/")],
        );
        let parsed = parsed.expect("an address");
        let path = |text: &str| parsed.path(&Location::local(text)).expect("a path");
        assert_eq!(path("/srv/shop/x"), "hdfs://n/shop/x");
        assert_eq!(path("/srv/a/x"), "abfss://x@y/x");
        assert_eq!(path("/var/x"), "file:///var/x");
    }
}
