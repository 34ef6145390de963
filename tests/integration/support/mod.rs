//! What tests stand on: real servers, faults on demand, and waits with a bound.

pub(crate) mod backplane;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod kube_api;
pub(crate) mod logs;
pub(crate) mod mounted;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod schema;
pub(crate) mod scripted;
pub(crate) mod sentinel;
pub(crate) mod service;
pub(crate) mod sidecar;
pub(crate) mod tokens;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long a wait may last, and why that is enough. Waits end with their event; the bound only ends a failing test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// The longest wait.
    pub(crate) limit: Duration,
    /// Why it cannot honestly take longer.
    pub(crate) reason: &'static str,
}

/// For what takes milliseconds on an idle machine.
pub(crate) const LOCAL: Bound = Bound {
    limit: Duration::from_secs(60),
    reason: "a local server answers in milliseconds; the rest is for a machine busy with other tests",
};

/// Waits for something that nothing announces, by asking again and again.
///
/// # Panics
/// When it is not so within the bound.
pub(crate) async fn eventually(what: &str, bound: Bound, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < bound.limit, "not within {:?}: {what} ({})", bound.limit, bound.reason);
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a future.
///
/// # Panics
/// When it does not resolve within the bound.
pub(crate) async fn within<T>(what: &str, bound: Bound, future: impl Future<Output = T>) -> T {
    match timeout(bound.limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {:?}: {what} ({})", bound.limit, bound.reason),
    }
}
