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

/// Until who left while the registry was told has left the hub too: a connection's end waits for the registry for a second
/// before that.
const SETTLED: Duration = Duration::from_secs(2);

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
            let told: Vec<_> =
                present.iter().map(|(user, connection)| (user.clone(), connection.id)).collect();
            let entries =
                present.into_iter().map(|(user, connection)| (user, entry(&connection, &pod, None)));
            if let Err(error) = registry.keep(entries.collect()).await {
                tracing::debug!(%error, "the registry was not told of this pod's connections; it is tried again");
            }
            sleep(SETTLED).await;
            // Who left meanwhile may have been taken out first and entered again: it would hold its user's place for good.
            for (user, id) in told {
                if hub.connections_of(user.as_str()).iter().all(|connection| connection.id != id) {
                    drop(registry.leave(user, id));
                }
            }
        }
    };
    stop.run_until_cancelled(keeping).await;
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::future::BoxFuture;
    use parking_lot::Mutex;
    use tokio::sync::oneshot;

    use super::*;
    use crate::backplane::{BackplaneError, Disconnect, EnterError, Entry, Limit};
    use crate::config::UserLimitPolicy;
    use crate::hub::{Connection, Registration, UserLimit};
    use crate::protocol::{ConnectionId, Mode, UserId};

    /// One that takes a second to be told of connections, and remembers which are known.
    #[derive(Default)]
    struct Slow(Mutex<Vec<ConnectionId>>);

    impl Registry for Slow {
        fn enter(
            &self,
            _: UserId,
            _: Entry,
            _: Limit,
        ) -> BoxFuture<'_, Result<Vec<ConnectionId>, EnterError>> {
            unreachable!("nobody enters")
        }

        fn leave(&self, _: UserId, id: ConnectionId) -> oneshot::Receiver<()> {
            self.0.lock().retain(|known| *known != id);
            oneshot::channel().1
        }

        fn list(&self, _: UserId) -> BoxFuture<'_, Result<Vec<Entry>, BackplaneError>> {
            unreachable!("nobody asks")
        }

        fn keep(&self, connections: Vec<(UserId, Entry)>) -> BoxFuture<'_, Result<(), BackplaneError>> {
            Box::pin(async move {
                sleep(Duration::from_secs(1)).await;
                self.0.lock().extend(connections.iter().map(|(_, entry)| entry.id));
                Ok(())
            })
        }

        fn disconnect(&self, _: Disconnect) -> BoxFuture<'_, Result<u64, BackplaneError>> {
            unreachable!("nobody is closed")
        }
    }

    fn connect(hub: &Arc<Hub>) -> Registration {
        let connection = Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Mode::Plain, Default::default());
        let limit = UserLimit { connections: 9, policy: UserLimitPolicy::Reject };
        hub.register(UserId::new("ann").expect("a valid id"), connection, limit).expect("room")
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_the_registry_is_told_does_not_stay_in_it() {
        let (hub, registry, stop) = (Hub::new(), Arc::new(Slow::default()), CancellationToken::new());
        let (leaves, stays) = (connect(&hub), connect(&hub));
        let telling = keep(
            Arc::clone(&hub),
            Arc::clone(&registry) as Arc<dyn Registry>,
            "ws-1".to_owned(),
            Arc::default(),
            stop.clone(),
        );
        let leaving = async {
            sleep(EVERY + Duration::from_millis(500)).await;
            // First the registry, and the hub when that has answered or a second is over.
            drop(registry.leave(leaves.user().clone(), leaves.connection().id));
            sleep(Duration::from_secs(1)).await;
            assert_eq!(registry.0.lock().len(), 2, "entered again");
            drop(leaves);
            sleep(SETTLED).await;
            assert_eq!(*registry.0.lock(), [stays.connection().id]);
            stop.cancel();
        };
        tokio::join!(telling, leaving);
    }
}
