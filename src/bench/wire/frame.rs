//! Frames of RFC 6455, as far as a client of this field meets them.

use std::io;

/// Longest frame that is read, in bytes: far above what the services let through.
const MAX_FRAME_BYTES: u64 = 16 * 1024 * 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// A whole frame, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) opcode: Opcode,
    pub(super) payload: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// The first frame; none until all of it is there.
///
/// # Errors
/// When it is masked, compressed, one of several parts, or longer than any message.
pub(super) fn read(bytes: &[u8]) -> io::Result<Option<Found<'_>>> {
    let [first, second, after @ ..] = bytes else { return Ok(None) };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8A => Opcode::Pong,
        _ => return Err(io::Error::other("a frame that is not read here: fragmented, or with an extension")),
    };
    let (length, after) = match (second, after) {
        (0..=125, _) => (u64::from(*second), after),
        (126, [a, b, after @ ..]) => (u16::from_be_bytes([*a, *b]).into(), after),
        (127, [a, b, c, d, e, f, g, h, after @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), after)
        }
        (126 | 127, _) => return Ok(None),
        _ => return Err(io::Error::other("a frame of a server's that is masked")),
    };
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::other("a frame that is longer than any message"));
    }
    let whole = usize::try_from(length).ok().and_then(|length| after.split_at_checked(length));
    Ok(whole.map(|(payload, rest)| Found { opcode, payload, rest }))
}

/// Appends a client's frame, masked.
pub(super) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.push(0x80 | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let mask: [u8; 4] = rand::random();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameSocket;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    #[test]
    fn what_is_not_read_here_is_an_error() {
        for bytes in [&[0x01, 0x00][..], &[0xC1, 0x00], &[0x80, 0x00], &[0x81, 0x81, 0, 0, 0, 0, 0]] {
            assert!(read(bytes).is_err(), "{bytes:x?}");
        }
        assert!(read(&[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]).is_err(), "too long");
    }

    proptest! {
        /// Cut anywhere, a frame is none; whole, it is what was sent, whatever follows.
        #[test]
        fn a_frame_is_read_when_it_is_whole(size in prop_oneof![0..300usize, 65_500..65_600usize], cut in any::<prop::sample::Index>()) {
            let payload = vec![b'x'; size];
            let mut bytes = vec![0x81];
            match size {
                0..=125 => bytes.push(u8::try_from(size).expect("short")),
                126..=65_535 => {
                    bytes.push(126);
                    bytes.extend(u16::try_from(size).expect("short").to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend((size as u64).to_be_bytes());
                }
            }
            bytes.extend(&payload);
            prop_assert_eq!(read(&bytes[..cut.index(bytes.len())]).expect("sound"), None);
            bytes.extend([0x89, 0]);
            let found = read(&bytes).expect("sound").expect("whole");
            prop_assert_eq!((found.opcode, found.payload, found.rest), (Opcode::Text, &payload[..], &[0x89, 0][..]));
        }

        /// What is written, another implementation reads.
        #[test]
        fn a_frame_is_written_as_others_read_it(payload in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let mut bytes = Vec::new();
            write(&mut bytes, Opcode::Binary, &payload);
            let mut socket = FrameSocket::new(io::Cursor::new(bytes));
            let frame = socket.read(None).expect("sound").expect("whole");
            prop_assert_eq!(frame.header().opcode, OpCode::Data(Data::Binary));
            prop_assert_eq!(unmasked(frame.payload(), frame.header().mask), payload);
        }
    }

    fn unmasked(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mask = mask.expect("a client masks");
        payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }
}
