use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::KeySetError;
use crate::tls::system_roots;

/// How long one fetch may take, from the look-up of the name to the last byte.
pub(super) const BOUND: Duration = Duration::from_secs(5);

/// Largest document that is read: a hundred RSA keys with their certificates have some 300 KiB.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// For an answer's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;

const AGENT: &str = concat!("websocket-service/", env!("CARGO_PKG_VERSION"));

/// A document as it came.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Bytes,
    /// How long it may be used, where the issuer says so (`Cache-Control: max-age`).
    pub(super) max_age: Option<Duration>,
}

/// Where documents come from: HTTP, or a test's script.
#[async_trait]
pub(super) trait Origin: Send + Sync + 'static {
    /// Fetches it anew, within a bound of its own.
    async fn get(&self) -> Result<Document, KeySetError>;
}

/// A URL.
pub(super) struct Web(pub(super) Uri);

#[async_trait]
impl Origin for Web {
    async fn get(&self) -> Result<Document, KeySetError> {
        timeout(BOUND, self.ask()).await.unwrap_or(Err(KeySetError::Timeout(BOUND)))
    }
}

impl Web {
    /// A client for each fetch: they are minutes apart, and authorities are rotated too. Redirects are not followed, for
    /// the operator named a place, and where it points is somebody else's choice.
    async fn ask(&self) -> Result<Document, KeySetError> {
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build::<_, Empty<Bytes>>(connector(self.0.scheme_str() == Some("https")).await?);
        let request = Request::get(&self.0).header(ACCEPT, "application/json, application/jwk-set+json");
        let request = request.header(USER_AGENT, AGENT).body(Empty::new());
        let request = request.map_err(|error| KeySetError::Unreachable(error.to_string()))?;
        let answer = client.request(request).await.map_err(|error| KeySetError::Unreachable(root(&error)))?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(KeySetError::Redirect(status.as_u16())),
            status => return Err(KeySetError::Status(status.as_u16())),
        }
        let max_age = max_age(answer.headers());
        let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                KeySetError::TooLarge(MAX_BODY_BYTES / 1024)
            } else {
                KeySetError::Unreachable(root(&*error))
            }
        })?;
        Ok(Document { body: body.to_bytes(), max_age })
    }
}

/// Plain or TLS, as the URL says, and never the other.
async fn connector(tls: bool) -> Result<HttpsConnector<HttpConnector>, KeySetError> {
    let builder = HttpsConnectorBuilder::new();
    let connector = if tls {
        let trust = spawn_blocking(system_roots).await.map_err(io::Error::other);
        let trust = trust.flatten().map_err(|error| KeySetError::Authorities(error.to_string()))?;
        let config = ClientConfig::builder().with_root_certificates(trust).with_no_client_auth();
        builder.with_tls_config(config).https_only().enable_http1().build()
    } else {
        let nobody = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
        builder.with_tls_config(nobody.with_no_client_auth()).https_or_http().enable_http1().build()
    };
    Ok(connector)
}

/// The `max-age` of `Cache-Control`. What forbids to keep it says nothing of how long, and is as if it were 0.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).find_map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => Some(Duration::ZERO),
            "max-age" => value.trim().trim_matches('"').parse().ok().map(Duration::from_secs),
            _ => None,
        }
    })
}

/// The innermost cause: "connection refused" says more than "client error".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
