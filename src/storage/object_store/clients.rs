//! The clients of each provider: options are checked, and then a bucket or container is opened.
//!
//! Each has two clients: one tries again by itself, the other tries once (see [`super::bucket`]).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut, S3CopyIfNotExists,
};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use tokio::runtime::Runtime;
use url::Url;

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::failures::cause;
use crate::storage::object_store::http::{AzureSignature, Connector, Requests};
use crate::storage::object_store::listing::CloudPages;
use crate::storage::object_store::patience::{REQUEST_TIMEOUT, RETRIES, RETRY_TIMEOUT};
use crate::storage::object_store::service::Service;

/// Opens the bucket or container of a URL.
///
/// # Errors
/// A usage error if its options are not enough, or wrong.
pub(super) fn open(
    service: Service,
    url: &str,
    options: BTreeMap<String, Secret>,
    requests: Arc<Requests>,
    runtime: Arc<OnceLock<Runtime>>,
) -> Result<Store> {
    let opening = Opening::new(service, url, options, requests, runtime)?;
    match service {
        Service::S3 => {
            let builder = AmazonS3Builder::new()
                .with_conditional_put(S3ConditionalPut::ETagMatch)
                .with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
            Ok(opening.store(opening.configured(builder))?.0)
        }
        Service::Google => {
            let builder = GoogleCloudStorageBuilder::new();
            Ok(opening.store(opening.configured(builder))?.0)
        }
        Service::Azure => {
            let builder = opening.configured(MicrosoftAzureBuilder::new());
            let account = builder
                .get_config_value(&AzureConfigKey::AccountName)
                .unwrap_or_else(|| "devstoreaccount1".to_owned());
            let (store, client) = opening.store(builder)?;
            let signature = &opening.connector.azure;
            signature.set(client.credentials().clone(), account);
            Ok(store)
        }
        Service::Memory => Err(Error::internal("a store in memory has no client")),
    }
}

/// What a builder of a provider's clients can do. Every provider's can, each in its own words.
trait ClientBuilder: Clone {
    type Key: FromStr;
    type Client: ObjectStore + MultipartStore + PaginatedListStore;

    fn of(self, url: &str, connector: Connector) -> Self;
    fn client_option(key: ClientConfigKey) -> Self::Key;
    fn with(self, key: Self::Key, value: &str) -> Self;
    fn client(self, retry: RetryConfig) -> object_store::Result<Self::Client>;
}

macro_rules! client_builder {
    ($builder:ty, $key:ty, $client:ty) => {
        impl ClientBuilder for $builder {
            type Key = $key;
            type Client = $client;

            fn of(self, url: &str, connector: Connector) -> Self {
                self.with_url(url).with_http_connector(connector)
            }

            fn client_option(key: ClientConfigKey) -> $key {
                <$key>::Client(key)
            }

            fn with(self, key: $key, value: &str) -> Self {
                self.with_config(key, value)
            }

            fn client(self, retry: RetryConfig) -> object_store::Result<$client> {
                self.with_retry(retry).build()
            }
        }
    };
}

client_builder!(AmazonS3Builder, AmazonS3ConfigKey, AmazonS3);
client_builder!(
    GoogleCloudStorageBuilder,
    GoogleConfigKey,
    GoogleCloudStorage
);
client_builder!(MicrosoftAzureBuilder, AzureConfigKey, MicrosoftAzure);

/// A bucket or container that is being opened.
struct Opening<'a> {
    service: Service,
    url: &'a str,
    options: BTreeMap<String, Secret>,
    retry: RetryConfig,
    connector: Connector,
    runtime: Arc<OnceLock<Runtime>>,
}

impl<'a> Opening<'a> {
    /// Checks the options that asof reads itself.
    fn new(
        service: Service,
        url: &'a str,
        mut options: BTreeMap<String, Secret>,
        requests: Arc<Requests>,
        runtime: Arc<OnceLock<Runtime>>,
    ) -> Result<Self> {
        let retry = RetryConfig {
            max_retries: max_retries(options.remove("max_retries"))
                .map_err(|why| misconfigured(url, why))?,
            retry_timeout: retry_timeout(options.remove("retry_timeout"))
                .map_err(|why| misconfigured(url, why))?,
            ..RetryConfig::default()
        };
        check_servers(url, &options)?;
        Ok(Opening {
            service,
            url,
            options,
            retry,
            connector: Connector {
                requests,
                azure: AzureSignature::default(),
            },
            runtime,
        })
    }

