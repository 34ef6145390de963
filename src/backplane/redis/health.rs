//! How the backplane stands, from how each of its servers does.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::slots::NodeId;
use crate::backplane::{Observer, Status};

/// How one server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// An attempt to connect is under way that is the first.
    New,
    /// Connected, and everything wanted is subscribed.
    Up,
    /// An attempt failed, or the connection is lost.
    Down,
}

/// All of them.
pub(super) struct Health {
    servers: Mutex<Servers>,
    whole: watch::Sender<Status>,
    observer: Arc<dyn Observer>,
}

#[derive(Debug, Default)]
struct Servers {
    standing: BTreeMap<NodeId, Standing>,
    /// Slots that no server has.
    uncovered: bool,
    /// Some server was up once.
    known: bool,
}

impl Health {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { servers: Mutex::default(), whole: watch::Sender::new(Status::Connecting), observer }
    }

    pub(super) fn status(&self) -> Status {
        *self.whole.borrow()
    }

    /// A server is there, or stands otherwise now.
    pub(super) fn tell(&self, node: NodeId, standing: Standing) {
        self.change(|servers| {
            servers.known |= standing == Standing::Up;
            servers.standing.insert(node, standing);
        });
    }

    /// These are the servers, and whether they have all slots.
    pub(super) fn keep(&self, nodes: impl Fn(NodeId) -> bool, covered: bool) {
        self.change(|servers| {
            servers.standing.retain(|node, _| nodes(*node));
            servers.uncovered = !covered;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Servers)) {
        let mut servers = self.servers.lock();
        change(&mut servers);
        let before = self.status();
        let now = servers.whole(before);
        if now != before {
            // Under the lock, so that changes are told in their order; whoever is told must not block.
            self.whole.send_replace(now);
            self.observer.status(now);
        }
    }
}

impl Servers {
    fn whole(&self, before: Status) -> Status {
        let any = |wanted| self.standing.values().any(|standing| *standing == wanted);
        let up = !self.uncovered && !any(Standing::New) && !any(Standing::Down) && any(Standing::Up);
        if up {
            Status::Up
        // A start takes as long as its slowest first attempt; after that those that are there do for a start.
        } else if before == Status::Connecting && (!self.known || any(Standing::New)) {
            Status::Connecting
        } else {
            Status::Down
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Notes(Mutex<Vec<Status>>);

    impl Observer for Notes {
        fn subscribed(&self, _took: std::time::Duration) {}

        fn status(&self, status: Status) {
            self.0.lock().push(status);
        }

        fn canary(&self, _canary: crate::backplane::Canary) {}
    }

    #[test]
    fn it_is_up_when_all_are() {
        let notes = Arc::new(Notes::default());
        let health = Health::new(Arc::clone(&notes) as Arc<dyn Observer>);
        let (one, two) = (NodeId(1), NodeId(2));
        for node in [one, two] {
            health.tell(node, Standing::New);
        }
        health.tell(one, Standing::Up);
        assert_eq!(health.status(), Status::Connecting);
        health.tell(two, Standing::Up);
        health.tell(two, Standing::Down);
        health.tell(NodeId(3), Standing::New);
        health.keep(|node| node != two, true);
        assert_eq!(health.status(), Status::Down, "another has come in its place, and is not there yet");
        health.tell(NodeId(3), Standing::Up);
        health.keep(|_| true, false);
        health.keep(|_| true, true);
        let (up, down) = (Status::Up, Status::Down);
        assert_eq!(*notes.0.lock(), [up, down, up, down, up]);
    }

    #[test]
    fn a_start_without_one_of_them_is_a_start() {
        let health = Health::new(Arc::new(()));
        let (one, two) = (NodeId(1), NodeId(2));
        health.tell(one, Standing::New);
        health.tell(two, Standing::New);
        health.tell(two, Standing::Down);
        assert_eq!(health.status(), Status::Connecting);
        health.tell(one, Standing::Up);
        assert_eq!(health.status(), Status::Down);
    }

    #[test]
    fn nobody_there_is_no_start() {
        let health = Health::new(Arc::new(()));
        health.tell(NodeId::ONE, Standing::New);
        health.tell(NodeId::ONE, Standing::Down);
        assert_eq!(health.status(), Status::Connecting);
    }
}
