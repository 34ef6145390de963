//! The revocations of a single pod: forgotten with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::backplane::{BackplaneError, MAX_REVOCATIONS, Order, Revocations, RevokeError, Sink};
use crate::protocol::{Revocation, Revoked};

/// By their names.
pub struct MemoryRevocations {
    sink: Arc<dyn Sink>,
    kept: Mutex<HashMap<String, Revocation>>,
}

impl MemoryRevocations {
    /// None yet; `sink` is told of those that come and go.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, kept: Mutex::default() }
    }
}

impl Revocations for MemoryRevocations {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<u64, RevokeError>> {
        Box::pin(async move {
            let (name, revoked) = (revocation.revoked.name(), revocation.revoked.clone());
            {
                let mut kept = self.kept.lock();
                if kept.len() >= MAX_REVOCATIONS && !kept.contains_key(&name) {
                    return Err(RevokeError::Full);
                }
                kept.insert(name, revocation);
            }
            self.sink.order(Order::Revoke(revoked));
            Ok(1)
        })
    }

    fn lift(&self, revoked: Revoked) -> BoxFuture<'_, Result<bool, BackplaneError>> {
        Box::pin(async move {
            let was = self.kept.lock().remove(&revoked.name()).is_some();
            self.sink.order(Order::Lift(revoked));
            Ok(was)
        })
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Revocation>, BackplaneError>> {
        Box::pin(async move {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let mut kept = self.kept.lock();
            kept.retain(|_, revocation| revocation.kept_until > now);
            Ok(kept.values().cloned().collect())
        })
    }
}
