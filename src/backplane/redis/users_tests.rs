use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::interest::Batch;
use super::super::slots::{Slot, no_owners};
use super::*;

const USERS: usize = 4;
const NODES: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Want(usize),
    Release(usize),
    /// The users' slots have these masters; 0 is none.
    Reroute([u32; USERS]),
    /// The worker of a server sends its next commands, which the server executes.
    Send(u32),
    /// Their answers arrive.
    Answer(u32),
    /// The same, where it took the plain channels and sends the sharded ones elsewhere.
    Elsewhere(u32),
    Cut(u32),
    Link(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..USERS).prop_map(Step::Want),
        3 => (0..USERS).prop_map(Step::Release),
        2 => prop::array::uniform4(0..=NODES).prop_map(Step::Reroute),
        5 => (1..=NODES).prop_map(Step::Send),
        5 => (1..=NODES).prop_map(Step::Answer),
        1 => (1..=NODES).prop_map(Step::Elsewhere),
        1 => (1..=NODES).prop_map(Step::Cut),
        3 => (1..=NODES).prop_map(Step::Link),
    ];
    prop::collection::vec(step, 0..120)
}

/// A server and the worker that talks to it.
#[derive(Default)]
struct Server {
    table: Option<Arc<Table>>,
    linked: bool,
    subscribed: HashSet<UserId>,
    flight: Option<Batch>,
}

struct World {
    users: Arc<Users>,
    servers: BTreeMap<u32, Server>,
    masters: [u32; USERS],
    held: Vec<Vec<Subscription>>,
    /// Users of whom it was said that their link is cut and not yet that it is restored.
    cut: HashSet<usize>,
}

fn id(user: usize) -> UserId {
    UserId::new(&user.to_string()).expect("a valid id")
}

impl World {
    fn new() -> Self {
        Self {
            users: Arc::new(Users::new(Routing::of_cluster("ws:"))),
            servers: (1..=NODES).map(|node| (node, Server::default())).collect(),
            masters: [0; USERS],
            held: (0..USERS).map(|_| Vec::new()).collect(),
            cut: HashSet::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Want(user) => self.held[user].push(self.users.want(id(user))),
            Step::Release(user) => {
                drop(self.held[user].pop());
                // A connection that comes later was never cut.
                self.cut.retain(|user| !self.held[*user].is_empty());
            }
            Step::Reroute(masters) => self.reroute(masters),
            Step::Send(node) => self.send(node),
            Step::Answer(node) => self.answer(node, Table::confirm_joined),
            Step::Elsewhere(node) => self.answer(node, Table::put_off),
            Step::Cut(node) => self.lose(node),
            Step::Link(node) => {
                let server = self.servers.get_mut(&node).expect("one of them");
                if let Some(table) = server.table.as_ref().filter(|_| !server.linked) {
                    server.linked = true;
                    table.link_up();
                }
            }
        }
        for user in 0..USERS {
            let known = self.users.link_of(&id(user)).is_some() && !self.held[user].is_empty();
            let server = self.servers.get(&self.masters[user]);
            assert!(
                !known || server.is_some_and(|server| server.subscribed.contains(&id(user))),
                "{user} counts as subscribed, and its server knows nothing of it"
            );
        }
    }

    fn reroute(&mut self, masters: [u32; USERS]) {
        for (node, server) in &mut self.servers {
            if masters.contains(node) && server.table.is_none() {
                *server = Server { table: Some(self.users.table(NodeId(*node))), ..Server::default() };
            }
        }
        let mut owners = no_owners();
        for (user, master) in masters.iter().enumerate() {
            let slot = Slot::of(&["ws:", id(user).as_str()]).number();
            owners[slot] = (*master > 0).then_some(NodeId(*master));
        }
        let (cut, held) = (&mut self.cut, &self.held);
        let is_held = |user: &usize| !held[*user].is_empty();
        self.users.reroute(owners, |moved| {
            cut.extend((0..USERS).filter(is_held).filter(|user| moved(id(*user).as_str())));
        });
        self.masters = masters;
        // Links to those that have no slots end.
        for (_, server) in self.servers.iter_mut().filter(|(node, _)| !masters.contains(node)) {
            *server = Server::default();
        }
    }

    fn send(&mut self, node: u32) {
        let server = self.servers.get_mut(&node).expect("one of them");
        let Some(table) = server.table.as_ref().filter(|_| server.linked && server.flight.is_none()) else {
            return;
        };
        let batch = table.next(2);
        // As the worker does: both at once, so nobody may be in both.
        assert!(batch.join.iter().all(|user| !batch.leave.contains(user)));
        server.subscribed.extend(batch.join.iter().cloned());
        server.subscribed.retain(|user| !batch.leave.contains(user));
        server.flight = Some(batch);
        self.said(node);
    }

