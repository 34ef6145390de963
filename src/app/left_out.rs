//! Says now and then that log lines are missing: whoever reads the log should know.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::server::Service;
use crate::telemetry::events;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Counts and tells what was left out of the log, until `stop`.
pub(super) async fn tell(service: Arc<Service>, stop: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let metrics: &Metrics = &service.metrics;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        match service.levels.left_out() {
            0 => {}
            lines => events::lines_left_out(metrics, lines),
        }
    }
}
