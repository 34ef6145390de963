//! Revocations: taken over from where they are kept, and held against who is connected.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::inbox::Wakes;
use crate::auth::RevokedTokens;
use crate::backplane::Revocations;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::server;
use crate::told::Told;

/// Between two readings of all that there are. Changes come by orders, and what an outage hid is read after it: this is
/// for what has run out.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Between two attempts to read them.
const AGAIN: Duration = Duration::from_secs(1);

/// Between two looks at all connections: a look at 10,000 takes a millisecond or two.
const REST: Duration = Duration::from_millis(100);

/// What revocations concern.
pub(super) struct Revoking {
    pub(super) kept: Arc<dyn Revocations>,
    pub(super) tokens: Arc<RevokedTokens>,
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) wakes: Arc<Wakes>,
}

impl Revoking {
    /// Goes on until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(self) {
        let (mut due, mut told) = (Instant::now(), Told::working());
        loop {
            tokio::select! {
                () = sleep_until(due) => due = self.read(&mut told).await,
                () = self.wakes.restored.notified() => due = self.read(&mut told).await,
                () = self.wakes.revoked.notified() => {}
            }
            self.metrics.revocations.set(i64::try_from(self.tokens.len()).unwrap_or(i64::MAX));
            self.sweep();
            sleep(REST).await;
        }
    }

    /// Takes over all; returns when to do so next.
    async fn read(&self, told: &mut Told) -> Instant {
        let changes = self.tokens.changes();
        let read = self.kept.all().await;
        if told.is_new(read.as_ref().map(|_| ())) {
            match &read {
                Ok(_) => tracing::info!("revocations are known again"),
                Err(error) => {
                    tracing::warn!(%error, "revocations cannot be read; those that are known hold, and it is tried again");
                }
            }
        }
        match read {
            Ok(all) => {
                self.tokens.replace(all, changes);
                Instant::now() + EVERY
            }
            Err(_) => Instant::now() + AGAIN,
        }
    }

    /// Closes whoever came with a token that is revoked.
    fn sweep(&self) {
        if self.tokens.is_empty() {
            return;
        }
        for (user, connection) in self.hub.present() {
            if connection.shows(|credential| self.tokens.hold(&user, credential)) {
                connection.outbox.close(server::revoked());
            }
        }
    }
}
