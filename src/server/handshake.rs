//! The WebSocket handshake of RFC 6455 §4.2. Not axum's: its extractor answers with texts of its own, and wraps the
//! socket twice for as long as it lives.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::protocol::{ErrorCode, ServiceError};

/// A request that asks for a WebSocket, checked.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
}

impl Handshake {
    /// Checks the request's method and headers.
    ///
    /// # Errors
    /// 426 where no WebSocket is asked for, or another version of it; 400 where the key is no key.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Result<Self, ServiceError> {
        let asked = method == Method::GET
            && lists(headers, header::CONNECTION, "upgrade")
            && lists(headers, header::UPGRADE, "websocket");
        if !asked {
            return Err(upgrade_required());
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
            return Err(refuse("Sec-WebSocket-Version must be 13").with_status(StatusCode::UPGRADE_REQUIRED));
        }
        // 16 bytes in base64: 22 digits and two signs of equality. What they are does not matter.
        match headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes) {
            Some(key) if key.len() == 24 && key.ends_with(b"==") => {
                Ok(Self { accept: derive_accept_key(key) })
            }
            _ => Err(refuse("Sec-WebSocket-Key must be 16 bytes in base64")),
        }
    }

    /// The 101, with the subprotocol that was selected.
    pub(super) fn switch(self, subprotocol: Option<&'static str>) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(subprotocol) = subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        response
    }
}

/// The answer to a request that asks for no WebSocket.
pub(super) fn upgrade_required() -> ServiceError {
    refuse("This path takes a WebSocket upgrade").with_status(StatusCode::UPGRADE_REQUIRED)
}

fn refuse(message: &'static str) -> ServiceError {
    ServiceError::new(ErrorCode::InvalidRequest, "connect", message)
}

/// Whether a comma-separated header has this item, without regard to ASCII case.
fn lists(headers: &HeaderMap, name: header::HeaderName, item: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(item.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    const GOOD: [(header::HeaderName, &str); 4] = [
        (header::CONNECTION, "keep-alive, Upgrade"),
        (header::UPGRADE, "WebSocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn answers_the_example_of_the_rfc() {
        let response =
            Handshake::of(&Method::GET, &headers(&GOOD)).expect("a handshake").switch(Some("bearer"));
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "bearer");
    }

    #[test]
    fn says_what_is_missing() {
        let status = |method, pairs: &[(header::HeaderName, &'static str)]| {
            Handshake::of(&method, &headers(pairs)).err().map(|error| error.status().as_u16())
        };
        assert_eq!(status(Method::GET, &[]), Some(426));
        assert_eq!(status(Method::HEAD, &GOOD), Some(426));
        assert_eq!(status(Method::GET, &GOOD[..2]), Some(426));
        assert_eq!(status(Method::GET, &GOOD[..3]), Some(400));
        let mut short = GOOD;
        short[3].1 = "c2hvcnQ=";
        assert_eq!(status(Method::GET, &short), Some(400));
    }
}