    fn answer(&mut self, node: u32, join: impl Fn(&Table, &[UserId])) {
        let server = self.servers.get_mut(&node).expect("one of them");
        let Some((table, batch)) = server.table.clone().zip(server.flight.take()) else { return };
        join(&table, &batch.join);
        table.confirm_left(&batch.leave);
        self.said(node);
    }

    /// Says that a server's users are restored, when that is due.
    fn said(&mut self, node: u32) {
        let server = self.servers.get_mut(&node).expect("one of them");
        if server.flight.is_none() && server.table.as_ref().is_some_and(|table| table.is_to_be_said()) {
            let masters = self.masters;
            self.cut.retain(|user| masters[*user] != node);
        }
    }

    fn lose(&mut self, node: u32) {
        let server = self.servers.get_mut(&node).expect("one of them");
        let Some(table) = server.table.clone() else { return };
        *server = Server { table: Some(Arc::clone(&table)), ..Server::default() };
        table.link_down();
        let own = |user: &usize| self.masters[*user] == node && !self.held[*user].is_empty();
        self.cut.extend((0..USERS).filter(own));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_ends_with_each_server_knowing_exactly_its_own_users(
        steps in steps(),
        masters in prop::array::uniform4(1..=NODES),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.step(&Step::Reroute(masters));
        for _ in 0..2 * USERS {
            for node in 1..=NODES {
                for step in [Step::Link(node), Step::Answer(node), Step::Send(node), Step::Answer(node)] {
                    world.step(&step);
                }
            }
        }
        for (node, server) in &world.servers {
            let own = (0..USERS).filter(|user| masters[*user] == *node && !world.held[*user].is_empty());
            prop_assert_eq!(&server.subscribed, &own.map(id).collect::<HashSet<_>>());
        }
        for user in 0..USERS {
            let held = !world.held[user].is_empty();
            prop_assert!(!held || world.users.link_of(&id(user)).is_some());
        }
        prop_assert!(world.cut.is_empty(), "nobody said that {:?} are restored", world.cut);
        let held = world.held.iter().filter(|held| !held.is_empty()).count();
        prop_assert_eq!(world.users.subscriptions(), Subscriptions { confirmed: held, pending: 0 });
        drop(std::mem::take(&mut world.held));
        prop_assert!(world.users.homeless.lock().is_empty());
    }
}

#[tokio::test]
async fn who_waits_goes_with_the_slot() {
    let users = Arc::new(Users::new(Routing::of_cluster("ws:")));
    let (ann, slot) = (id(1), Slot::of(&["ws:1"]).number());
    let _interest = users.want(ann.clone());
    let waiting = tokio::spawn({
        let (users, ann) = (Arc::clone(&users), ann.clone());
        async move { users.joined(&ann).await }
    });
    for node in [1, 2] {
        let table = users.table(NodeId(node));
        table.link_up();
        let mut owners = no_owners();
        owners[slot] = Some(NodeId(node));
        users.reroute(owners, |moved| assert!(moved("1")));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "no server has confirmed it");
        let batch = table.next(10);
        assert_eq!(batch.join, std::slice::from_ref(&ann));
        if node == 2 {
            table.confirm_joined(&batch.join);
        }
    }
    let link = waiting.await.expect("no panic").expect("subscribed");
    assert_eq!(users.link_of(&ann), Some(link));
}

/// What a sink does: it asks whose the change is while it holds a lock that a delivery, and another change, take as well.
#[test]
fn who_is_cut_off_is_told_while_the_slots_are_moved() {
    let users = Arc::new(Users::new(Routing::of_cluster("ws:")));
    let slot = Slot::of(&["ws:1"]).number();
    let owned_by = |node| {
        let mut owners = no_owners();
        owners[slot] = Some(NodeId(node));
        owners
    };
    users.reroute(owned_by(1), |_| {});
    let (sink, (done, ended)) = (Arc::new(Mutex::new(())), mpsc::channel());
    let (moving, cutting) = ((Arc::clone(&users), Arc::clone(&sink)), done.clone());
    let (ready, begin) = mpsc::channel();
    let new = owned_by(2);
    std::thread::spawn(move || {
        let (users, sink) = moving;
        begin.recv().expect("the other thread");
        users.reroute(new, |moved| {
            let _delivering = sink.lock();
            assert!(moved("1"));
        });
        done.send(()).expect("the test");
    });
    let told = Arc::clone(&users);
    std::thread::spawn(move || {
        told.with_those_of(NodeId(1), |whose| {
            let _delivering = sink.lock();
            ready.send(()).expect("the other thread");
            let Routing::Slots { owners, .. } = &told.routing else { unreachable!() };
            // Until the other one waits, or has what it wants.
            while owners.try_read().is_some() {
                std::thread::yield_now();
            }
            assert!(whose("1") && !whose("2"));
        });
        cutting.send(()).expect("the test");
    });
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_secs(60)).expect("neither waits for the other");
    }
    assert!(users.is_of(NodeId(2), "1"));
}
