//! Asking a neighbour for a small document over plain HTTP: a pod's `/status` or `/metrics`, a sidecar's `/gauge`.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// Largest answer that is read: a page of metrics has some ten KiB, the other documents a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is no URL of plain HTTP.
    #[error("{0} is no http:// URL")]
    Url(String),
    /// Nothing listens there, or the connection broke.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// Not within the bound.
    #[error("{url} did not answer within {bound:?}")]
    Timeout {
        /// What was asked.
        url: String,
        /// How long it was waited for.
        bound: Duration,
    },
    /// An answer, but not with 200, or to a POST with no success.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status of the answer.
        status: u16,
    },
    /// Not the document that was expected.
    #[error("{url} answered something else than expected: {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub struct Fetch {
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>>,
    bound: Duration,
}

impl Fetch {
    /// `bound`: how long one answer may take, from connecting to its last byte.
    #[must_use]
    pub fn new(bound: Duration) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), bound }
    }

    /// GETs a document.
    ///
    /// # Errors
    /// When there is none, with a text that names the URL.
    pub async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        let body = self.get(url).await?;
        serde_json::from_slice(&body)
            .map_err(|error| FetchError::Answer { url: url.to_owned(), reason: error.to_string() })
    }

    /// GETs a text.
    ///
    /// # Errors
    /// As for [`Fetch::json`].
    pub async fn text(&self, url: &str) -> Result<String, FetchError> {
        Ok(String::from_utf8_lossy(&self.get(url).await?).into_owned())
    }

    /// Sees that the answer is a 200, whatever it says.
    ///
    /// # Errors
    /// When it is not, with a text that names the URL.
    pub async fn ok(&self, url: &str) -> Result<(), FetchError> {
        self.get(url).await.map(|_| ())
    }

    /// POSTs nothing, and sees that the answer is a success.
    ///
    /// # Errors
    /// When it is not, with a text that names the URL.
    pub async fn post(&self, url: &str) -> Result<(), FetchError> {
        self.bounded(url, Method::POST).await.map(|_| ())
    }

    async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        self.bounded(url, Method::GET).await
    }

    async fn bounded(&self, url: &str, method: Method) -> Result<Bytes, FetchError> {
        match timeout(self.bound, self.ask(url, method)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchError::Timeout { url: url.to_owned(), bound: self.bound }),
        }
    }

    async fn ask(&self, url: &str, method: Method) -> Result<Bytes, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let reads = method == Method::GET;
        *request.method_mut() = method;
        let unreachable = |reason: String| FetchError::Unreachable { url: url.to_owned(), reason };
        let answer = self.client.request(request).await.map_err(|error| unreachable(root(&error)))?;
        let status = answer.status();
        if (reads && status != StatusCode::OK) || !status.is_success() {
            return Err(FetchError::Status { url: url.to_owned(), status: status.as_u16() });
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        Ok(body.collect().await.map_err(|error| unreachable(error.to_string()))?.to_bytes())
    }
}

/// The innermost cause: "connection refused" says more than "client error".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
