//! Histories of connected users do not expire: a quiet user's client must still find its place when it comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::hub::Hub;

/// Times in the life of a history that it is kept: two may fail.
const OFTEN: u32 = 3;

/// Keeps the histories of users with a connection that resumes, until `stop`.
pub(super) async fn keep(
    hub: Arc<Hub>,
    history: Arc<dyn History>,
    lifetime: Duration,
    stop: CancellationToken,
) {
    let mut tick = interval((lifetime / OFTEN).max(Duration::from_millis(100)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let users = hub.resuming();
        if users.is_empty() {
            continue;
        }
        if let Err(error) = history.keep(users).await {
            tracing::debug!(%error, "histories of connected users were not kept; it is tried again");
        }
    }
}
