//! Publishing over HTTP: to the service, or to a Centrifugo.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::publisher::{Failure, Outgoing};
use crate::bench::dialect::centrifugo;

/// For one request, from connecting to the last byte of the answer.
const BOUND: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Longest part of a refusal that is reported, in characters.
const MAX_SAID: usize = 200;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Publishes over connections that are kept.
pub(super) struct HttpPublisher {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: String,
    /// The header with the key.
    key: (HeaderName, HeaderValue),
}

impl HttpPublisher {
    /// To the service's `POST /v1/users/{id}/messages`.
    ///
    /// # Errors
    /// When the key has characters that no header can carry.
    pub(super) fn new(url: &Uri, key: &SecretString) -> anyhow::Result<Self> {
        Self::with_key(url, AUTHORIZATION, &format!("Bearer {}", key.expose_secret()))
    }

    /// To the `POST /api/batch` of a Centrifugo.
    ///
    /// # Errors
    /// As for [`HttpPublisher::new`].
    pub(super) fn centrifugo(url: &Uri, key: &SecretString) -> anyhow::Result<Self> {
        Self::with_key(url, centrifugo::API_KEY, key.expose_secret())
    }

    fn with_key(url: &Uri, header: HeaderName, key: &str) -> anyhow::Result<Self> {
        let mut value = HeaderValue::try_from(key)?;
        value.set_sensitive(true);
        let origin = url.to_string().trim_end_matches('/').to_owned();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), origin, key: (header, value) })
    }

    /// Publishes once.
    ///
    /// # Errors
    /// [`Failure::Fatal`] where the same request would be refused again; otherwise [`Failure::Again`].
    pub(super) async fn publish(&self, message: &Outgoing<'_>) -> Result<(), Failure> {
        let path = format!("/v1/users/{}/messages", segment(message.user));
        let request = self.post(&path).header(IDEMPOTENCY_KEY, message.key);
        let request = request.body(Full::from(message.text.to_owned()));
        let (status, body) = self.send(request).await?;
        match status {
            StatusCode::ACCEPTED => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Again(said(status, &body)))
            }
            _ if status.is_client_error() => Err(Failure::Fatal(said(status, &body))),
            _ => Err(Failure::Again(said(status, &body))),
        }
    }

    /// Publishes several in one request, to a Centrifugo.
    ///
    /// # Errors
    /// [`Failure::Fatal`] where it is refused, [`Failure::Unknown`] where some may have been published.
    pub(super) async fn publish_batch(&self, messages: &[Outgoing<'_>]) -> Result<(), Failure> {
        let body = centrifugo::batch(messages.iter().map(|message| (message.user, message.text)));
        let request = self.post(centrifugo::BATCH).body(Full::from(body));
        let outcome = self.send(request).await;
        let (status, body) = outcome.map_err(|failure| match failure {
            Failure::Again(reason) => Failure::Unknown(reason),
            other => other,
        })?;
        match status {
            StatusCode::OK if !centrifugo::has_error(&body) => Ok(()),
            _ if status.is_server_error() => Err(Failure::Unknown(said(status, &body))),
            _ => Err(Failure::Fatal(said(status, &body))),
        }
    }

    fn post(&self, path: &str) -> http::request::Builder {
        let (header, key) = &self.key;
        Request::post(format!("{}{path}", self.origin)).header(header, key).header(CONTENT_TYPE, JSON)
    }

    async fn send(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let request = request.map_err(|error| Failure::Fatal(error.to_string()))?;
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        match timeout(BOUND, asked).await {
            Ok(outcome) => outcome.map_err(Failure::Again),
            Err(_) => Err(Failure::Again(format!("no answer within {BOUND:?}"))),
        }
    }
}

/// An answer, for a report.
fn said(status: StatusCode, body: &[u8]) -> String {
    let said: String = String::from_utf8_lossy(body).chars().take(MAX_SAID).collect();
    format!("{status}: {}", said.escape_debug())
}

/// A user id as a segment of a path.
fn segment(user: &str) -> String {
    let mut segment = String::with_capacity(user.len());
    for byte in user.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(byte.into()),
            // A String takes all that is written.
            _ => drop(write!(segment, "%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_user_id_fits_into_a_path() {
        assert_eq!(segment("u-1_2.~"), "u-1_2.~");
        assert_eq!(segment("a/b ä?"), "a%2Fb%20%C3%A4%3F");
    }
}
