use std::net::IpAddr;
use std::time::SystemTime;

use crate::protocol::{ConnectionId, Mode};
use crate::session::Outbox;

/// One connection as the hub sees it.
#[derive(Debug)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// When its upgrade was accepted.
    pub since: SystemTime,
    /// The peer's address.
    pub address: IpAddr,
    /// Which way of talking its client chose.
    pub mode: Mode,
    /// Where its messages wait.
    pub outbox: Outbox,
}

impl Connection {
    /// A connection that opens now, with an outbox of its kind.
    #[must_use]
    pub fn new(address: IpAddr, mode: Mode, outbox: Outbox) -> Self {
        Self { id: ConnectionId::random(), since: SystemTime::now(), address, mode, outbox }
    }
}
