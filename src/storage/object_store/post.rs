//! Sending a JSON document to a URL, by the HTTP client and the threads of object stores.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use object_store::ClientOptions;
use object_store::client::{HttpConnector, HttpRequestBody, ReqwestConnector};
use tokio::runtime::Runtime;

use crate::error::{Context, Error, Result};
use crate::secret::Secret;
use crate::storage::object_store::bucket::wait;
use crate::storage::object_store::failures::cause;

/// How long the answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where documents are sent to.
#[derive(Clone)]
pub struct Endpoint {
    /// The URL.
    pub url: String,
    /// What is sent as a bearer token, if anything is.
    pub api_key: Option<Secret>,
    pub(super) runtime: Arc<OnceLock<Runtime>>,
}

impl Endpoint {
    /// Sends a JSON document by POST, and waits at most five seconds for the answer.
    ///
    /// # Errors
    /// A usage error for a key that no header holds; a failure if the server cannot be reached in
    /// time or answers with anything but success.
    pub fn post(&self, document: String) -> Result<()> {
        let doing = || format!("cannot send to '{}'", self.url);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.api_key {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            let mut value = value.map_err(|_| {
                Error::usage(format!("{}: the API key is not a valid token", doing()))
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(HttpRequestBody::from(document))
            .io_context(doing)?;
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(TIMEOUT)
            .with_connect_timeout(TIMEOUT);
        let client = ReqwestConnector::default()
            .connect(&options)
            .io_context(doing)?;
        let what = doing();
        wait(&self.runtime, &self.url, async move {
            let answer = client.execute(request).await;
            let answer = answer.map_err(|error| Error::io(format!("{what}: {}", cause(&error))))?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(Error::io(format!("{what}: the server answers {status}"))),
            }
        })
    }
}
