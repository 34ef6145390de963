use std::borrow::Cow;
use std::fmt;

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};

use super::TokenError;
use crate::protocol::frame::V1_PROTOCOL;
use crate::protocol::limits::MAX_TOKEN_BYTES;

/// The subprotocol name before the token, for browsers, which can set no other header.
pub const BEARER_PROTOCOL: &str = "bearer";

/// A token as it came in. Not verified. Its `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token itself, for verifying. Never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// What a request says about who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The one token of the request, or why there is none to verify.
    pub token: Result<Token, TokenError>,
    /// What the 101 answers in `Sec-WebSocket-Protocol`: v1 where it was offered, else `bearer`, also when the token is
    /// refused, since a browser that offered something and gets no selection never sees the close code.
    pub subprotocol: Option<&'static str>,
}

/// Finds the token of a request: `token` in the query, `Authorization: Bearer`, or the item after `bearer` in
/// `Sec-WebSocket-Protocol` (a comma-separated list, which may be spread over several lines).
///
/// `token` and `bearer` are matched by case, the scheme `Bearer` is not. Other schemes of `Authorization` are left to
/// whoever put them there. Naming a token twice is refused even where both are equal or one is empty: two readers of
/// one request must not be able to disagree about which one counts.
#[must_use]
pub fn from_request(query: Option<&str>, headers: &HeaderMap) -> Presented {
    let mut found = Found::default();
    found.query(query.unwrap_or_default());
    for value in headers.get_all(AUTHORIZATION) {
        if let Some(credentials) = bearer_credentials(value) {
            found.bytes(credentials);
        }
    }
    let subprotocol = found.protocols(headers);
    Presented { token: found.token(), subprotocol }
}

/// What follows the scheme `Bearer`; `None` for any other scheme.
pub(super) fn bearer_credentials(value: &HeaderValue) -> Option<&[u8]> {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}

/// The tokens seen so far. More than one is an error, whatever they are.
#[derive(Default)]
struct Found {
    count: usize,
    first: Option<Result<String, TokenError>>,
}

impl Found {
    fn add(&mut self, token: Result<String, TokenError>) {
        self.count += 1;
        self.first.get_or_insert(token);
    }

    fn bytes(&mut self, token: &[u8]) {
        self.add(if token.len() > MAX_TOKEN_BYTES {
            Err(TokenError::TooLong)
        } else {
            std::str::from_utf8(token).map(str::to_owned).map_err(|_| TokenError::Encoding)
        });
    }

    fn query(&mut self, query: &str) {
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A broken name is not `token`, whatever it was meant to be.
            if decode_form(name).as_deref() != Some("token") {
                continue;
            }
            // An escape takes three bytes for one, so this bounds the work before the decoding.
            self.add(if value.len() > 3 * MAX_TOKEN_BYTES {
                Err(TokenError::TooLong)
            } else {
                match decode_form(value) {
                    None => Err(TokenError::Encoding),
                    Some(token) if token.len() > MAX_TOKEN_BYTES => Err(TokenError::TooLong),
                    Some(token) => Ok(token.into_owned()),
                }
            });
        }
    }

    /// Adds the tokens offered as subprotocols, and says which subprotocol to select.
    fn protocols(&mut self, headers: &HeaderMap) -> Option<&'static str> {
        let mut selected = None;
        let mut items = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|item| !item.is_empty())
            .peekable();
        while let Some(item) = items.next() {
            if item == V1_PROTOCOL.as_bytes() {
                selected = Some(V1_PROTOCOL);
            } else if item == BEARER_PROTOCOL.as_bytes() {
                selected = selected.or(Some(BEARER_PROTOCOL));
                if let Some(token) = items.next_if(|item| *item != V1_PROTOCOL.as_bytes()) {
                    self.bytes(token);
                }
            }
        }
        selected
    }

    fn token(self) -> Result<Token, TokenError> {
        match self.first {
            _ if self.count > 1 => Err(TokenError::Several),
            None => Err(TokenError::Missing),
            Some(Ok(token)) if token.is_empty() => Err(TokenError::Missing),
            Some(token) => token.map(Token),
        }
    }
}

/// Undoes form encoding strictly: `None` for a broken escape or what is no UTF-8. The usual crates mend both silently,
/// which would let a token other than the one sent be looked at.
pub(crate) fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(hex(bytes.next())? * 16 + hex(bytes.next())?).ok()?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
