//! A WebSocket client that shows frames as they come.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::http::Answer;
use super::{LOCAL, within};

/// An open connection.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The headers of the 101.
    pub(crate) headers: Vec<(String, String)>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Closed {
    /// A field of the reason's JSON.
    pub(crate) fn field(&self, name: &str) -> String {
        let reason: Value = serde_json::from_str(&self.reason).expect("a JSON reason");
        reason[name].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// Connects, or returns the HTTP answer that refused it.
    pub(crate) async fn connect(url: &str) -> Result<Self, Answer> {
        Self::connect_with(url, &[]).await
    }

    pub(crate) async fn connect_with(url: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        match within("an upgrade's answer", LOCAL, connect_async(request)).await {
            Ok((socket, response)) => Ok(Self { socket, headers: pairs(response.headers()) }),
            Err(Error::Http(response)) => Err(Answer {
                status: response.status().as_u16(),
                headers: pairs(response.headers()),
                body: response.into_body().unwrap_or_default(),
            }),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("the connection is open");
    }

    /// The next text message; pings are answered on the way.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Ok(text) => text,
            Err(closed) => panic!("closed instead of a message: {closed:?}"),
        }
    }

    /// Reads to the end and returns how it came; messages on the way are passed over.
    pub(crate) async fn closed(mut self) -> Closed {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }

    /// The next text message, or the end: 1006 where no close frame came.
    pub(crate) async fn next(&mut self) -> Result<String, Closed> {
        // Pings on the way are no reason to wait longer.
        within("a frame", LOCAL, self.frame()).await
    }

    async fn frame(&mut self) -> Result<String, Closed> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    // Reading on sends the answer, which the server waits for.
                    let _ = self.socket.next().await;
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (u16::from(frame.code), frame.reason.to_string())
                    });
                    return Err(Closed { code, reason });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Closed { code: 1006, reason: String::new() }),
            }
        }
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(pair).collect()
}
