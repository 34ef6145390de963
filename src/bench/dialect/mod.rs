//! What is spoken on an open connection: the service's own two modes, and the protocols of its peers, so that the same load
//! can be put on them.

pub(super) mod centrifugo;
mod plain;
mod socket_io;
mod v1;

use std::borrow::Cow;

use http::Uri;
use secrecy::SecretString;

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// Without a subprotocol: each text is a message, and what is missed is lost
    Plain,
    /// With websocket-service.v1: ids, resumption, gaps
    V1,
    /// Engine.IO 4 and Socket.IO over WebSocket
    SocketIo,
    /// Centrifugo's JSON protocol
    Centrifugo,
}

/// What a text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// The connection is open and its user's messages come.
    Ready,
    /// The payload of a message.
    Message(Cow<'a, [u8]>),
    /// To be answered with this.
    Answer(&'static str),
    /// The connection is refused, with what the server says.
    Refused(Cow<'a, str>),
}

impl Mode {
    /// Its name, as the flag has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::V1 => "v1",
            Self::SocketIo => "socket-io",
            Self::Centrifugo => "centrifugo",
        }
    }

    /// Whether it is one of the service's own.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Plain | Self::V1)
    }

    /// The upgrade's target.
    pub(super) fn path(self, url: &Uri) -> String {
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        match self {
            Self::SocketIo => socket_io::path(path),
            _ => path.to_owned(),
        }
    }

    /// The subprotocol to ask for.
    pub(super) fn protocol(self) -> Option<&'static str> {
        (self == Self::V1).then_some(v1::PROTOCOL)
    }

    /// Whether the upgrade itself carries the token.
    pub(super) fn bearer(self) -> bool {
        self.is_own()
    }

    /// Whether the connection is ready with its 101.
    pub(super) fn ready_at_once(self) -> bool {
        self == Self::Plain
    }

    /// What to send to log in: after the 101 where `heard` is none, or in answer to a text.
    pub(super) fn login(self, heard: Option<&[u8]>, token: &SecretString) -> Option<String> {
        match self {
            Self::Plain | Self::V1 => None,
            Self::SocketIo => socket_io::login(heard, token),
            Self::Centrifugo => centrifugo::login(heard, token),
        }
    }

    /// Reads a text; each thing that it says goes to `each`.
    pub(super) fn hear<'a>(self, text: &'a [u8], each: &mut dyn FnMut(Heard<'a>)) {
        match self {
            Self::Plain => each(plain::hear(text)),
            Self::V1 => v1::hear(text).into_iter().for_each(each),
            Self::SocketIo => socket_io::hear(text).into_iter().for_each(each),
            Self::Centrifugo => centrifugo::hear(text, each),
        }
    }
}
