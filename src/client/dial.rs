//! Opening one connection, and the ways in which that fails.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderName, HeaderValue, Response};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::endpoint::Endpoint;

/// An open connection.
pub type Socket = WebSocketStream<TcpStream>;

/// The subprotocol with frames of the service's own.
const V1: HeaderValue = HeaderValue::from_static("websocket-service.v1");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Allocated by every connection as soon as it is open; longer messages make it grow. tungstenite's default is 128 KiB.
const READ_BUFFER_BYTES: usize = 512;

/// Longest wait that a refusal can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Longest part of a refusal's body that is kept, in bytes.
const MAX_REFUSAL_BYTES: usize = 512;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Answered in HTTP with something else than the upgrade.
    #[error("refused with {status}: {said}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// How long to stay away, where the answer says so; at most a minute.
        retry_after: Option<Duration>,
        /// The beginning of the answer's body.
        said: String,
    },
    /// No answer at all, or none that can be understood.
    #[error("{reason}")]
    Failed {
        /// What kind of failure: one of a few words.
        kind: &'static str,
        /// The same at length.
        reason: String,
    },
}

impl DialError {
    /// A failure of this kind.
    #[must_use]
    pub fn failed(kind: &'static str, reason: &impl ToString) -> Self {
        Self::Failed { kind, reason: reason.to_string() }
    }

    /// What the network, or this machine, said.
    #[must_use]
    pub fn broken(error: &io::Error) -> Self {
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
            HostUnreachable, NetworkUnreachable, TimedOut, UnexpectedEof,
        };
        let kind = match error.kind() {
            // This process may open no more; see `open_files`.
            _ if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => "files",
            ConnectionRefused => "refused",
            ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof => "reset",
            TimedOut => "timeout",
            HostUnreachable | NetworkUnreachable => "unreachable",
            // This machine's own ports are used up, or the source address is not its own.
            AddrInUse | AddrNotAvailable => "ports",
            _ => "other",
        };
        Self::failed(kind, error)
    }

    /// An answer in HTTP with something else than the upgrade.
    #[must_use]
    pub fn refused(status: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let seconds = retry_after.and_then(|value| value.trim().parse().ok());
        let said = String::from_utf8_lossy(&body[..body.len().min(MAX_REFUSAL_BYTES)]);
        Self::Refused {
            status,
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
            said: said.trim().escape_debug().to_string(),
        }
    }
}

/// What one connection is asked for.
#[derive(Debug, Default)]
pub struct Hello<'a> {
    /// Whether to speak `websocket-service.v1`; a server that does not is a failure of the kind `answer`.
    pub v1: bool,
    /// Where to resume.
    pub last_event_id: Option<&'a str>,
    /// The local address to connect from; none leaves it to the system.
    pub source: Option<IpAddr>,
}

/// Connects. The name is looked up each time: pods come and go.
///
/// # Errors
/// [`DialError`]; after `bound`, which holds from the look-up of the name to the 101, one of the kind `timeout`.
pub async fn dial(
    endpoint: &Endpoint,
    token: &SecretString,
    hello: &Hello<'_>,
    bound: Duration,
) -> Result<Socket, DialError> {
    match timeout(bound, connect(endpoint, token, hello)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DialError::failed("timeout", &format!("no answer within {bound:?}"))),
    }
}

async fn connect(endpoint: &Endpoint, token: &SecretString, hello: &Hello<'_>) -> Result<Socket, DialError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(|error| DialError::failed("token", &error))?;
    bearer.set_sensitive(true);
    let mut request =
        endpoint.uri.clone().into_client_request().map_err(|error| DialError::failed("url", &error))?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    if hello.v1 {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, V1);
    }
    if let Some(id) = hello.last_event_id {
        let id = HeaderValue::try_from(id).map_err(|error| DialError::failed("cursor", &error))?;
        request.headers_mut().insert(LAST_EVENT_ID, id);
    }

    let stream = reach(endpoint, hello.source).await?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(0);
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(refused(&answer)),
        Err(Error::Io(error)) => Err(DialError::broken(&error)),
        Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => {
            Err(DialError::failed("reset", &"closed without an answer"))
        }
        Err(error) => Err(DialError::failed("answer", &error)),
    }
}

/// Opens a TCP connection, from `source` where there is one. The name is looked up each time.
///
/// # Errors
/// [`DialError`]. There is no bound but the system's.
pub async fn reach(endpoint: &Endpoint, source: Option<IpAddr>) -> Result<TcpStream, DialError> {
    let Endpoint { host, port, .. } = endpoint;
    let found = lookup_host((host.as_str(), *port)).await;
    let mut last = None;
    for address in found.map_err(|error| DialError::failed("resolve", &error))? {
        match connect_from(source, address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || DialError::failed("resolve", &"the name has no address"),
        |error| DialError::broken(&error),
    ))
}

async fn connect_from(source: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

fn refused(answer: &Response<Option<Vec<u8>>>) -> DialError {
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    DialError::refused(answer.status().as_u16(), retry_after, answer.body().as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(value: &str) -> Option<Duration> {
        let answer =
            Response::builder().status(503).header(RETRY_AFTER, value).body(Some(b"full\n".to_vec()));
        match refused(&answer.expect("an answer")) {
            DialError::Refused { status: 503, retry_after, said } if said == "full" => retry_after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_says_how_long_to_stay_away() {
        assert_eq!(retry_after("3"), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("86400"), Some(MAX_RETRY_AFTER), "no answer silences a client for a day");
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
