//! What more than one benchmark needs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use websocket_service::config::{OutboxConfig, OverflowPolicy, UserLimitPolicy};
use websocket_service::hub::{Connection, Hub, Registration, UserLimit};
use websocket_service::protocol::{Envelope, Mode, UserId};
use websocket_service::session::Outbox;

/// The size of a usual notification, in bytes.
pub(crate) const USUAL: usize = 256;

/// Calls that are timed as one: with fewer, much of a figure would be the clock's. The slow ones take a smaller number.
pub(crate) const CALLS: u32 = 1_000;

/// No bound, so that a queue that nobody empties takes what a benchmark gives it: eight bytes a message.
pub(crate) const UNBOUNDED: OutboxConfig =
    OutboxConfig { bytes: usize::MAX, messages: usize::MAX, policy: OverflowPolicy::Close };

const NO_LIMIT: UserLimit = UserLimit { connections: usize::MAX, policy: UserLimitPolicy::Reject };

/// A JSON object of so many bytes.
pub(crate) fn json(bytes: usize) -> String {
    let empty = r#"{"type":"notification","pad":""}"#.len();
    format!(r#"{{"type":"notification","pad":"{}"}}"#, "x".repeat(bytes - empty))
}

pub(crate) fn envelope(bytes: usize) -> Arc<Envelope> {
    Envelope::new(json(bytes), usize::MAX).expect("UTF-8")
}

pub(crate) fn user(number: usize) -> UserId {
    UserId::new(&format!("user-{number}")).expect("a valid id")
}

/// Takes a place in the hub, with an outbox of its own.
pub(crate) fn register(hub: &Arc<Hub>, user: &UserId) -> Registration {
    let connection = Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Mode::Plain, Outbox::default());
    hub.register(user.clone(), connection, NO_LIMIT).expect("there is no limit")
}
