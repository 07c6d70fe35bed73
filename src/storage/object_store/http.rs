//! Between the clients of object stores and the network: every request is counted, and the one that
//! completes an upload in parts is given the condition that its client has no words for.
//!
//! **Counting.** A request is one HTTP request, so that a retry is another one, and a listing of
//! three pages is three. Bytes are those of bodies.
//!
//! **Conditions.** S3 and Azure publish an upload in parts if a condition holds, as they do a
//! single write: S3 since 2024 on `CompleteMultipartUpload`, Azure on `Put Block List`. The clients
//! cannot say so; `CONDITION` is set around the call that completes, and the header is added here.
//! S3 signs no such header; Azure does, and is signed again. Google refuses conditions there (it
//! answers 400), but takes them on a copy, with which its uploads end: see [`super::upload`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_store::ClientOptions;
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use serde::Serialize;
use tracing::debug;

use crate::storage::object_store::patience::SILENCE;
use crate::storage::object_store::service::WriteCondition;

/// What Google's copies are told by.
const GOOGLE_COPY: &str = "x-goog-copy-source";
/// Google's condition: the number of the version that is replaced, 0 for none.
const GOOGLE_GENERATION: HeaderName = HeaderName::from_static("x-goog-if-generation-match");

tokio::task_local! {
    /// The condition under which the upload that is being completed is to be published.
    pub(crate) static CONDITION: WriteCondition;
}

/// How many requests of each kind were made, and how many bytes went either way.
#[derive(Debug, Default)]
pub struct Requests {
    list: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    put: AtomicU64,
    copy: AtomicU64,
    delete: AtomicU64,
    other: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// [`Requests`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// Pages of listings.
    pub list: u64,
    /// Reads of objects or of ranges of them.
    pub get: u64,
    /// Looks at an object without its content.
    pub head: u64,
    /// Writes of objects or of parts of them.
    pub put: u64,
    /// Copies that the store made itself.
    pub copy: u64,
    /// Deletions.
    pub delete: u64,
    /// What begins and completes uploads in parts, and asks for credentials.
    pub other: u64,
    /// Bytes of answers.
    pub bytes_received: u64,
    /// Bytes of what was written.
    pub bytes_sent: u64,
}

impl RequestCounts {
    /// How many requests there were in all.
    pub fn total(&self) -> u64 {
        self.list + self.get + self.head + self.put + self.copy + self.delete + self.other
    }

    /// What was asked since an earlier count; nothing if that is nothing.
    pub fn since(&self, earlier: &RequestCounts) -> Option<RequestCounts> {
        let since = RequestCounts {
            list: self.list - earlier.list,
            get: self.get - earlier.get,
            head: self.head - earlier.head,
            put: self.put - earlier.put,
            copy: self.copy - earlier.copy,
            delete: self.delete - earlier.delete,
            other: self.other - earlier.other,
            bytes_received: self.bytes_received - earlier.bytes_received,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
        };
        (since.total() > 0).then_some(since)
    }

