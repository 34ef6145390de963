//! Finds the frames of RESP3 in what a server sends, as far as a subscriber needs it: messages are read here, without a
//! copy; of everything else only the end is found.
//!
//! The redis crate's parser makes a tree of values of each message, copied piece by piece, which was a sixth of what a
//! delivery cost.

/// What stands at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A message on a channel, and how many bytes it takes.
    Message { channel: &'a [u8], payload: &'a [u8], bytes: usize },
    /// A sharded channel is not subscribed any more, whether or not that was asked for.
    Left { channel: &'a [u8], bytes: usize },
    /// Another frame of so many bytes.
    Other { bytes: usize },
    /// Not all of it is there yet.
    Incomplete,
}

/// These bytes are no RESP3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not RESP3")]
pub(super) struct Malformed;

/// Some bytes and what follows them; none while they are not all there.
type Found<'a> = Result<Option<(&'a [u8], &'a [u8])>, Malformed>;

/// How a message's push begins, up to its channel's length.
const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n";
/// The same on a sharded channel.
const SHARDED_MESSAGE: &[u8] = b">3\r\n$8\r\nsmessage\r\n";
/// How the end of a sharded channel's subscription begins.
const LEFT: &[u8] = b">3\r\n$12\r\nsunsubscribe\r\n";

/// Longest first line of a frame that is waited for, but for simple texts and errors: a type, a length, a line break.
const MAX_HEADER_BYTES: usize = 32;

/// Longest simple text or error that is waited for. Redis cuts what it quotes at 128 bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Looks at the beginning of `unread`.
///
/// # Errors
/// [`Malformed`] when no further byte can make a frame of it.
pub(super) fn frame(unread: &[u8]) -> Result<Frame<'_>, Malformed> {
    if let Some(rest) = unread.strip_prefix(MESSAGE).or_else(|| unread.strip_prefix(SHARDED_MESSAGE)) {
        let Some((channel, rest)) = bulk(rest)? else { return Ok(Frame::Incomplete) };
        let Some((payload, rest)) = bulk(rest)? else { return Ok(Frame::Incomplete) };
        return Ok(Frame::Message { channel, payload, bytes: unread.len() - rest.len() });
    }
    // What may still become one of these is not looked at as anything else.
    if [MESSAGE, SHARDED_MESSAGE, LEFT].iter().any(|begin| begin.starts_with(unread)) {
        return Ok(Frame::Incomplete);
    }
    if let Some(rest) = unread.strip_prefix(LEFT)
        && !rest.starts_with(b"_")
    {
        let Some((channel, rest)) = bulk(rest)? else { return Ok(Frame::Incomplete) };
        let Some((_count, rest)) = line(rest)? else { return Ok(Frame::Incomplete) };
        return Ok(Frame::Left { channel, bytes: unread.len() - rest.len() });
    }
    match skip(unread)? {
        Some(rest) => Ok(Frame::Other { bytes: unread.len() - rest.len() }),
        None => Ok(Frame::Incomplete),
    }
}

/// A text with its length before it, and what follows it.
fn bulk(bytes: &[u8]) -> Found<'_> {
    let Some((first, rest)) = line(bytes)? else { return Ok(None) };
    let length = first.strip_prefix(b"$").and_then(number).ok_or(Malformed)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    text(rest, length)
}

/// So many bytes and a line break.
fn text(bytes: &[u8], length: usize) -> Found<'_> {
    let Some((text, rest)) = bytes.split_at_checked(length) else { return Ok(None) };
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok(Some((text, rest))),
        [] | [b'\r'] => Ok(None),
        _ => Err(Malformed),
    }
}

/// What follows a whole frame, however it is nested.
fn skip(mut bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut due = 1_u64;
    while due > 0 {
        let Some((first, rest)) = line(bytes)? else { return Ok(None) };
        let (kind, argument) = first.split_first().ok_or(Malformed)?;
        bytes = rest;
        due -= 1;
        let more = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => 0,
            b'$' | b'=' | b'!' => {
                // RESP2's null is a length of -1.
                if let Ok(length) = usize::try_from(number(argument).ok_or(Malformed)?) {
                    let Some((_, rest)) = text(bytes, length)? else { return Ok(None) };
                    bytes = rest;
                }
                0
            }
            b'*' | b'>' | b'~' => items(argument)?,
            b'%' => items(argument)?.saturating_mul(2),
            // Attributes stand before what they belong to.
            b'|' => items(argument)?.saturating_mul(2).saturating_add(1),
            _ => return Err(Malformed),
        };
        due = due.saturating_add(more);
    }
    Ok(Some(bytes))
}

fn items(argument: &[u8]) -> Result<u64, Malformed> {
    let number = number(argument).ok_or(Malformed)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// A line without its break, and what follows it.
fn line(bytes: &[u8]) -> Found<'_> {
    let bound = match bytes.first() {
        Some(b'+' | b'-' | b'(' | b',') => MAX_LINE_BYTES,
        _ => MAX_HEADER_BYTES,
    };
    match bytes.iter().take(bound).position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?;
            Ok(Some((line, &bytes[end + 1..])))
        }
        None if bytes.len() >= bound => Err(Malformed),
        None => Ok(None),
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "resp_tests.rs"]
mod tests;
