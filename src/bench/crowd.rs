//! Who connects, where, and how: the flags that all loads share.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;

use super::access::AccessArgs;
use super::dialect::Mode;
use super::line::Target;
use super::server::ServerArgs;
use super::session::Session;
use super::wire::Scratch;
use crate::open_files;
use crate::protocol::{IdError, UserId};

/// Flags of every load.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CrowdArgs {
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Number of users: PREFIX0, PREFIX1 and so on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) users: u32,
    /// Connections of each user
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections_per_user: u32,
    /// What stands before the number in a user id
    #[arg(long, value_name = "PREFIX", default_value = "u")]
    user_prefix: String,
    /// How to connect
    #[arg(long, value_enum, default_value_t = Mode::Plain)]
    pub(super) mode: Mode,
    /// Local address to connect from; may be repeated: they are used in turn. Each has some 28,000 ports
    #[arg(long, value_name = "ADDRESS")]
    pub(super) source_address: Vec<IpAddr>,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Seconds without a frame, a ping included, after which a connection counts as lost
    #[arg(long, value_name = "S", default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    silence: u64,
    /// Print a line of JSON every second, and the report as the last one, which has "final": true
    #[arg(long)]
    pub(super) json: bool,
}

impl CrowdArgs {
    /// Every user.
    ///
    /// # Errors
    /// When the prefix makes ids too long.
    pub(super) fn all_users(&self) -> Result<Vec<UserId>, IdError> {
        (0..self.users).map(|user| UserId::new(&format!("{}{user}", self.user_prefix))).collect()
    }

    /// Every connection's user, by number, so that the users come one after the other, and then their further connections.
    pub(super) fn connections(&self) -> Vec<u32> {
        (0..self.connections_per_user).flat_map(|_| 0..self.users).collect()
    }

    /// Connections of each user.
    pub(super) fn fan_out(&self) -> u32 {
        self.connections_per_user
    }

    /// [`Target::silence`].
    pub(super) fn silence(&self) -> Duration {
        Duration::from_secs(self.silence)
    }

    /// Where they go.
    ///
    /// # Errors
    /// When the key cannot be read or cannot sign.
    pub(super) fn target(&self) -> anyhow::Result<Target> {
        Ok(Target {
            endpoint: self.access.endpoint().clone(),
            mode: self.mode,
            mint: self.access.mint()?,
            sources: self.source_address.clone(),
            silence: self.silence(),
            scratch: Scratch::default(),
        })
    }

    /// Begins a run: finds the server to look at, and starts to tell.
    ///
    /// # Errors
    /// When the server's figures cannot be read, or signals cannot be listened to.
    pub(super) async fn session(&self) -> anyhow::Result<Session> {
        // What is lacking shows as failures of the kind "files".
        let _ = open_files::raise();
        Session::start(self.json, self.server.find().await?)
    }

    /// For commands that make no sense with other services than this one.
    ///
    /// # Errors
    /// When the mode is a peer's.
    pub(super) fn own_mode_only(&self) -> anyhow::Result<()> {
        ensure!(self.mode.is_own(), "--mode {} is there for `connect` and `deliver` only", self.mode.name());
        Ok(())
    }
}