    /// A builder with all options.
    fn configured<B: ClientBuilder>(&self, builder: B) -> B {
        let mut builder = builder.of(self.url, self.connector.clone());
        if has_plain_endpoint(&self.options) {
            builder = builder.with(B::client_option(ClientConfigKey::AllowHttp), "true");
        }
        builder = builder.with(B::client_option(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
        for (key, value) in &self.options {
            if let Ok(key) = key.parse() {
                builder = builder.with(key, value.expose());
            }
        }
        builder
    }

    /// The bucket or container, and its client that tries once.
    fn store<B: ClientBuilder>(&self, builder: B) -> Result<(Store, Arc<B::Client>)> {
        let client = |builder: B, retry: RetryConfig| {
            let client = builder.client(retry);
            client.map_err(|error| {
                let why = self
                    .options
                    .values()
                    .fold(cause(&error), |why, value| value.conceal(&why));
                misconfigured(self.url, why)
            })
        };
        let once = RetryConfig {
            max_retries: 0,
            ..self.retry.clone()
        };
        let reads = Arc::new(client(builder.clone(), self.retry.clone())?);
        let once = Arc::new(client(builder, once)?);
        let account = self.options.get("account_name");
        let account = account.or(self.options.get("azure_storage_account_name"));
        let store = Store {
            url: self.url.to_owned(),
            identity: identity(self.service, self.url, account.map(Secret::expose)),
            service: self.service,
            retries: self.retry.max_retries,
            retry_timeout: self.retry.retry_timeout,
            pages: Arc::new(CloudPages::new(reads.clone(), self.service)),
            reads: reads.clone(),
            parts: reads,
            once: once.clone(),
            parts_once: once.clone(),
            runtime: self.runtime.clone(),
        };
        Ok((store, once))
    }
}

/// The error of a store whose options are wrong.
fn misconfigured(url: &str, why: impl fmt::Display) -> Error {
    let why = why.to_string();
    let lacking = [
        (
            "Account must be specified",
            "AZURE_STORAGE_ACCOUNT_NAME=NAME, or account_name in [stores]",
        ),
        (
            "SecretAccessKey",
            "AWS_SECRET_ACCESS_KEY=SECRET, or secret_access_key in [stores]",
        ),
        (
            "AccessKeyId",
            "AWS_ACCESS_KEY_ID=KEY, or access_key_id in [stores]",
        ),
    ];
    let hint = lacking.iter().find(|(words, _)| why.contains(words));
    let hint = hint.map_or(
        "see docs/stores.md for what each service needs",
        |(_, hint)| hint,
    );
    Error::usage(format!("the store '{url}' is misconfigured: {why}")).hint(hint)
}

fn max_retries(option: Option<Secret>) -> Result<usize, &'static str> {
    option.map_or(Ok(RETRIES), |text| {
        text.expose()
            .parse()
            .map_err(|_| "max_retries is not a number")
    })
}

fn retry_timeout(option: Option<Secret>) -> Result<Duration, &'static str> {
    option.map_or(Ok(RETRY_TIMEOUT), |text| {
        text.expose()
            .strip_suffix('s')
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs)
            .ok_or("retry_timeout is not seconds, such as 120s")
    })
}

/// Refuses the address of a server that is no URL. The client would panic at some of them.
fn check_servers(url: &str, options: &BTreeMap<String, Secret>) -> Result<()> {
    let names_a_server = |key: &str| {
        key.contains("endpoint") && !key.contains("fabric")
            || key.ends_with("base_url")
            || key.ends_with("proxy_url")
    };
    for (key, value) in options.iter().filter(|(key, _)| names_a_server(key)) {
        let value = value.expose();
        let begins = ["http://", "https://"]
            .iter()
            .any(|scheme| value.starts_with(scheme));
        let why = match Url::parse(value) {
            Ok(_) if begins => continue,
            Err(error) if begins => format!(": {error}"),
            _ => String::new(),
        };
        // What is before a '@' or behind a '?' may be a secret.
        let shown = value.split('?').next().unwrap_or_default();
        let shown = shown.rsplit(['@', '/']).next().unwrap_or_default();
        return Err(Error::usage(format!(
            "the store '{url}' is misconfigured: {key} = '{shown}' is not a URL{why}"
        ))
        .hint(format!("{key} = \"http://HOST:PORT\", or https://")));
    }
    Ok(())
}

/// Whether an endpoint without TLS is named: who names one means it.
fn has_plain_endpoint(options: &BTreeMap<String, Secret>) -> bool {
    options.iter().any(|(key, value)| {
        (key.ends_with("endpoint") || key.contains("endpoint_url") || key.ends_with("base_url"))
            && value.expose().starts_with("http://")
    })
}

/// A bucket or container by its own name: `az://c` and `abfss://c@account.dfs.core.windows.net` may
/// be one.
fn identity(service: Service, url: &str, account: Option<&str>) -> String {
    let bucket = url.split_once("://").map_or(url, |(_, bucket)| bucket);
    let (bucket, host) = bucket.split_once('@').unwrap_or((bucket, ""));
    let account = host
        .split('.')
        .next()
        .filter(|account| !account.is_empty())
        .or(account);
    format!(
        "{}/{}/{bucket}",
        service.section(),
        account
            .filter(|_| service == Service::Azure)
            .unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_itself_however_it_is_written() {
        let account = "acme";
        let long = identity(Service::Azure, "abfss://c@acme.dfs.core.windows.net", None);
        assert_eq!(identity(Service::Azure, "az://c", Some(account)), long);
        assert_ne!(identity(Service::Azure, "az://c", None), long);
        assert_eq!(
            identity(Service::S3, "s3a://b", None),
            identity(Service::S3, "s3://b", Some(account))
        );
    }
}
