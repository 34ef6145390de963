//! Where a connection leads, and whether that is still the right place.

use std::fmt;
use std::sync::Arc;

use ::redis::ConnectionAddr;

use super::sentinel::{Manner, Sentinels};
use crate::config::HostPort;

/// The way of one connection.
#[derive(Debug, Clone)]
pub(super) struct Route {
    address: String,
    followed: Option<Followed>,
}

#[derive(Debug, Clone)]
struct Followed {
    sentinels: Arc<Sentinels>,
    at: HostPort,
    manner: Manner,
}

impl Route {
    /// To the server of the URL, for as long as it answers.
    pub(super) fn fixed(address: &ConnectionAddr) -> Self {
        Self { address: address.to_string(), followed: None }
    }

    /// To the master, for as long as it is one.
    pub(super) fn followed(sentinels: Arc<Sentinels>, at: HostPort, manner: Manner) -> Self {
        Self { address: at.to_string(), followed: Some(Followed { sentinels, at, manner }) }
    }

    /// Whether nothing is known of another master.
    pub(super) fn is_current(&self) -> bool {
        self.followed.as_ref().is_none_or(|followed| followed.sentinels.is_believed(&followed.at))
    }

    /// Asks the sentinels, and resolves when there is another master.
    pub(super) async fn left(&self) -> HostPort {
        match &self.followed {
            Some(Followed { sentinels, at, manner }) => sentinels.moved(at, manner).await,
            None => std::future::pending().await,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
