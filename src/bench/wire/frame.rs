//! Frames of RFC 6455, as far as a client of this field meets them.

use std::io;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Longest frame that is read, in bytes: far above what the services let through.
const MAX_FRAME_BYTES: u64 = 16 * 1024 * 1024;

/// A whole frame, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) opcode: OpCode,
    pub(super) payload: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// The first frame; none until all of it is there.
///
/// # Errors
/// When it is masked, compressed, one of several parts, or longer than any message.
pub(super) fn read(bytes: &[u8]) -> io::Result<Option<Found<'_>>> {
    let mut cursor = io::Cursor::new(bytes);
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(io::Error::other)? else {
        return Ok(None);
    };
    if !header.is_final || header.rsv1 || header.opcode == OpCode::Data(Data::Continue) {
        return Err(io::Error::other("a frame that is not read here: fragmented, or with an extension"));
    }
    if header.mask.is_some() {
        return Err(io::Error::other("a frame of a server's that is masked"));
    }
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::other("a frame that is longer than any message"));
    }
    let after = usize::try_from(cursor.position()).ok().and_then(|position| bytes.get(position..));
    let whole =
        after.zip(usize::try_from(length).ok()).and_then(|(after, length)| after.split_at_checked(length));
    Ok(whole.map(|(payload, rest)| Found { opcode: header.opcode, payload, rest }))
}

/// Appends a client's frame, masked.
pub(super) fn write(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let mask: [u8; 4] = rand::random();
    let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
    // A Vec takes all that is written to it.
    let _ = header.format(payload.len() as u64, out);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameSocket;

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
            prop_assert_eq!((found.opcode, found.payload, found.rest), (OpCode::Data(Data::Text), &payload[..], &[0x89, 0][..]));
        }

        /// What is written, another implementation reads.
        #[test]
        fn a_frame_is_written_as_others_read_it(payload in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let mut bytes = Vec::new();
            write(&mut bytes, OpCode::Data(Data::Binary), &payload);
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
