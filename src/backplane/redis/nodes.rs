//! The servers that this pod has links to: one, or every master of a cluster, which come and go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::canary::{self, Cage, Keeper};
use super::channels::Channels;
use super::cluster::Cluster;
use super::commands::Commands;
use super::connect::Connector;
use super::health::{Health, Standing};
use super::lines::{Line, Lines};
use super::link;
use super::scripts::Stored;
use super::slots::{NodeId, Owners};
use super::subscriptions::Subscriber;
use super::topology::Topology;
use super::tuning::Tuning;
use super::users::Users;
use crate::backplane::{Observer, Sink, Status};
use crate::config::HostPort;
use crate::told::Told;

/// At least so long between two rounds of questions: a fleet that lost a master must not busy those that are left.
const REST: Duration = Duration::from_millis(200);

/// What every server's links have in common.
pub(super) struct Shared {
    pub(super) channels: Channels,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) users: Arc<Users>,
    pub(super) lines: Arc<Lines>,
    pub(super) commands: Arc<Commands>,
    pub(super) health: Arc<Health>,
    pub(super) subscriber: Connector,
    pub(super) publisher: Connector,
    pub(super) tuning: Tuning,
    pub(super) tasks: TaskTracker,
    /// Ends all of them.
    pub(super) stop: CancellationToken,
}

/// The servers.
pub(super) struct Nodes {
    shared: Shared,
    word: Arc<Stored>,
    there: Mutex<There>,
}

#[derive(Default)]
struct There {
    /// By address.
    nodes: BTreeMap<String, Node>,
    owners: Owners,
    last: u32,
}

/// One server, as long as it has slots.
struct Node {
    id: NodeId,
    line: Arc<Line>,
    cage: Arc<Cage>,
    stop: CancellationToken,
}

impl Nodes {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, word: Arc::new(canary::word()), there: Mutex::default() }
    }

    /// Begins with the one server, to which `line` leads.
    pub(super) fn begin(&self, line: Arc<Line>) {
        let Shared { subscriber, publisher, .. } = &self.shared;
        let node = self.start(NodeId::ONE, String::new(), line, (subscriber.clone(), publisher.clone()));
        self.there.lock().nodes.insert(String::new(), node);
    }

    /// Follows a cluster until the end.
    pub(super) async fn follow(self: Arc<Self>, cluster: Arc<Cluster>) {
        let Shared { lines, tuning, stop, publisher, .. } = &self.shared;
        let mut told = Told::default();
        let asking = async {
            loop {
                match cluster.ask(publisher).await {
                    Ok(topology) => {
                        if told.is_new::<String>(Ok(())) {
                            tracing::info!("the nodes of the cluster answer");
                        }
                        self.take(&topology);
                    }
                    Err(error) if told.is_new(Err(&error)) => {
                        tracing::warn!(%error, "nothing new is known of the cluster");
                    }
                    Err(_) => {}
                }
                sleep(REST).await;
                tokio::select! {
                    () = lines.outdated() => {}
                    () = sleep(tuning.topology_every.mul_f64(rand::random_range(0.9..=1.0))) => {}
                }
            }
        };
        stop.run_until_cancelled(asking).await;
    }

    /// How long ago a canary last came back, by the server where it is longest.
    pub(super) fn canary_age(&self) -> Option<Duration> {
        self.there.lock().nodes.values().filter_map(|node| node.cage.age()).max()
    }

    /// Whether this pod does not hear one of the servers, although others do.
    pub(super) fn deaf_alone(&self) -> bool {
        self.there.lock().nodes.values().any(|node| node.cage.deaf_alone())
    }

    /// Makes links to masters that are new, has users go to them, and ends those to masters without slots.
    fn take(&self, topology: &Topology) {
        let Shared { users, lines, health, sink, publisher, subscriber, .. } = &self.shared;
        let mut there = self.there.lock();
        let There { nodes, owners, last } = &mut *there;
        let mut ids: HashMap<&HostPort, NodeId> = HashMap::new();
        let mut wanted = Vec::with_capacity(owners.len());
        for at in topology.owners() {
            let id = at.map(|at| {
                *ids.entry(at).or_insert_with(|| {
                    let node = nodes.entry(at.to_string()).or_insert_with(|| {
                        *last += 1;
                        let connectors = (subscriber.at(at), publisher.at(at));
                        self.start(NodeId(*last), format!(":{at}"), Arc::default(), connectors)
                    });
                    node.id
                })
            });
            wanted.push(id);
        }
        let wanted: Owners = wanted.into();
        if wanted == *owners {
            return;
        }
        let is_wanted = |id: NodeId| ids.values().any(|wanted| *wanted == id);
        let mut leading = BTreeMap::new();
        nodes.retain(|_, node| {
            if is_wanted(node.id) {
                leading.insert(node.id, Arc::clone(&node.line));
            } else {
                node.stop.cancel();
            }
            is_wanted(node.id)
        });
        let masters = nodes.keys().cloned().collect::<Vec<_>>().join(" ");
        let uncovered = wanted.iter().filter(|owner| owner.is_none()).count();
        tracing::info!(masters, uncovered, "the cluster's slots have these masters");
        // Whoever reads finds what was published before its link moved.
        lines.change(wanted.clone(), leading);
        users.reroute(wanted.clone(), |moved| sink.cut(moved));
        health.keep(is_wanted, uncovered == 0);
        *owners = wanted;
    }

    fn start(&self, id: NodeId, place: String, line: Arc<Line>, connectors: (Connector, Connector)) -> Node {
        let Shared { channels, sink, observer, users, lines, commands, health, tuning, tasks, .. } =
            &self.shared;
        let stop = self.shared.stop.child_token();
        let (table, cage) = (users.table(id), Arc::new(Cage::default()));
        let (sender, status) = watch::channel(Status::Connecting);
        health.tell(id, Standing::New);
        let subscriber = Arc::new(Subscriber {
            node: id,
            table: Arc::clone(&table),
            users: Arc::clone(users),
            canary: Arc::clone(&cage),
            orders: commands.orders().1,
            channels: channels.clone(),
            sink: Arc::clone(sink),
            observer: Arc::clone(observer),
            status: sender,
            health: Arc::clone(health),
            lines: Arc::clone(lines),
            leaving: Mutex::default(),
            tuning: tuning.clone(),
        });
        let keeper = Keeper {
            node: id,
            place,
            cage: Arc::clone(&cage),
            table,
            users: Arc::clone(users),
            line: Arc::clone(&line),
            commands: Arc::clone(commands),
            observer: Arc::clone(observer),
            status,
            tuning: tuning.clone(),
            word: Arc::clone(&self.word),
        };
        let (to_subscribe, to_publish) = connectors;
        tasks.spawn(link::supervise(subscriber, to_subscribe, tuning.clone(), stop.clone()));
        tasks.spawn(link::supervise(Arc::clone(&line), to_publish, tuning.clone(), stop.clone()));
        tasks.spawn(keeper.run(stop.clone()));
        Node { id, line, cage, stop }
    }
}
