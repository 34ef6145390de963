use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{Connection, Hub, Registration, TooMany, UserLimit};
use crate::config::{OutboxConfig, UserLimitPolicy};
use crate::metrics::Metrics;
use crate::protocol::{Envelope, Mode, UserId};
use crate::session::{Outbox, Push};

const MANY: UserLimit = UserLimit { connections: 100, policy: UserLimitPolicy::Reject };

fn user(id: &str) -> UserId {
    UserId::new(id).expect("a valid id")
}

fn connection() -> Connection {
    Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Mode::Plain, Outbox::default())
}

fn join(hub: &Arc<Hub>, id: &str) -> Registration {
    hub.register(user(id), connection(), MANY).expect("within the limit")
}

fn deliver(hub: &Hub, id: &str) -> usize {
    let envelope = Envelope::new(b"hello".to_vec(), 100).expect("text");
    hub.deliver(id, &envelope, &OutboxConfig::default(), &Metrics::new())
}

#[test]
fn every_connection_of_a_user_gets_a_message_and_nobody_else() {
    let hub = Hub::new();
    let _mine = [join(&hub, "a"), join(&hub, "a")];
    let _other = join(&hub, "b");
    assert_eq!(deliver(&hub, "a"), 2);
    assert_eq!(deliver(&hub, "b"), 1);
    assert_eq!(deliver(&hub, "nobody"), 0);
    assert_eq!((hub.len(), hub.users()), (3, 2));
}

#[test]
fn a_registration_leaves_with_its_own_connection_only() {
    let hub = Hub::new();
    let first = join(&hub, "a");
    let second = join(&hub, "a");
    drop(first);
    assert_eq!((deliver(&hub, "a"), hub.users()), (1, 1));
    drop(second);
    assert!(hub.is_empty() && hub.users() == 0 && hub.connections_of("a").is_empty());
}

#[test]
fn the_limit_rejects_the_newest() {
    let hub = Hub::new();
    let limit = UserLimit { connections: 1, policy: UserLimitPolicy::Reject };
    let first = hub.register(user("a"), connection(), limit).expect("the first");
    assert_eq!(hub.register(user("a"), connection(), limit).err(), Some(TooMany { limit: 1 }));
    assert!(hub.register(user("b"), connection(), limit).is_ok(), "limits are each user's own");
    drop(first);
    assert!(hub.register(user("a"), connection(), limit).is_ok());
}

#[test]
fn the_limit_evicts_the_oldest() {
    let hub = Hub::new();
    let limit = UserLimit { connections: 1, policy: UserLimitPolicy::EvictOldest };
    let first = hub.register(user("a"), connection(), limit).expect("the first");
    let second = hub.register(user("a"), connection(), limit).expect("in the first's place");
    hub.make_room(&user("a"), limit);
    let envelope = Envelope::new(b"x".to_vec(), 100).expect("text");
    let push = first.connection().outbox.offer(&envelope, &OutboxConfig::default(), &Metrics::new());
    assert_eq!(push, Push::Closed);
    assert_eq!(deliver(&hub, "a"), 1);
    drop(first);
    assert_eq!((hub.len(), hub.users()), (1, 1), "the newer one is still there");
    drop(second);
    assert_eq!((hub.len(), hub.users()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn tells_when_the_last_one_left() {
    let hub = Hub::new();
    let last = join(&hub, "a");
    let waiting = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.emptied().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(last);
    waiting.await.expect("the wait ends");
}

#[test]
fn connects_and_leaves_from_many_threads_end_empty() {
    let hub = Hub::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let hub = &hub;
            scope.spawn(move || {
                for n in 0..500 {
                    let id = format!("user-{}", (n + thread) % 7);
                    let one = join(hub, &id);
                    assert!(deliver(hub, &id) >= 1);
                    drop(one);
                }
            });
        }
    });
    assert_eq!((hub.len(), hub.users()), (0, 0));
}

#[test]
fn a_connection_keeps_to_its_place_in_memory() {
    // What an allocation of its size takes anyway: one byte more would cost 32 for each connection.
    let counts = 2 * size_of::<usize>();
    assert!(size_of::<Connection>() + counts <= 224, "{}", size_of::<Connection>() + counts);
}
