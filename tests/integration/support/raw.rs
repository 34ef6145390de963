//! A WebSocket client made of bytes, which may break every rule and answers nothing by itself.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Closed;
use super::http::{Answer, parse};
use super::{LOCAL, within};

/// First byte of a frame: the last of its message, with this opcode.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
/// First byte of the first fragment of a text, and of the last of any message.
pub(crate) const TEXT_START: u8 = 0x01;
pub(crate) const LAST_FRAGMENT: u8 = 0x80;

/// An upgraded connection.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The 101.
    pub(crate) answer: Answer,
}

impl Raw {
    /// Asks for an upgrade of `/ws` with this query and these headers; returns the answer where it is not a 101.
    pub(crate) async fn open(
        address: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        Self::exchange(address, &head(query, headers)).await
    }

    /// As [`Raw::open`], with the very bytes.
    pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Self, Answer> {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(bytes).await.expect("written");
        let mut unread = Vec::new();
        let end = within("an answer's head", LOCAL, async {
            loop {
                if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                    return end + 4;
                }
                assert_ne!(stream.read_buf(&mut unread).await.expect("read"), 0, "closed without an answer");
            }
        })
        .await;
        let mut answer = parse(&unread[..end]).expect("an answer");
        unread.drain(..end);
        if answer.status == 101 {
            return Ok(Self { stream, unread, answer });
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        within("an answer's body", LOCAL, async {
            while unread.len() < length {
                assert_ne!(stream.read_buf(&mut unread).await.expect("read"), 0, "closed in the body");
            }
        })
        .await;
        answer.body = unread;
        Err(answer)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection takes bytes");
    }

    /// The next frame's first byte and payload; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a frame", LOCAL, async {
            loop {
                if let Some((length, frame)) = split(&self.unread) {
                    self.unread.drain(..length);
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.unread).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// The next frame that is no ping.
    pub(crate) async fn answer_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.frame().await {
                Some((PING, _)) => {}
                frame => return frame,
            }
        }
    }

    /// Reads to the close frame, answers it as the RFC asks, and sees the server close.
    pub(crate) async fn closed(&mut self) -> Closed {
        loop {
            match self.frame().await {
                Some((CLOSE, payload)) => {
                    // A server that cannot read any more may have closed its side.
                    let _ = self.stream.write_all(&frame(CLOSE, &payload[..payload.len().min(2)])).await;
                    let _ = self.stream.shutdown().await;
                    // RFC 6455 §5.5.1: no data follows a close frame; the pong of an earlier ping may.
                    while let Some((first, _)) = self.frame().await {
                        assert_eq!(first, PONG, "data after a close frame");
                    }
                    let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    let reason = payload.get(2..).unwrap_or_default().to_vec();
                    return Closed { code, reason: String::from_utf8(reason).expect("a reason in UTF-8") };
                }
                Some(_) => {}
                None => return Closed { code: 1006, reason: String::new() },
            }
        }
    }
}

/// The head of an upgrade.
pub(crate) fn head(query: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!(
        "GET /ws{query} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A frame as a client sends it, masked (with zeros, which is as good as any for a test).
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of such a frame, which may promise more than follows.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// The first whole frame of a server, with its length on the wire.
fn split(bytes: &[u8]) -> Option<(usize, (u8, Vec<u8>))> {
    let (first, short) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(short & 0x80, 0, "a server does not mask");
    let (start, length) = match short {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = start + usize::try_from(length).ok()?;
    Some((end, (first, bytes.get(start..end)?.to_vec())))
}
