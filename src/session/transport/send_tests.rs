use futures_util::StreamExt;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex, sink, split};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::Control;

use super::*;

/// Texts around each form of a length, and around what is copied.
fn text() -> impl Strategy<Value = String> {
    let length = prop_oneof![
        0..300_usize,
        Just(125),
        Just(126),
        COPIED_BYTES - 1..COPIED_BYTES + 2,
        Just(65_535),
        Just(65_536),
    ];
    (length, "[a-zü]").prop_map(|(length, letter)| letter.repeat(length))
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Writes the frames into a pipe of this width, `burst` of them between two writes, and reads them with tungstenite.
async fn seen_through(width: usize, frames: Vec<Message>, burst: usize) -> Vec<Message> {
    let (server, client) = duplex(width);
    let (mut answers, mut server) = split(server);
    let writing = async move {
        let mut unsent = Unsent::default();
        for frames in frames.chunks(burst) {
            for frame in frames {
                match frame {
                    Message::Text(text) => unsent.text(text),
                    _ => unsent.frame(OpCode::Control(Control::Ping), &[]),
                }
            }
            std::future::poll_fn(|cx| unsent.poll_write(&mut server, cx)).await.expect("written");
            assert!(unsent.is_empty() && unsent.bytes.capacity() == 0, "nothing is kept");
        }
        server.shutdown().await.expect("shut down");
    };
    let reading = async {
        let socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        socket.filter_map(async |frame| frame.ok()).collect().await
    };
    let mut nowhere = sink();
    let (_, frames, _) = tokio::join!(writing, reading, tokio::io::copy(&mut answers, &mut nowhere));
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn what_is_written_is_read(
        texts in proptest::collection::vec(text(), 1..12),
        pings in any::<u16>(),
        width in prop_oneof![1..100_usize, Just(1 << 20)],
        burst in 1..5_usize,
    ) {
        let mut frames = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            frames.push(Message::text(text.as_str()));
            if pings >> number & 1 == 1 {
                frames.push(Message::Ping(bytes::Bytes::new()));
            }
        }
        prop_assert_eq!(run(seen_through(width, frames.clone(), burst)), frames);
    }
}

#[test]
fn a_socket_that_takes_nothing_more_is_no_loop() {
    run(async {
        let (mut server, client) = duplex(4);
        drop(client);
        let mut unsent = Unsent::default();
        unsent.text(&"hello".into());
        let written = std::future::poll_fn(|cx| unsent.poll_write(&mut server, cx)).await;
        assert_eq!(written.expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_long_payload_is_shared_and_ends_the_batch() {
    let payload = Payload::from("x".repeat(COPIED_BYTES + 1));
    let mut unsent = Unsent::default();
    unsent.text(&"short".into());
    assert!(unsent.has_room());
    unsent.text(&payload);
    assert!(!unsent.has_room());
    let tail = unsent.tail.as_ref().expect("a tail");
    assert_eq!(tail.as_str().as_ptr(), payload.as_str().as_ptr());
}
