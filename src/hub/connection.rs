use std::net::IpAddr;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::protocol::{ConnectionId, Credential, Mode};
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
    /// The token that it was let in with, or that took its place since.
    credential: Mutex<Credential>,
}

impl Connection {
    /// A connection that opens now, with an outbox of its kind.
    #[must_use]
    pub fn new(address: IpAddr, mode: Mode, outbox: Outbox) -> Self {
        let credential = Mutex::default();
        Self { id: ConnectionId::random(), since: SystemTime::now(), address, mode, outbox, credential }
    }

    /// Its token, from now on.
    pub fn renew(&self, credential: Credential) {
        *self.credential.lock() = credential;
    }

    /// Whether its token is such a one.
    pub fn shows(&self, is: impl FnOnce(&Credential) -> bool) -> bool {
        is(&self.credential.lock())
    }
}
