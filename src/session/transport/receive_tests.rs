use std::io;

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::CapacityError};

use super::*;

const LIMIT: usize = 300;

/// A frame of a client, good or bad in every part.
#[derive(Debug, Clone)]
struct Sent {
    first: u8,
    masked: bool,
    payload: Vec<u8>,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let length = self.payload.len();
        let bit = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match u8::try_from(length) {
            Ok(short @ ..126) => bytes.push(bit | short),
            _ => {
                bytes.push(bit | 126);
                bytes.extend(u16::try_from(length).expect("not that long").to_be_bytes());
            }
        }
        let mask = if self.masked { [7, 0, 0xff, 0x55] } else { [0; 4] };
        if self.masked {
            bytes.extend(mask);
        }
        bytes.extend(unmasked(&self.payload, mask));
        bytes
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    // Mostly what a client may send, for a fault ends everything.
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81_u8, 0x01, 0x00, 0x80, 0x82, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "[a-zü]{0,20}".prop_map(String::into_bytes),
        1 => (LIMIT - 3..LIMIT + 3).prop_map(|length| vec![b'x'; length]),
        1 => prop::collection::vec(any::<u8>(), 0..130),
    ];
    (first, prop::bool::weighted(0.99), payload).prop_map(|(first, masked, payload)| Sent {
        first,
        masked,
        payload,
    })
}

type Outcome = (Vec<Received>, Option<TransportError>);

fn ours(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut receiver = Receiver::new(&[], LIMIT);
    let mut all = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*cuts.next().expect("endless")).min(rest.len()));
        rest = later;
        receiver.push(now);
        loop {
            match receiver.next() {
                Ok(Some(received)) => {
                    let last = matches!(received, Received::Close(_));
                    all.push(received);
                    // Whatever follows a close frame is nobody's business.
                    if last {
                        return (all, None);
                    }
                }
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}

/// Reads a slice, and swallows what tungstenite answers.
struct Pipe<'a>(&'a [u8]);

impl io::Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match io::Read::read(&mut self.0, buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl io::Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenites(bytes: &[u8]) -> Outcome {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Pipe(bytes), Role::Server, Some(config));
    let mut all = Vec::new();
    loop {
        all.push(match socket.read() {
            Ok(Message::Text(text)) => Received::Text(text),
            Ok(Message::Binary(_)) => Received::Binary,
            Ok(Message::Ping(payload)) => Received::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Received::Pong,
            Ok(Message::Close(frame)) => {
                all.push(Received::Close(frame.map(|frame| frame.code.into())));
                return (all, None);
            }
            Ok(Message::Frame(_)) => unreachable!("not by reading"),
            Err(Error::Io(_)) => return (all, None),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                return (all, Some(TransportError::TooLarge));
            }
            Err(Error::Utf8(_)) => return (all, Some(TransportError::InvalidUtf8)),
            Err(_) => return (all, Some(TransportError::Protocol)),
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What a client sends is understood as tungstenite understands it, in whatever pieces it comes.
    #[test]
    fn agrees_with_tungstenite(
        frames in prop::collection::vec(sent(), 1..8),
        cuts in prop::collection::vec(1..40_usize, 1..10),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(Sent::bytes).collect();
        let (theirs, their_fault) = tungstenites(&bytes);
        let (ours, our_fault) = ours(&bytes, &cuts);
        // Of a message in fragments tungstenite tells bad UTF-8 before its last fragment came, and takes bad close codes.
        if their_fault == Some(TransportError::InvalidUtf8) || matches!(theirs.last(), Some(Received::Close(_))) {
            let alike = theirs.len() - usize::from(their_fault.is_none());
            prop_assert_eq!(&ours[..alike], &theirs[..alike]);
        } else {
            // A frame may have several faults, and either finds another one first.
            prop_assert_eq!((ours, our_fault.is_some()), (theirs, their_fault.is_some()));
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1..50_usize) {
        ours(&bytes, &[cut]);
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    Sent { first, masked: true, payload: payload.to_vec() }.bytes()
}

#[test]
fn close_codes_are_judged() {
    let closed = |payload: &[u8]| ours(&masked(0x88, payload), &[99]);
    let good = |code| (vec![Received::Close(code)], None);
    let bad = |error| (vec![], Some(error));
    assert_eq!(closed(&[]), good(None));
    for code in [1000_u16, 1001, 1011, 3000, 4999] {
        assert_eq!(closed(&[&code.to_be_bytes()[..], b"bye"].concat()), good(Some(code)));
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert_eq!(closed(&code.to_be_bytes()), bad(TransportError::Protocol), "{code}");
    }
    assert_eq!(closed(&[3]), bad(TransportError::Protocol));
    assert_eq!(closed(&[3, 0xe8, 0xff]), bad(TransportError::InvalidUtf8));
}

#[test]
fn a_header_is_judged_before_its_payload_comes() {
    for (header, error) in [
        (&[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4][..], TransportError::TooLarge),
        (&[0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], TransportError::TooLarge),
        (&[0x89, 0xfe, 0, 126, 1, 2, 3, 4], TransportError::Protocol),
        (&[0x81, 0x05], TransportError::Protocol),
        // Each of the reserved bits by itself.
        (&[0xc1, 0x80, 1, 2, 3, 4], TransportError::Protocol),
        (&[0xa1, 0x80, 1, 2, 3, 4], TransportError::Protocol),
        (&[0x91, 0x80, 1, 2, 3, 4], TransportError::Protocol),
        // Opcodes without a meaning.
        (&[0x83, 0x80, 1, 2, 3, 4], TransportError::Protocol),
        (&[0x8b, 0x80, 1, 2, 3, 4], TransportError::Protocol),
    ] {
        assert_eq!(ours(header, &[1]), (vec![], Some(error)), "{header:?}");
    }
}

#[test]
fn what_is_as_long_as_it_may_be_is_taken_and_one_byte_more_is_not() {
    let ping = [b'x'; MAX_CONTROL_BYTES];
    assert_eq!(ours(&masked(0x89, &ping), &[99]), (vec![Received::Ping(ping.to_vec())], None));
    let (half, text) = ([b'x'; LIMIT / 2], "x".repeat(LIMIT));
    let halves = [masked(0x01, &half), masked(0x80, &half)].concat();
    assert_eq!(ours(&halves, &[99]), (vec![Received::Text(text.into())], None));
    let more = [masked(0x01, &half), masked(0x00, &half), masked(0x80, b"x")].concat();
    assert_eq!(ours(&more, &[99]), (vec![], Some(TransportError::TooLarge)));
}

#[test]
fn nothing_is_held_between_messages() {
    let mut receiver = Receiver::new(&[], LIMIT);
    receiver.push(&masked(0x81, &[b'x'; 200]));
    assert!(matches!(receiver.next(), Ok(Some(Received::Text(_)))));
    assert_eq!(receiver.next(), Ok(None));
    assert_eq!((receiver.unread.capacity(), receiver.begun.is_none()), (0, true));
}
