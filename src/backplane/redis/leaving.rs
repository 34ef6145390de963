//! Takes connections that left out of the registry. Each server has its turn by itself: one that is away holds up its own
//! users' only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::redis::pipe;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::commands::Commands;
use super::slots::NodeId;
use super::tuning::Tuning;
use crate::backplane::BackplaneError;
use crate::protocol::{ConnectionId, UserId};

/// Connections in one pipeline.
pub(super) const AT_ONCE: usize = 500;

/// Connections that left and that Redis does not know of yet. An outage can bring no more than were open, for no upgrade
/// succeeds meanwhile; beyond this many they are forgotten here, and stay listed until their pod's run ends.
pub(super) const LEAVING: usize = 65_536;

/// A connection that left, and who waits for that.
pub(super) type Left = (UserId, ConnectionId, oneshot::Sender<()>);

/// Whoever has a slot; none while nobody has.
type Server = Option<NodeId>;

/// What takes them out.
pub(super) struct Leaving {
    pub(super) commands: Arc<Commands>,
    pub(super) tuning: Tuning,
}

impl Leaving {
    /// Until nobody can leave any more.
    pub(super) async fn run(&self, mut left: mpsc::Receiver<Left>) {
        let (mut waiting, mut busy) = (BTreeMap::<Server, Vec<Left>>::new(), BTreeSet::new());
        let mut under_way = FuturesUnordered::new();
        let mut fresh = Vec::new();
        loop {
            let has_room = waiting.values().map(Vec::len).sum::<usize>() < LEAVING;
            tokio::select! {
                taken = left.recv_many(&mut fresh, AT_ONCE), if has_room => if taken == 0 { return },
                Some((server, again)) = under_way.next() => {
                    busy.remove(&server);
                    fresh = again;
                }
            }
            // Its slot may be another server's by now.
            for left in fresh.drain(..) {
                waiting.entry(self.commands.server(&left.0)).or_default().push(left);
            }
            let free: Vec<Server> =
                waiting.keys().filter(|server| !busy.contains(*server)).copied().collect();
            for server in free {
                if let Some(mut batch) = waiting.remove(&server) {
                    if batch.len() > AT_ONCE {
                        waiting.insert(server, batch.split_off(AT_ONCE));
                    }
                    busy.insert(server);
                    under_way.push(async move { (server, self.take_out(batch).await) });
                }
            }
        }
    }

    /// Returns those that are to be tried again: an entry that stays would take a place of its user's for good. What is
    /// refused is not.
    async fn take_out(&self, batch: Vec<Left>) -> Vec<Left> {
        match self.hdel(&batch).await {
            Ok(()) | Err(BackplaneError::Refused(_)) => {
                for (_, _, done) in batch {
                    // Nobody waits any more, perhaps.
                    let _ = done.send(());
                }
                Vec::new()
            }
            Err(_) => {
                sleep(self.tuning.backoff_base.mul_f64(rand::random_range(0.5..=1.0))).await;
                batch
            }
        }
    }

    async fn hdel(&self, batch: &[Left]) -> Result<(), BackplaneError> {
        let Some((user, ..)) = batch.first() else { return Ok(()) };
        let deadline = Instant::now() + self.tuning.publish;
        let mut pipeline = pipe();
        for (user, id, _) in batch {
            pipeline.cmd("HDEL").arg(self.commands.key(user, "connections")).arg(id.to_string()).ignore();
        }
        let pipeline = &pipeline;
        let call = |mut connection| async move { pipeline.exec_async(&mut connection).await };
        self.commands.lines.ask(self.commands.slot(user), deadline, call).await
    }
}
