//! The fleet's revocations in Redis: one hash, changed and told in one step.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::commands::Commands;
use super::scripts::Stored;
use super::slots::Slot;
use crate::backplane::{BackplaneError, MAX_REVOCATIONS, Order, Revocations, RevokeError};
use crate::protocol::{Revocation, Revoked};

/// What asks Redis.
pub(super) struct FleetRevocations {
    commands: Arc<Commands>,
    change: Stored,
    read: Stored,
    bound: Duration,
}

impl FleetRevocations {
    /// Each call waits `bound` at most.
    pub(super) fn new(commands: Arc<Commands>, bound: Duration) -> Self {
        Self {
            commands,
            change: Stored::new(include_str!("revoke.lua").to_owned()),
            read: Stored::new(include_str!("revocations.lua").to_owned()),
            bound,
        }
    }

    fn key(&self) -> (Slot, String) {
        self.commands.of_fleet("pods", "revocations")
    }

    async fn change(&self, order: &Order, name: &str, value: &str) -> Result<i64, BackplaneError> {
        let deadline = Instant::now() + self.bound;
        let (slot, key) = self.key();
        let ((_, orders), order) = (self.commands.orders(), json(order)?);
        let call = |connection| {
            self.change.run(connection, |call| {
                call.arg(1).arg(&key).arg(&orders).arg(&order);
                call.arg(name).arg(value).arg(MAX_REVOCATIONS);
            })
        };
        self.commands.lines.ask(slot, deadline, call).await
    }
}

impl Revocations for FleetRevocations {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<u64, RevokeError>> {
        Box::pin(async move {
            let name = revocation.revoked.name();
            let value = format!("{} {}", revocation.kept_until, json(&revocation)?);
            let told = self.change(&Order::Revoke(revocation.revoked), &name, &value).await?;
            u64::try_from(told).map_err(|_| RevokeError::Full)
        })
    }

    fn lift(&self, revoked: Revoked) -> BoxFuture<'_, Result<bool, BackplaneError>> {
        Box::pin(async move {
            let name = revoked.name();
            Ok(self.change(&Order::Lift(revoked), &name, "").await? >= 0)
        })
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Revocation>, BackplaneError>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.bound;
            let (slot, key) = self.key();
            let call = |connection| {
                self.read.run(connection, |call| {
                    call.arg(1).arg(&key);
                })
            };
            let kept: Vec<String> = self.commands.lines.ask(slot, deadline, call).await?;
            Ok(kept.iter().filter_map(|value| revocation(value)).collect())
        })
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, BackplaneError> {
    serde_json::to_string(value).map_err(|error| BackplaneError::Refused(error.to_string()))
}

/// One as it was written; none where something else stands there.
fn revocation(value: &str) -> Option<Revocation> {
    let (_, json) = value.split_once(' ')?;
    serde_json::from_str(json).ok()
}
