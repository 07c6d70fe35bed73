//! Opening stores: each bucket once a process, from a URL and its options.
//!
//! Options come from a profile of AWS, the environment, and what `[stores]` in asof.toml says of a
//! service or of one bucket, under the names that the `object_store` crate has for them; what a
//! later place says overrules an earlier one, and credentials are taken from one place whole.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut, S3CopyIfNotExists};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::memory::InMemory;
use object_store::{ClientConfigKey, RetryConfig};
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::storage::object_store::bucket::{Store, cause};
use crate::storage::object_store::http::{AzureSignature, Connector, RequestCounts, Requests};
use crate::storage::object_store::listing::{CloudPages, MemoryPages};
use crate::storage::object_store::provider::Service;

/// How often a request is tried again, unless `max_retries` says otherwise: about ten seconds, with
/// growing pauses.
const RETRIES: usize = 6;
/// When trying again ends, unless `retry_timeout` says otherwise.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one request may take, unless `timeout` says otherwise: a part of 16 MiB on a slow line.
const TIMEOUT: &str = "180s";

/// Opens stores, each once.
pub struct Stores {
    variables: Vec<(String, String)>,
    configured: BTreeMap<String, BTreeMap<String, String>>,
    requests: Arc<Requests>,
    runtime: Arc<OnceLock<Runtime>>,
    open: Mutex<BTreeMap<String, Arc<Store>>>,
}

impl Stores {
    /// Stores as the environment's variables and `[stores]` say: by bucket (`s3://shop`) or service
    /// (`s3`), then by option.
    ///
    /// # Errors
    /// A usage error for a section or an option that there is not.
    pub fn new(
        variables: Vec<(String, String)>,
        configured: BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<Self> {
        for (section, options) in &configured {
            let service =
                Service::of(section.split("://").next().unwrap_or_default()).ok_or_else(|| {
                    Error::usage(format!("[stores.{section}]: unknown object store type"))
                        .hint("[stores.s3], [stores.gs], [stores.az] or [stores.\"s3://bucket\"]")
                })?;
            let names_a_path = section
                .split_once("://")
                .is_some_and(|(_, bucket)| bucket.is_empty() || bucket.contains('/'));
            let named = |section: &str| {
                Error::usage(format!(
                    "[stores.\"{section}\"] is neither a service nor a bucket"
                ))
            };
            if names_a_path || !section.contains("://") && section != service.section() {
                let bucket = section
                    .split("://")
                    .nth(1)
                    .and_then(|rest| rest.split('/').next())
                    .filter(|bucket| !bucket.is_empty());
                let section_hint = bucket.map_or_else(
                    || format!("[stores.{}]", service.section()),
                    |bucket| format!("[stores.\"{}://{bucket}\"]", service.section()),
                );
                return Err(named(section).hint(section_hint));
            }
            for key in options.keys() {
                if !OWN_OPTIONS.contains(&key.as_str()) && !service.knows(key) {
                    return Err(Error::usage(format!(
                        "[stores.{section}]: there is no option '{key}'"
                    ))
                    .hint_nearest(key, USUAL_OPTIONS, || {
                        "docs/stores.md lists the options".to_owned()
                    }));
                }
            }
        }
        let configured = configured
            .into_iter()
            .map(|(section, options)| (usual_name(&section), options))
            .collect();
        Ok(Stores {
            variables,
            configured,
            requests: Arc::default(),
            runtime: Arc::default(),
            open: Mutex::default(),
        })
    }

    /// The count of what all stores are asked.
    pub fn requests(&self) -> Arc<Requests> {
        self.requests.clone()
    }

    /// What all stores were asked so far.
    pub fn counts(&self) -> RequestCounts {
        self.requests.counts()
    }

    /// The bucket or container that a URL names up to its path, such as `s3://shop`.
    ///
    /// # Errors
    /// A usage error if it is not configured well enough to be asked.
    pub fn open(&self, service: Service, url: &str) -> Result<Arc<Store>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(url) {
            return Ok(store.clone());
        }
        let store = Arc::new(self.build(service, url)?);
        open.insert(url.to_owned(), store.clone());
        Ok(store)
    }

    /// A store in memory, for tests.
    pub fn in_memory(&self, url: &str) -> Arc<Store> {
        let memory = Arc::new(InMemory::new());
        Arc::new(Store {
            url: url.to_owned(),
            identity: url.to_owned(),
            service: Service::Memory,
            retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
            reads: memory.clone(),
            once: memory.clone(),
            parts: memory.clone(),
            parts_once: memory.clone(),
            pages: Arc::new(MemoryPages::new(memory)),
            runtime: self.runtime.clone(),
        })
    }

