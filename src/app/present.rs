//! The fleet's registry is told of this pod's connections now and then, and after an outage, in which Redis may have lost
//! what it knew.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::inbox::Wakes;
use crate::backplane::Registry;
use crate::hub::Hub;
use crate::server::entry;

/// Between two tellings: a third of the time that the registry remembers.
const EVERY: Duration = Duration::from_secs(20 * 60);

/// Over how long the pods of a fleet tell it after an outage that all of them had.
const SPREAD: Duration = Duration::from_secs(5);

/// Tells the registry, until `stop`.
pub(super) async fn keep(
    hub: Arc<Hub>,
    registry: Arc<dyn Registry>,
    pod: String,
    wakes: Arc<Wakes>,
    stop: CancellationToken,
) {
    let keeping = async {
        loop {
            tokio::select! {
                () = sleep(EVERY) => {}
                () = wakes.present.notified() => sleep(SPREAD.mul_f64(rand::random())).await,
            }
            let present = hub.present();
            let entries =
                present.into_iter().map(|(user, connection)| (user, entry(&connection, &pod, None)));
            if let Err(error) = registry.keep(entries.collect()).await {
                tracing::debug!(%error, "the registry was not told of this pod's connections; it is tried again");
            }
        }
    };
    stop.run_until_cancelled(keeping).await;
}