    /// The kinds that there were any of, in words.
    pub fn by_verb(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("LIST", self.list),
            ("GET", self.get),
            ("HEAD", self.head),
            ("PUT", self.put),
            ("COPY", self.copy),
            ("DELETE", self.delete),
            ("other", self.other),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl Requests {
    /// What was counted so far.
    pub fn counts(&self) -> RequestCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RequestCounts {
            list: of(&self.list),
            get: of(&self.get),
            head: of(&self.head),
            put: of(&self.put),
            copy: of(&self.copy),
            delete: of(&self.delete),
            other: of(&self.other),
            bytes_received: of(&self.received),
            bytes_sent: of(&self.sent),
        }
    }

    fn count(&self, request: &HttpRequest) {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| {
            query
                .split('&')
                .any(|pair| pair == name || pair.split('=').next() == Some(name))
        };
        let copies = ["x-amz-copy-source", GOOGLE_COPY, "x-ms-copy-source"];
        let counter = match *request.method() {
            Method::GET if has("list-type") || query.contains("comp=list") => &self.list,
            Method::GET => &self.get,
            Method::HEAD => &self.head,
            Method::PUT
                if copies
                    .iter()
                    .any(|name| request.headers().contains_key(*name)) =>
            {
                &self.copy
            }
            Method::PUT => &self.put,
            Method::DELETE => &self.delete,
            Method::POST if has("delete") || query.contains("comp=batch") => &self.delete,
            _ => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(
            length(request.headers()).unwrap_or(request.body().content_length() as u64),
            Ordering::Relaxed,
        );
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How an Azure request is signed: known only when its store has been built.
#[derive(Clone, Default)]
pub(crate) struct AzureSignature(Arc<OnceLock<(AzureCredentialProvider, String)>>);

impl AzureSignature {
    /// Says how to sign, once.
    pub(crate) fn set(&self, credentials: AzureCredentialProvider, account: String) {
        let _ = self.0.set((credentials, account));
    }
}

/// Makes clients whose requests are counted and conditional.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) requests: Arc<Requests>,
    pub(crate) azure: AzureSignature,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CountingClient {
            inner,
            connector: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct CountingClient {
    inner: HttpClient,
    connector: Connector,
}

#[async_trait]
impl HttpService for CountingClient {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Ok(condition) = CONDITION.try_with(Clone::clone)
            && publishes(&request)
        {
            self.impose(&mut request, &condition).await?;
        }
        self.connector.requests.count(&request);
        let method = request.method().clone();
        // Not the query, which may hold a signature.
        let path = request.uri().path().to_owned();
        let is_head = method == Method::HEAD;
        let answer = match is_head || method == Method::GET {
            false => self.inner.execute(request).await,
            true => tokio::time::timeout(SILENCE, self.inner.execute(request))
                .await
                .unwrap_or_else(|silence| Err(HttpError::new(HttpErrorKind::Timeout, silence))),
        };
        let response = answer.inspect_err(|error| {
            debug!(%method, path, kind = ?error.kind(), "a request has no answer");
        })?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            debug!(%method, path, %status, "a store is busy or failed");
        }
        if !is_head {
            self.connector
                .requests
                .received
                .fetch_add(length(response.headers()).unwrap_or(0), Ordering::Relaxed);
        }
        Ok(response)
    }
}

impl CountingClient {
    /// Adds the header of a condition, and signs anew where signatures cover it.
    async fn impose(
        &self,
        request: &mut HttpRequest,
        condition: &WriteCondition,
    ) -> Result<(), HttpError> {
        let (name, value): (HeaderName, &str) =
            match (condition, request.headers().contains_key(GOOGLE_COPY)) {
                (WriteCondition::Absent, false) => (IF_NONE_MATCH, "*"),
                (WriteCondition::Unchanged(version), false) => {
                    (IF_MATCH, version.e_tag.as_deref().unwrap_or_default())
                }
                (WriteCondition::Absent, true) => (GOOGLE_GENERATION, "0"),
                (WriteCondition::Unchanged(version), true) => (
                    GOOGLE_GENERATION,
                    version.version.as_deref().unwrap_or_default(),
                ),
            };
        let value = HeaderValue::from_str(value)
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        request.headers_mut().insert(name, value);
        let shared_key = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("SharedKey "));
        if let Some((credentials, account)) = self.connector.azure.0.get().filter(|_| shared_key) {
            let credential = credentials
                .get_credential()
                .await
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            request.headers_mut().remove(AUTHORIZATION);
            AzureAuthorizer::new(&credential, account).authorize(request);
        }
        Ok(())
    }
}

/// Whether a request makes an object of the parts or of the copy that were uploaded before.
fn publishes(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::POST => query.contains("uploadId="),
        Method::PUT => {
            query.contains("comp=blocklist") || request.headers().contains_key(GOOGLE_COPY)
        }
        _ => false,
    }
}
