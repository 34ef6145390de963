//! A server that does what a test says, one connection after the other.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::{LOCAL, within};

const PROTOCOL: &str = "sec-websocket-protocol";

/// A listener on a port of its own.
pub(crate) struct Scripted {
    listener: TcpListener,
    /// `ws://…/ws`.
    pub(crate) url: String,
}

/// A connection that the script holds.
pub(crate) struct Guest {
    socket: WebSocketStream<TcpStream>,
    /// Of the upgrade's request.
    pub(crate) headers: HeaderMap,
    /// The request's path and query.
    pub(crate) target: String,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/ws", listener.local_addr().expect("an address"));
        Self { listener, url }
    }

    async fn stream(&self) -> TcpStream {
        within("a connection", LOCAL, self.listener.accept()).await.expect("accepted").0
    }

    /// The next connection, upgraded, with the subprotocol that it asked for.
    #[expect(clippy::result_large_err, reason = "the form of tungstenite's callbacks")]
    pub(crate) async fn accept(&self) -> Guest {
        let (mut headers, mut target) = (HeaderMap::new(), String::new());
        let callback = |request: &Request, mut response: Response| {
            headers = request.headers().clone();
            target = request.uri().to_string();
            if let Some(protocol) = headers.get(PROTOCOL) {
                response.headers_mut().insert(PROTOCOL, protocol.clone());
            }
            Ok(response)
        };
        let upgrade = accept_hdr_async(self.stream().await, callback);
        let socket = within("an upgrade", LOCAL, upgrade).await.expect("upgraded");
        Guest { socket, headers, target }
    }

    /// The same, and says hello with this cursor.
    pub(crate) async fn welcome(&self, cursor: &str, resumed: bool) -> Guest {
        let mut guest = self.accept().await;
        guest.hello(cursor, resumed).await;
        guest
    }

    /// Answers the next connection in HTTP. `head` is the status line's end and headers: `503 Full\r\nretry-after: 1`.
    pub(crate) async fn refuse(&self, head: &str) {
        let mut stream = self.stream().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let read = within("a request", LOCAL, stream.read_buf(&mut request)).await;
            assert!(read.expect("readable") > 0, "the request is cut off");
        }
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
}

impl Guest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str).map(|text| text.expect("text"))
    }

    /// Sends a frame of `websocket-service.v1`.
    pub(crate) async fn say(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    /// Sends texts in one write, so that they can be read at once.
    pub(crate) async fn texts(&mut self, texts: &[&str]) {
        for text in texts {
            self.socket.feed(Message::text(*text)).await.expect("taken");
        }
        self.socket.flush().await.expect("sent");
    }

    pub(crate) async fn ping(&mut self) {
        self.socket.send(Message::Ping(Bytes::new())).await.expect("sent");
    }

    pub(crate) async fn hello(&mut self, cursor: &str, resumed: bool) {
        let history = json!({ "messages": 100, "seconds": 3600 });
        let hello = json!({
            "type": "hello", "connection_id": "c", "user_id": "u", "heartbeat_seconds": 30, "cursor": cursor,
            "resumed": resumed, "history": history,
        });
        self.say(hello).await;
    }

    /// Sends a message with an id.
    pub(crate) async fn message(&mut self, id: &str, data: &Value) {
        self.say(json!({ "type": "message", "id": id, "data": data })).await;
    }

    /// The next frame of the client's.
    pub(crate) async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.hear_text().await).expect("JSON")
    }

    /// The next text of the client's, whatever it is.
    pub(crate) async fn hear_text(&mut self) -> String {
        loop {
            let frame = within("a frame", LOCAL, self.socket.next()).await;
            if let Message::Text(text) = frame.expect("open").expect("a frame") {
                return text.as_str().to_owned();
            }
        }
    }

    /// Closes and waits for the answer.
    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "said so".into() };
        self.socket.close(Some(frame)).await.expect("sent");
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        within("the close's answer", LOCAL, rest).await;
    }

    /// Waits for the client's close and returns its code. Nothing is lost when this is cancelled.
    pub(crate) async fn closed(&mut self) -> u16 {
        let mut code = 1006;
        let rest = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Close(frame) = message {
                    code = frame.map_or(1005, |frame| frame.code.into());
                }
            }
        };
        within("the client's close", LOCAL, rest).await;
        code
    }
}
