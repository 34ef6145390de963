//! A stream that takes the messages out of what a server sends, before the redis crate sees it. Logging in, SUBSCRIBE and
//! its confirmations, PING and errors are the crate's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::resp::{Frame, frame};

/// What is read at once: some 200 small messages. Between two reads the sessions have their turn, so that a flood fills
/// sockets before it fills outboxes.
const READ_BYTES: usize = 64 * 1024;

/// Above so much room, what one long message needed is given back.
const KEPT_BYTES: usize = 2 * READ_BYTES;

/// What a server sends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A message came on a channel.
    Message {
        /// Its name.
        channel: &'a [u8],
        /// What came.
        payload: &'a [u8],
    },
    /// A sharded channel is not subscribed any more.
    Left {
        /// Its name.
        channel: &'a [u8],
    },
}

/// The stream, and who takes what is said: true keeps it from the crate. Messages are always kept from it.
pub(super) struct Tap<S, F> {
    stream: S,
    take: F,
    unread: BytesMut,
    /// So many of `unread` are for the crate.
    passing: usize,
}

impl<S, F> Tap<S, F> {
    pub(super) fn new(stream: S, take: F) -> Self {
        Self { stream, take, unread: BytesMut::new(), passing: 0 }
    }
}

impl<S: AsyncRead + Unpin, F: FnMut(Said<'_>) -> bool + Unpin> AsyncRead for Tap<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut taken = false;
        loop {
            if this.passing > 0 {
                let passed = this.passing.min(buffer.remaining());
                buffer.put_slice(&this.unread[..passed]);
                this.unread.advance(passed);
                this.passing -= passed;
                return Poll::Ready(Ok(()));
            }
            match frame(&this.unread) {
                Ok(Frame::Message { channel, payload, bytes }) => {
                    (this.take)(Said::Message { channel, payload });
                    this.unread.advance(bytes);
                    taken = true;
                }
                // The crate would take one that nobody asked for as the answer to whatever was asked last.
                Ok(Frame::Left { channel, bytes }) => {
                    if (this.take)(Said::Left { channel }) {
                        this.unread.advance(bytes);
                        taken = true;
                    } else {
                        this.passing = bytes;
                    }
                }
                Ok(Frame::Other { bytes }) => this.passing = bytes,
                // The crate says what is wrong with it.
                Err(_) => this.passing = this.unread.len(),
                Ok(Frame::Incomplete) => {
                    if taken {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if this.unread.is_empty() && this.unread.capacity() > KEPT_BYTES {
                        this.unread = BytesMut::new();
                    }
                    this.unread.reserve(READ_BYTES);
                    if ready!(poll_read_buf(Pin::new(&mut this.stream), cx, &mut this.unread))? == 0 {
                        // The end, whatever is half there.
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Tap<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A channel and a payload.
    type Message = (Vec<u8>, Vec<u8>);

    /// What the crate sees, and the messages that were taken, of these bytes written in pieces.
    fn tapped(bytes: &[u8], piece: usize, buffer: usize) -> (Vec<u8>, Vec<Message>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut taken = Vec::new();
        let passed = runtime.block_on(async {
            let (mut server, client) = duplex(piece);
            let mut tap = Tap::new(client, |said: Said<'_>| {
                match said {
                    Said::Message { channel, payload } => taken.push((channel.to_vec(), payload.to_vec())),
                    // As one that nobody asked for.
                    Said::Left { channel } if channel.first() == Some(&b'a') => {
                        taken.push((channel.to_vec(), b"left".to_vec()));
                    }
                    Said::Left { .. } => return false,
                }
                true
            });
            let writing = async {
                server.write_all(bytes).await.expect("written");
                drop(server);
            };
            let reading = async {
                let (mut passed, mut space) = (Vec::new(), vec![0; buffer]);
                loop {
                    match tap.read(&mut space).await.expect("read") {
                        0 => return passed,
                        read => passed.extend_from_slice(&space[..read]),
                    }
                }
            };
            tokio::join!(writing, reading).1
        });
        (passed, taken)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn takes_messages_and_passes_the_rest(
            frames in prop::collection::vec((0..4_usize, "[a-c]{0,9}", "[a-z\\r\\n$>]{0,300}"), 0..20),
            piece in 1..400_usize,
            buffer in 1..400_usize,
        ) {
            let (mut bytes, mut rest, mut messages) = (Vec::new(), Vec::new(), Vec::new());
            for (kind, channel, payload) in frames {
                let kind = ["message", "smessage", "subscribe", "sunsubscribe"][kind];
                let last = match kind {
                    "sunsubscribe" => format!(":{}", payload.len()),
                    _ => format!("${}\r\n{payload}", payload.len()),
                };
                let frame = format!(
                    ">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n{last}\r\n", kind.len(), channel.len(),
                );
                bytes.extend(frame.bytes());
                match kind {
                    "message" | "smessage" => messages.push((channel.into_bytes(), payload.into_bytes())),
                    "sunsubscribe" if channel.starts_with('a') => {
                        messages.push((channel.into_bytes(), b"left".to_vec()));
                    }
                    _ => rest.extend(frame.bytes()),
                }
            }
            prop_assert_eq!(tapped(&bytes, piece, buffer), (rest, messages));
        }
    }

    #[test]
    fn what_is_no_resp_is_passed_on_for_the_crate_to_refuse() {
        let (passed, taken) = tapped(b"HTTP/1.1 400 Bad Request\r\n\r\n", 7, 100);
        assert!(passed.starts_with(b"HTTP/1.1") && taken.is_empty());
    }
}
