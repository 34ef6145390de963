//! Publishing over HTTP.

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

/// For one request, from connecting to the last byte of the answer.
const BOUND: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Longest part of a refusal that is reported, in characters.
const MAX_SAID: usize = 200;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Publishes with `POST /v1/users/{id}/messages`, over connections that are kept.
pub(super) struct HttpPublisher {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: String,
    bearer: HeaderValue,
}

impl HttpPublisher {
    /// # Errors
    /// When the key has characters that no header can carry.
    pub(super) fn new(url: &Uri, key: &SecretString) -> anyhow::Result<Self> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))?;
        bearer.set_sensitive(true);
        let origin = url.to_string().trim_end_matches('/').to_owned();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), origin, bearer })
    }

    /// Publishes once.
    ///
    /// # Errors
    /// [`Failure::Fatal`] where the same request would be refused again; otherwise [`Failure::Again`].
    pub(super) async fn publish(&self, message: &Outgoing<'_>) -> Result<(), Failure> {
        let request = self.request(message).map_err(|error| Failure::Fatal(error.to_string()))?;
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let (status, body) = match timeout(BOUND, asked).await {
            Ok(outcome) => outcome.map_err(Failure::Again)?,
            Err(_) => return Err(Failure::Again(format!("no answer within {BOUND:?}"))),
        };
        let said: String = String::from_utf8_lossy(&body).chars().take(MAX_SAID).collect();
        let said = format!("{status}: {}", said.escape_debug());
        match status {
            StatusCode::ACCEPTED => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Again(said)),
            _ if status.is_client_error() => Err(Failure::Fatal(said)),
            _ => Err(Failure::Again(said)),
        }
    }

    fn request(&self, message: &Outgoing<'_>) -> http::Result<Request<Full<Bytes>>> {
        Request::post(format!("{}/v1/users/{}/messages", self.origin, segment(message.user)))
            .header(AUTHORIZATION, self.bearer.clone())
            .header(CONTENT_TYPE, JSON)
            .header(IDEMPOTENCY_KEY, message.key)
            .body(Full::from(message.text.to_owned()))
    }
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
