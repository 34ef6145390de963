//! The transport on a pipe, frame by frame: what the client sends and sees are bytes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, join, repeat, sink};

use super::*;

const LIMITS: WebSocketLimits = WebSocketLimits { max_message_bytes: 300 };

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A frame of the client's; a mask of zeros leaves the payload as it is.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// A frame of the service's.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[first, length], payload].concat()
}

fn open() -> (WebSocket<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(1 << 16);
    (WebSocket::accept(server, &[], LIMITS), client)
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<S>,
) -> Result<Incoming, TransportError> {
    poll_fn(|cx| socket.poll_receive(cx)).await
}

async fn flush<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>) {
    poll_fn(|cx| socket.poll_flush(cx)).await.expect("flushed");
}

/// Sees that nothing is to be received yet. What is owed to the client goes out with that.
fn idles<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>) {
    let received = socket.poll_receive(&mut Context::from_waker(Waker::noop()));
    assert!(received.is_pending(), "{received:?}");
}

/// What the client finds when it looks. The stream must not have ended.
async fn seen(client: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    tokio::select! {
        biased;
        read = client.read(&mut bytes) => {
            bytes.truncate(read.expect("open"));
            assert!(!bytes.is_empty(), "the end of the stream");
        }
        () = std::future::ready(()) => bytes.clear(),
    }
    bytes
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_by_whoever_listens() {
    let (mut socket, mut client) = open();
    client.write_all(&masked(PING, b"one")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
    assert_eq!(seen(&mut client).await, [0; 0], "not yet");
    idles(&mut socket);
    assert_eq!(seen(&mut client).await, plain(PONG, b"one"));
    // Nobody has to be answered twice, and of two the later one will do.
    let both = [masked(PING, b"two"), masked(PING, b"three"), masked(TEXT, b"text")].concat();
    client.write_all(&both).await.expect("sent");
    for incoming in [Incoming::Ping, Incoming::Ping, Incoming::Text("text".into())] {
        assert_eq!(next(&mut socket).await, Ok(incoming));
    }
    idles(&mut socket);
    assert!(seen(&mut client).await.ends_with(&plain(PONG, b"three")));
    flush(&mut socket).await;
    assert_eq!(seen(&mut client).await, [0; 0]);
}

#[tokio::test]
async fn every_kind_of_frame_is_told_and_what_came_with_the_request_is_not_lost() {
    let (server, mut client) = duplex(1 << 16);
    let mut socket = WebSocket::accept(server, &masked(TEXT, b"early"), LIMITS);
    assert_eq!(next(&mut socket).await, Ok(Incoming::Text("early".into())));
    client.write_all(&[masked(PONG, b""), masked(0x82, b"x")].concat()).await.expect("sent");
    assert_eq!(next(&mut socket).await, Ok(Incoming::Pong));
    assert_eq!(next(&mut socket).await, Ok(Incoming::Binary));
    idles(&mut socket);
    drop(client);
    assert_eq!(next(&mut socket).await, Err(TransportError::Lost), "without a close frame");
}

#[tokio::test]
async fn what_is_given_waits_for_the_flush() {
    let (mut socket, mut client) = open();
    socket.start_text(&"a".into()).expect("open");
    socket.start_ping().expect("open");
    idles(&mut socket);
    assert_eq!(seen(&mut client).await, [0; 0]);
    flush(&mut socket).await;
    assert_eq!(seen(&mut client).await, [plain(TEXT, b"a"), plain(PING, b"")].concat());
}

#[tokio::test]
async fn a_socket_that_takes_no_more_is_ready_for_no_more() {
    let (server, mut client) = duplex(100);
    let mut socket = WebSocket::accept(server, &[], LIMITS);
    let long = "x".repeat(10_000);
    let now = |socket: &mut WebSocket<_>| socket.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(now(&mut socket).is_ready());
    socket.start_text(&long.as_str().into()).expect("open");
    assert!(now(&mut socket).is_pending());
    let reading = async {
        let mut bytes = vec![0; long.len() + 4];
        client.read_exact(&mut bytes).await.expect("all of it");
        bytes
    };
    let (flushed, bytes) = tokio::join!(poll_fn(|cx| socket.poll_ready(cx)), reading);
    assert_eq!(flushed, Ok(()));
    assert!(bytes.ends_with(long.as_bytes()));
    drop(client);
    socket.start_text(&long.as_str().into()).expect("nobody knows yet");
    assert_eq!(now(&mut socket), Poll::Ready(Err(TransportError::Lost)));
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_nothing_follows() {
    for code in [&[][..], &[3, 0xe9]] {
        let (mut socket, mut client) = open();
        client.write_all(&[masked(PING, b"x"), masked(CLOSE, code)].concat()).await.expect("sent");
        assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
        assert_eq!(next(&mut socket).await, Ok(Incoming::Close));
        flush(&mut socket).await;
        assert!(seen(&mut client).await.ends_with(&plain(CLOSE, code)));
        assert_eq!(socket.start_text(&"a".into()), Err(TransportError::Lost));
        assert_eq!(socket.start_ping(), Err(TransportError::Lost));
        assert_eq!(socket.start_close(1000, ""), Err(TransportError::Lost));
    }
}

#[tokio::test]
async fn after_its_own_close_it_answers_neither_a_ping_nor_the_answer() {
    let (mut socket, mut client) = open();
    socket.start_close(1012, "bye").expect("open");
    flush(&mut socket).await;
    assert_eq!(seen(&mut client).await, plain(CLOSE, b"\x03\xf4bye"));
    client.write_all(&[masked(PING, b"x"), masked(CLOSE, &[3, 0xf4])].concat()).await.expect("sent");
    assert_eq!(next(&mut socket).await, Ok(Incoming::Ping));
    assert_eq!(next(&mut socket).await, Ok(Incoming::Close));
    flush(&mut socket).await;
    assert_eq!(seen(&mut client).await, [0; 0]);
}

#[tokio::test]
async fn what_makes_no_sense_is_told_once_and_read_on_until_the_client_leaves() {
    let (mut socket, mut client) = open();
    client.write_all(b"GET / HTTP/1.1").await.expect("sent");
    assert_eq!(next(&mut socket).await, Err(TransportError::Protocol));
    client.write_all(&masked(TEXT, b"a")).await.expect("sent");
    idles(&mut socket);
    socket.start_close(1002, "").expect("open");
    flush(&mut socket).await;
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.expect("and the end of the stream");
    assert_eq!(bytes, plain(CLOSE, &[3, 0xea]));
    client.write_all(&[b'x'; 50_000]).await.expect("there is room");
    idles(&mut socket);
    drop(client);
    assert_eq!(next(&mut socket).await, Err(TransportError::Lost));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn who_sends_nonsense_without_end_does_not_hold_the_task() {
    let mut socket = WebSocket::accept(join(repeat(b'x'), sink()), &[], LIMITS);
    assert_eq!(next(&mut socket).await, Err(TransportError::Protocol));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(socket.poll_receive(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "and is read on");
}