    /// The options of a store: of the profile, then of the environment, then of its service, then
    /// of its bucket.
    fn options(&self, service: Service, url: &str) -> Result<BTreeMap<String, String>> {
        let variable = |name: &str| {
            self.variables
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        let profile = if service == Service::S3 {
            crate::storage::object_store::profile::options(variable)?
        } else {
            BTreeMap::new()
        };
        let known = |(name, value): &(String, String)| {
            let key = name.to_ascii_lowercase();
            (name.starts_with(service.variables()) && service.knows(&key))
                .then(|| (key, value.clone()))
        };
        let configured = |section: &str| {
            let options = self.configured.get(section).into_iter().flatten();
            options
                .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let layers = [
            profile,
            self.variables.iter().filter_map(known).collect(),
            configured(service.section()),
            configured(&usual_name(url)),
        ];
        let mut options: BTreeMap<String, String> = BTreeMap::new();
        for layer in layers {
            // Credentials come whole or not at all: the token of one place does not go with the key
            // of another.
            if layer.keys().any(|key| service.is_credential(key)) {
                options.retain(|known, _| !service.is_credential(known));
            }
            for (key, value) in layer {
                options.retain(|known, _| !same_option(service, known, &key));
                options.insert(key, value);
            }
        }
        Ok(options)
    }

    fn build(&self, service: Service, url: &str) -> Result<Store> {
        let mut options = self.options(service, url)?;
        let wrong = |error: &dyn fmt::Display| {
            let said = error.to_string();
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
            if let Some((_, hint)) = lacking.iter().find(|(words, _)| said.contains(words)) {
                return Error::usage(format!("the store '{url}' is misconfigured: {error}"))
                    .hint(*hint);
            }
            Error::usage(format!("the store '{url}' is misconfigured: {error}"))
                .hint("see docs/stores.md for what each service needs")
        };
        let retries = match options.remove("max_retries") {
            None => RETRIES,
            Some(text) => text
                .parse()
                .map_err(|_| wrong(&format!("max_retries = '{text}' is not a number")))?,
        };
        let retry_timeout = match options.remove("retry_timeout") {
            None => RETRY_TIMEOUT,
            Some(text) => text
                .strip_suffix('s')
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs)
                .ok_or_else(|| {
                    wrong(&format!(
                        "retry_timeout = '{text}' is not seconds, such as 120s"
                    ))
                })?,
        };
        let names_a_server = |key: &str| {
            key.contains("endpoint") && !key.contains("fabric") || key.ends_with("base_url")
        };
        for (key, value) in options.iter().filter(|(key, _)| names_a_server(key)) {
            if !["http://", "https://"]
                .iter()
                .any(|scheme| value.len() > scheme.len() && value.starts_with(scheme))
            {
                return Err(Error::usage(format!(
                    "the store '{url}' is misconfigured: {key} = '{value}' is not a URL"
                ))
                .hint(format!(
                    "{key} = \"http://{}\", or https://",
                    value.trim_start_matches('/')
                )));
            }
        }
        let again = RetryConfig {
            max_retries: retries,
            retry_timeout,
            ..RetryConfig::default()
        };
        let once = RetryConfig {
            max_retries: 0,
            ..again.clone()
        };
        let connector = Connector {
            requests: self.requests.clone(),
            azure: AzureSignature::default(),
        };
        // Who names an endpoint without TLS means it.
        let plain = options.iter().any(|(key, value)| {
            (key.ends_with("endpoint") || key.contains("endpoint_url") || key.ends_with("base_url"))
                && value.starts_with("http://")
        });
        let client = [
            (ClientConfigKey::AllowHttp, plain.then_some("true")),
            (ClientConfigKey::Timeout, Some(TIMEOUT)),
        ];
        macro_rules! configure {
            ($builder:expr, $key:ident) => {{
                let mut builder = $builder
                    .with_url(url)
                    .with_http_connector(connector.clone());
                for (key, value) in client {
                    if let Some(value) = value {
                        builder = builder.with_config($key::Client(key), value);
                    }
                }
                for (key, value) in &options {
                    if let Ok(key) = $key::from_str(key) {
                        builder = builder.with_config(key, value);
                    }
                }
                builder
            }};
        }
        macro_rules! store {
            ($builder:expr) => {{
                let builder = $builder;
                let reads = Arc::new(
                    builder
                        .clone()
                        .with_retry(again)
                        .build()
                        .map_err(|error| wrong(&cause(&error)))?,
                );
                let once = Arc::new(
                    builder
                        .with_retry(once)
                        .build()
                        .map_err(|error| wrong(&cause(&error)))?,
                );
                let pages: Arc<dyn PaginatedListStore> = reads.clone();
                let store = Store {
                    url: url.to_owned(),
                    identity: identity(
                        service,
                        url,
                        options
                            .get("account_name")
                            .or(options.get("azure_storage_account_name")),
                    ),
                    service,
                    retries,
                    retry_timeout,
                    pages: Arc::new(CloudPages::new(pages, service)),
                    reads: reads.clone(),
                    parts: reads.clone(),
                    once: once.clone(),
                    parts_once: once.clone(),
                    runtime: self.runtime.clone(),
                };
                (store, once)
            }};
        }
        match service {
            Service::S3 => {
                let builder = AmazonS3Builder::new()
                    .with_conditional_put(S3ConditionalPut::ETagMatch)
                    .with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
                Ok(store!(configure!(builder, AmazonS3ConfigKey)).0)
            }
            Service::Google => Ok(store!(configure!(
                GoogleCloudStorageBuilder::new(),
                GoogleConfigKey
            ))
            .0),
            Service::Azure => {
                let builder = configure!(MicrosoftAzureBuilder::new(), AzureConfigKey);
                let account = builder
                    .get_config_value(&AzureConfigKey::AccountName)
                    .unwrap_or_else(|| "devstoreaccount1".to_owned());
                let (store, once) = store!(builder);
                connector.azure.set(once.credentials().clone(), account);
                Ok(store)
            }
            Service::Memory => Ok(Store {
                url: url.to_owned(),
                ..Arc::into_inner(self.in_memory(url))
                    .ok_or_else(|| Error::internal("a new store is shared"))?
            }),
        }
    }
}

/// A section of `[stores]`, or a URL up to its path, with the usual name of its scheme.
fn usual_name(section: &str) -> String {
    match section
        .split_once("://")
        .and_then(|(scheme, bucket)| Some((Service::of(scheme)?, bucket)))
    {
        Some((service, bucket)) => format!("{}://{bucket}", service.section()),
        None => section.to_owned(),
    }
}

/// Options that one may have meant.
const USUAL_OPTIONS: [&str; 20] = [
    "access_key_id",
    "account_key",
    "account_name",
    "allow_http",
    "client_id",
    "client_secret",
    "endpoint",
    "max_retries",
    "region",
    "retry_timeout",
    "sas_token",
    "secret_access_key",
    "server_side_encryption",
    "service_account",
    "service_account_key",
    "session_token",
    "skip_signature",
    "tenant_id",
    "use_azure_cli",
    "virtual_hosted_style_request",
];

/// Options of `[stores]` that are asof's own.
const OWN_OPTIONS: [&str; 2] = ["max_retries", "retry_timeout"];

/// A bucket or container by its own name: `az://c` and `abfss://c@account.dfs.core.windows.net` may
/// be one.
fn identity(service: Service, url: &str, account: Option<&String>) -> String {
    let bucket = url.split_once("://").map_or(url, |(_, bucket)| bucket);
    let (bucket, host) = bucket.split_once('@').unwrap_or((bucket, ""));
    let account = host
        .split('.')
        .next()
        .filter(|account| !account.is_empty())
        .or(account.map(String::as_str));
    format!(
        "{}/{}/{bucket}",
        service.section(),
        account
            .filter(|_| service == Service::Azure)
            .unwrap_or_default()
    )
}

/// Whether two names are of one option.
fn same_option(service: Service, one: &str, other: &str) -> bool {
    let one = one.to_ascii_lowercase();
    let other = other.to_ascii_lowercase();
    match service {
        Service::S3 => AmazonS3ConfigKey::from_str(&one)
            .is_ok_and(|key| AmazonS3ConfigKey::from_str(&other).is_ok_and(|other| key == other)),
        Service::Google => GoogleConfigKey::from_str(&one)
            .is_ok_and(|key| GoogleConfigKey::from_str(&other).is_ok_and(|other| key == other)),
        Service::Azure => AzureConfigKey::from_str(&one)
            .is_ok_and(|key| AzureConfigKey::from_str(&other).is_ok_and(|other| key == other)),
        Service::Memory => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(
        variables: &[(&str, &str)],
        configured: &[(&str, &[(&str, &str)])],
        service: Service,
        url: &str,
    ) -> BTreeMap<String, String> {
        let text = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<Vec<_>>()
        };
        let configured = configured
            .iter()
            .map(|(section, pairs)| ((*section).to_owned(), text(pairs).into_iter().collect()))
            .collect();
        Stores::new(text(variables), configured)
            .and_then(|stores| stores.options(service, url))
            .expect("options")
    }

    #[test]
    fn a_bucket_comes_before_its_service_and_both_before_the_environment() {
        let variables = [
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_REGION", "r"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "x"),
            ("AWS_PAGER", "less"),
        ];
        let configured: [(&str, &[(&str, &str)]); 2] = [
            ("s3", &[("endpoint", "http://b")]),
            ("s3://shop", &[("endpoint_url", "http://c")]),
        ];
        let found = options(&variables, &configured, Service::S3, "s3://shop");
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, [("aws_region", "r"), ("endpoint_url", "http://c")]);
        assert_eq!(
            options(&variables, &configured, Service::S3, "s3://other")["endpoint"],
            "http://b"
        );
        assert_eq!(
            options(&variables, &configured, Service::Azure, "az://x").len(),
            1
        );
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused_before_anything_is_asked() {
        for (name, url) in [
            ("AWS_ENDPOINT_URL", "s3://shop"),
            ("AZURE_STORAGE_ENDPOINT", "az://shop"),
            ("GOOGLE_BASE_URL", "gs://shop"),
        ] {
            let variables = [
                (name, "127.0.0.1:5000"),
                ("AZURE_STORAGE_ACCOUNT_NAME", "x"),
            ];
            let variables = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let stores = Stores::new(variables, BTreeMap::new()).expect("stores");
            let service =
                Service::of(url.split("://").next().unwrap_or_default()).expect("a service");
            let error = stores.open(service, url).expect_err("no URL");
            assert!(
                error
                    .to_string()
                    .ends_with("= '127.0.0.1:5000' is not a URL")
                    && error.kind() == crate::error::Kind::Usage,
                "{error}"
            );
        }
    }

    #[test]
    fn keys_of_two_places_are_not_mixed() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_SESSION_TOKEN", "c"),
        ];
        let configured: [(&str, &[(&str, &str)]); 1] =
            [("s3", &[("access_key_id", "d"), ("secret_access_key", "e")])];
        let found = options(&variables, &configured, Service::S3, "s3://shop");
        assert_eq!(found.into_values().collect::<Vec<_>>(), ["d", "e"]);
    }

    #[test]
    fn credentials_of_another_kind_take_the_place_of_those_before() {
        let variables = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "k"),
        ];
        let configured: [(&str, &[(&str, &str)]); 1] = [("az://x", &[("sas_token", "s")])];
        let found = options(&variables, &configured, Service::Azure, "azure://x");
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["azure_storage_account_name", "sas_token"]
        );
    }

    #[test]
    fn a_container_is_itself_however_it_is_written() {
        let account = "acme".to_owned();
        let long = identity(Service::Azure, "abfss://c@acme.dfs.core.windows.net", None);
        assert_eq!(identity(Service::Azure, "az://c", Some(&account)), long);
        assert_ne!(identity(Service::Azure, "az://c", None), long);
        assert_eq!(
            identity(Service::S3, "s3a://b", None),
            identity(Service::S3, "s3://b", Some(&account))
        );
    }

    #[test]
    fn an_option_or_a_store_that_there_is_not_is_refused() {
        let refused = |section: &str, key: &str| {
            let options = BTreeMap::from([(key.to_owned(), "x".to_owned())]);
            Stores::new(Vec::new(), BTreeMap::from([(section.to_owned(), options)]))
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(
            refused("s3", "endpiont").as_deref(),
            Some("[stores.s3]: there is no option 'endpiont'")
        );
        assert_eq!(
            refused("ftp", "endpoint").as_deref(),
            Some("[stores.ftp]: unknown object store type")
        );
        assert_eq!(refused("gs", "max_retries"), None);
        assert!(
            refused("s3://bucket/path", "endpoint").is_some()
                && refused("azure", "endpoint").is_some()
        );
    }
}
