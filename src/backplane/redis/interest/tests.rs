use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const USERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Want(usize),
    Release(usize),
    /// The worker takes names and sends its commands.
    Send(usize),
    /// The server executes the oldest command it has not executed.
    Execute,
    /// The oldest answer arrives.
    Answer,
    Cut,
    Link,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..USERS).prop_map(Step::Want),
        4 => (0..USERS).prop_map(Step::Release),
        3 => (1..USERS).prop_map(Step::Send),
        4 => Just(Step::Execute),
        4 => Just(Step::Answer),
        1 => Just(Step::Cut),
        2 => Just(Step::Link),
    ];
    prop::collection::vec(step, 0..120)
}

struct Command {
    subscribe: bool,
    users: Vec<UserId>,
    /// Executed, and so that it worked.
    done: Option<bool>,
}

/// A server, its clients, and the table between them.
#[derive(Default)]
struct World {
    interest: Interest,
    held: [u32; USERS],
    waiters: Vec<(usize, CancellationToken)>,
    server: HashSet<UserId>,
    flight: VecDeque<Command>,
    forbidden: Option<usize>,
}

fn id(user: usize) -> UserId {
    UserId::new(&user.to_string()).expect("a valid id")
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Want(user) => {
                self.held[user] += 1;
                self.interest.want(&id(user));
                self.look(user);
            }
            Step::Release(user) if self.held[user] > 0 => {
                self.held[user] -= 1;
                // A connection that is still waiting goes first: its caller's bound has passed.
                if let Some(place) = self.waiters.iter().position(|(waiting, _)| *waiting == user) {
                    self.waiters.remove(place);
                }
                self.interest.release(&id(user));
            }
            Step::Send(limit) => {
                let batch = self.interest.next(limit);
                for (subscribe, users) in [(true, batch.join), (false, batch.leave)] {
                    if !users.is_empty() {
                        self.flight.push_back(Command { subscribe, users, done: None });
                    }
                }
            }
            Step::Execute => self.execute(),
            Step::Answer => self.answer(),
            Step::Cut => {
                self.server.clear();
                self.flight.clear();
                self.interest.link_down();
            }
            Step::Link if !self.interest.linked => self.interest.link_up(),
            Step::Release(_) | Step::Link => {}
        }
        self.wake();
        for (user, entry) in &self.interest.users {
            assert!(
                entry.stage != Stage::Joined || self.server.contains(user),
                "{user} counts as subscribed, and the server knows nothing of it"
            );
        }
    }

    fn execute(&mut self) {
        let forbidden = self.forbidden.map(id);
        let Some(command) = self.flight.iter_mut().find(|command| command.done.is_none()) else { return };
        let works = !command.subscribe || !command.users.iter().any(|user| Some(user) == forbidden.as_ref());
        for user in command.users.iter().filter(|_| works) {
            if command.subscribe {
                self.server.insert(user.clone());
            } else {
                self.server.remove(user);
            }
        }
        command.done = Some(works);
    }

    fn answer(&mut self) {
        let Some(works) = self.flight.front().and_then(|command| command.done) else { return };
        let Some(Command { subscribe, users, .. }) = self.flight.pop_front() else { return };
        match (subscribe, works) {
            (true, true) => self.interest.joined(&users).iter().for_each(CancellationToken::cancel),
            (true, false) if users.len() == 1 => {
                self.interest.refused(&users).iter().for_each(CancellationToken::cancel);
            }
            // As the worker does: one by one, to find whose fault it is.
            (true, false) => self.flight.extend(users.into_iter().map(|user| Command {
                subscribe,
                users: vec![user],
                done: None,
            })),
            (false, _) => self.interest.left(&users),
        }
    }

    /// A waiter looks how its user stands; it looks again only when it is woken.
    fn look(&mut self, user: usize) {
        match self.interest.standing(&id(user)) {
            Standing::Joined(_) => {
                assert!(self.server.contains(&id(user)), "resolved before {user} was subscribed");
            }
            Standing::Refused => assert_eq!(self.forbidden, Some(user), "refused without a reason"),
            Standing::Pending(token) => self.waiters.push((user, token)),
        }
    }

    fn wake(&mut self) {
        let (woken, waiting) =
            std::mem::take(&mut self.waiters).into_iter().partition(|(_, token)| token.is_cancelled());
        self.waiters = waiting;
        for (user, _) in woken {
            self.look(user);
        }
    }

    fn settle(&mut self) {
        self.step(&Step::Link);
        while !(self.interest.queue.is_empty() && self.flight.is_empty()) {
            self.step(&Step::Send(2));
            self.step(&Step::Execute);
            self.step(&Step::Answer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_ends_with_the_server_knowing_exactly_who_is_wanted(
        steps in steps(),
        forbidden in prop::option::weighted(0.3, 0..USERS),
    ) {
        let mut world = World { forbidden, ..World::default() };
        for step in &steps {
            world.step(step);
        }
        world.settle();

        let wanted: HashSet<UserId> = (0..USERS).filter(|user| world.held[*user] > 0).map(id).collect();
        let mut subscribed = wanted.clone();
        if let Some(user) = forbidden {
            subscribed.remove(&id(user));
        }
        prop_assert_eq!(&world.server, &subscribed);
        prop_assert!(world.waiters.is_empty(), "a waiter was never woken");
        prop_assert!(world.interest.caught_up());
        prop_assert!(world.interest.waiting.is_empty(), "waiting places are left over");
        prop_assert_eq!(world.interest.users.keys().cloned().collect::<HashSet<_>>(), wanted);
        for (user, entry) in &world.interest.users {
            let held = world.held[user.as_str().parse::<usize>().expect("a number")];
            prop_assert_eq!(entry.count, held);
        }
        prop_assert!(world.interest.queue.is_empty());
    }
}

#[test]
fn a_storm_becomes_few_commands() {
    let mut interest = Interest::default();
    interest.link_up();
    for user in 0..5_000 {
        interest.want(&id(user));
    }
    let mut commands = 0;
    loop {
        let batch = interest.next(500);
        if batch.is_empty() {
            break;
        }
        commands += 1;
        interest.joined(&batch.join);
    }
    assert_eq!(commands, 10);
}

#[test]
fn released_and_wanted_again_costs_nothing() {
    let mut interest = Interest::default();
    interest.link_up();
    interest.want(&id(1));
    let batch = interest.next(10);
    interest.joined(&batch.join);
    assert!(interest.release(&id(1)), "the worker is woken");
    interest.want(&id(1));
    assert!(
        matches!(interest.standing(&id(1)), Standing::Joined(_)),
        "still subscribed, so nothing to wait for"
    );
    assert!(interest.next(10).is_empty());
}

#[test]
fn churn_without_a_link_leaves_nothing_behind() {
    let mut interest = Interest::default();
    for user in 0..10_000 {
        interest.want(&id(user));
        assert!(matches!(interest.standing(&id(user)), Standing::Pending(_)));
        interest.release(&id(user));
    }
    assert_eq!((interest.users.len(), interest.queue.len(), interest.waiting.len()), (0, 0, 0));
}

#[test]
fn an_idle_user_costs_one_small_slot() {
    // 16 bytes of shared name, 4 of count, 3 of flags, rounded up.
    assert_eq!(size_of::<(UserId, Entry)>(), 24);
}
