//! Centrifugo's bidirectional JSON protocol (<https://centrifugal.dev/docs/transports/client_protocol>), and the batches of its
//! HTTP API (<https://centrifugal.dev/docs/server/server_api>).

use std::borrow::Cow;

use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::Heard;

/// The path of a batch, and the header with the key.
pub(in crate::bench) const BATCH: &str = "/api/batch";
pub(in crate::bench) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

#[derive(Deserialize)]
struct Reply<'a> {
    connect: Option<IgnoredAny>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The first command, sent with the 101.
pub(super) fn login(heard: Option<&[u8]>, token: &SecretString) -> Option<String> {
    heard.is_none().then(|| json!({ "id": 1, "connect": { "token": token.expose_secret() } }).to_string())
}

/// A frame has one object a line; `{}` is a ping and is answered with the same.
pub(super) fn hear<'a>(text: &'a [u8], each: &mut dyn FnMut(Heard<'a>)) {
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line == b"{}" {
            each(Heard::Answer("{}"));
            continue;
        }
        let Ok(reply) = serde_json::from_slice::<Reply<'_>>(line) else { continue };
        match reply {
            Reply { error: Some(error), .. } => each(Heard::Refused(Cow::Borrowed(error.get()))),
            Reply { connect: Some(_), .. } => each(Heard::Ready),
            Reply { push: Some(Push { publication: Some(publication) }), .. } => {
                each(Heard::Message(Cow::Borrowed(publication.data.get().as_bytes())));
            }
            _ => {}
        }
    }
}

#[derive(Serialize)]
struct Batch<'a> {
    parallel: bool,
    commands: Vec<Command<'a>>,
}

#[derive(Serialize)]
struct Command<'a> {
    publish: Publish<'a>,
}

#[derive(Serialize)]
struct Publish<'a> {
    channel: String,
    data: &'a RawValue,
}

/// The body that publishes these texts, which are JSON, on the personal channels of their users.
pub(in crate::bench) fn batch<'a>(messages: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let commands = messages.filter_map(|(user, text)| {
        let publish = Publish { channel: format!("#{user}"), data: serde_json::from_str(text).ok()? };
        Some(Command { publish })
    });
    // Plain fields: it cannot fail.
    serde_json::to_string(&Batch { parallel: false, commands: commands.collect() }).unwrap_or_default()
}

/// Whether an answer of 200 has a command that failed.
pub(in crate::bench) fn has_error(answer: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Replies {
        replies: Vec<Outcome>,
    }
    #[derive(Deserialize)]
    struct Outcome {
        error: Option<IgnoredAny>,
    }
    let answer: Option<Replies> = serde_json::from_slice(answer).ok();
    answer.is_none_or(|answer| answer.replies.iter().any(|reply| reply.error.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let mut heard = Vec::new();
        let text = br##"{"id":1,"connect":{"client":"c"}}
{"push":{"channel":"#user-1","pub":{"data":{"n":1}}}}
{}
{"push":{"channel":"#user-1","join":{}}}
{"push":{"channel":"#user-1","pub":{"data":"b"}}}"##;
        hear(text, &mut |said| heard.push(said));
        let message = |text: &'static [u8]| Heard::Message(Cow::Borrowed(text));
        assert_eq!(heard, [Heard::Ready, message(br#"{"n":1}"#), Heard::Answer("{}"), message(br#""b""#)]);
        let mut refused = false;
        hear(br#"{"id":1,"error":{"code":101}}"#, &mut |said| refused = matches!(said, Heard::Refused(_)));
        assert!(refused);
    }

    #[test]
    fn a_batch_has_a_command_for_each_message() {
        let body = batch([("user-1", r#"{"n":1}"#), ("user-2", r#"{"n":2}"#)].into_iter());
        let expected = r##"{"parallel":false,"commands":[{"publish":{"channel":"#user-1","data":{"n":1}}},{"publish":{"channel":"#user-2","data":{"n":2}}}]}"##;
        assert_eq!(body, expected);
        assert!(!has_error(br#"{"replies":[{"publish":{}}]}"#));
        assert!(has_error(br#"{"replies":[{"publish":{}},{"error":{"code":102}}]}"#) && has_error(b"x"));
    }
}
