//! The upgrade, from the client's side.

use std::fmt::Write;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Wire;
use crate::client::{DialError, Endpoint, reach};

/// Longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What an upgrade asks for.
#[derive(Debug)]
pub(in crate::bench) struct Upgrade<'a> {
    pub(in crate::bench) endpoint: &'a Endpoint,
    /// The request's target.
    pub(in crate::bench) path: &'a str,
    pub(in crate::bench) bearer: Option<&'a SecretString>,
    pub(in crate::bench) protocol: Option<&'a str>,
    pub(in crate::bench) source: Option<IpAddr>,
}

impl Upgrade<'_> {
    /// Connects and upgrades.
    ///
    /// # Errors
    /// [`DialError`]. The caller bounds it.
    pub(in crate::bench) async fn open(&self) -> Result<Wire, DialError> {
        let mut stream = reach(self.endpoint, self.source).await?;
        let key = generate_key();
        let request = self.request(&key);
        stream.write_all(request.as_bytes()).await.map_err(|error| DialError::broken(&error))?;
        let (answer, end) = head(&mut stream).await?;
        let text = String::from_utf8_lossy(&answer[..end]);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        match status {
            Some(101) if field(&text, "sec-websocket-accept") == Some(&derive_accept_key(key.as_bytes())) => {
            }
            Some(101) => {
                return Err(DialError::failed("answer", &"the answer's Sec-WebSocket-Accept is wrong"));
            }
            Some(status) => {
                return Err(DialError::refused(status, field(&text, "retry-after"), &answer[end..]));
            }
            None => return Err(DialError::failed("answer", &"not an answer in HTTP")),
        }
        if field(&text, "sec-websocket-protocol") != self.protocol {
            return Err(DialError::failed("answer", &"the server does not speak the subprotocol"));
        }
        Ok(Wire::new(stream, &answer[end..]))
    }

    fn request(&self, key: &str) -> String {
        let authority = self.endpoint.uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            self.path
        );
        // A String takes all that is written.
        if let Some(token) = self.bearer {
            let _ = write!(request, "Authorization: Bearer {}\r\n", token.expose_secret());
        }
        if let Some(protocol) = self.protocol {
            let _ = write!(request, "Sec-WebSocket-Protocol: {protocol}\r\n");
        }
        request.push_str("\r\n");
        request
    }
}

/// Reads until the head is there; with where it ends.
async fn head(stream: &mut TcpStream) -> Result<(Vec<u8>, usize), DialError> {
    let mut answer = Vec::with_capacity(1024);
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err(DialError::failed("reset", &"closed without an answer")),
            Ok(_) => {}
            Err(error) => return Err(DialError::broken(&error)),
        }
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok((answer, end + 4));
        }
        if answer.len() > MAX_HEAD_BYTES {
            return Err(DialError::failed("answer", &"the answer's head does not end"));
        }
    }
}

/// The value of a field of the head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_whatever_its_case() {
        let head = "HTTP/1.1 503 Full\r\nRetry-AFTER:  30 \r\nx: y\r\n\r\n";
        assert_eq!((field(head, "retry-after"), field(head, "z")), (Some("30"), None));
    }
}
