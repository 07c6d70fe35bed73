//! Buckets and containers that are open: each is opened once a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object_store::memory::InMemory;
use tokio::runtime::Runtime;

use crate::error::Result;
use crate::secret::Secret;
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::clients;
use crate::storage::object_store::http::{RequestCounts, Requests};
use crate::storage::object_store::listing::MemoryPages;
use crate::storage::object_store::options::{Sections, check_section, options, usual_name};
use crate::storage::object_store::patience::{RETRIES, RETRY_TIMEOUT};
use crate::storage::object_store::post::Endpoint;
use crate::storage::object_store::service::Service;

/// Opens stores, each once.
pub struct Stores {
    variables: Vec<(String, Secret)>,
    configured: Sections,
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
    pub fn new(variables: Vec<(String, Secret)>, configured: Sections) -> Result<Self> {
        for (section, options) in &configured {
            check_section(section, options)?;
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

    /// A URL that documents are sent to, on the stores' threads.
    pub fn endpoint(&self, url: String, api_key: Option<Secret>) -> Endpoint {
        Endpoint {
            url,
            api_key,
            runtime: self.runtime.clone(),
        }
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
        let store = match service {
            Service::Memory => self.in_memory(url),
            _ => {
                let options = options(&self.variables, &self.configured, service, url)?;
                Arc::new(clients::open(
                    service,
                    url,
                    options,
                    self.requests.clone(),
                    self.runtime.clone(),
                )?)
            }
        };
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
                .map(|(name, value)| ((*name).to_owned(), Secret::from(*value)))
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
    fn an_option_or_a_store_that_there_is_not_is_refused() {
        let refused = |section: &str, key: &str| {
            let options = BTreeMap::from([(key.to_owned(), "x".into())]);
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
