//! A real Redis Cluster of a test's own: three masters with a replica each, failovers, and slots that move.

mod change;
mod node;

use std::time::Duration;

use futures_util::future::join_all;

use super::redis::{Options, RedisServer};
use super::{Bound, eventually};
use node::Node;
pub(crate) use node::slot;

/// How many masters there are at first; each of them has a replica.
pub(crate) const MASTERS: usize = 3;

/// For nodes to agree on something.
pub(crate) const AGREED: Bound = Bound {
    limit: Duration::from_secs(120),
    reason: "some seconds for a failure to be noticed and a replica to be elected; a vote that fails for a stall is repeated",
};

/// Every node's configuration. The timeout is as short as it may be where stalls of a busy machine are no failures. Replicas stay
/// with their masters, and stand for election however long these have been away.
const LINES: [&str; 8] = [
    "cluster-announce-ip 127.0.0.1",
    "cluster-node-timeout 3000",
    "cluster-require-full-coverage no",
    "cluster-allow-replica-migration no",
    "cluster-replica-validity-factor 0",
    "repl-diskless-sync-delay 0",
    "repl-ping-replica-period 1",
    "enable-debug-command yes",
];

/// Six servers: the first three are masters at first, each replicated by the one three places on. Killed when dropped.
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<RedisServer>,
    /// Those that are killed or cut off, whom nobody asks.
    away: Vec<usize>,
}

impl RedisCluster {
    /// Open servers; all slots are held, and the replicas are in step, when this returns.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further lines of each node's configuration: `user …`.
    pub(crate) async fn start_with(lines: &[&'static str]) -> Self {
        Self::start_of(Options { lines: lines.to_vec(), ..Options::default() }).await
    }

    /// The same with further options of each node's.
    pub(crate) async fn start_of(options: Options) -> Self {
        let start = || {
            let lines = LINES.iter().chain(&options.lines).copied().collect();
            RedisServer::start_with(Options { lines, is_node: true, ..options.clone() })
        };
        let servers = join_all((0..2 * MASTERS).map(|_| start())).await;
        let cluster = Self { servers, away: Vec::new() };
        for (index, server) in cluster.servers.iter().enumerate() {
            server.run::<()>("CLUSTER SET-CONFIG-EPOCH", &[&text(&(index + 1))]).await;
            if index < MASTERS {
                let [first, end] = [index, index + 1].map(|part| part * usize::from(node::SLOTS) / MASTERS);
                server.run::<()>("CLUSTER ADDSLOTSRANGE", &[&text(&first), &text(&(end - 1))]).await;
            }
            // Each meets all before it: gossip alone takes seconds.
            for other in &cluster.servers[..index] {
                let [port, bus] = [other.port(), other.bus_port()].map(|port| text(&port));
                server.run::<()>("CLUSTER MEET", &[b"127.0.0.1", &port, &bus]).await;
            }
        }
        let all = |nodes: &[Node]| nodes.len() == 2 * MASTERS && nodes.iter().all(Node::is_well);
        cluster.agree("all know each other", all).await;
        for (index, replica) in cluster.servers.iter().enumerate().skip(MASTERS) {
            let master = cluster.id(index - MASTERS).await;
            replica.run::<()>("CLUSTER REPLICATE", &[master.as_bytes()]).await;
        }
        cluster.well().await;
        cluster
    }

    /// `REDIS_CLUSTER_NODES`: all of them.
    pub(crate) fn list(&self) -> String {
        self.servers.iter().map(RedisServer::address).collect::<Vec<_>>().join(",")
    }

    /// The place of the master to which a channel or key belongs, once all nodes say the same.
    pub(crate) async fn master_of(&self, name: &str) -> usize {
        self.owner(slot(name)).await
    }

    /// So many users of this master, by the slots of their plain channels.
    pub(crate) async fn users_of(&self, master: usize, count: usize) -> Vec<String> {
        let id = self.id(master).await;
        let nodes = self.view(master).await;
        let node = nodes.iter().find(|node| node.id == id).expect("it knows itself");
        let names = (0..).map(|number| format!("user-{number}"));
        names.filter(|user| node.has(slot(&format!("ws:{user}")))).take(count).collect()
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, index: usize) {
        self.servers[index].stop();
        self.away.push(index);
    }

    /// Starts a node again: taken back by all others, and where it is a replica in step, when this returns.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.servers[index].restart().await;
        self.away.retain(|away| *away != index);
        self.well().await;
    }

    /// Waits until a master that is gone has been replaced by its replica; the place of that one.
    pub(crate) async fn replaced(&self, old: usize) -> usize {
        let new = partner(old);
        let [old_bus, new_bus] = [old, new].map(|index| self.servers[index].bus_port());
        self.agree("the replica is elected", |nodes| {
            let has_slots = |bus| nodes.iter().any(|node| node.bus == bus && !node.slots.is_empty());
            has_slots(new_bus) && !has_slots(old_bus)
        })
        .await;
        new
    }

    /// The master of a slot, once all nodes say the same.
    async fn owner(&self, slot: u16) -> usize {
        let mut place = None;
        eventually("the nodes agree on a slot's master", AGREED, async || {
            let mut owners = Vec::new();
            for index in self.present() {
                let nodes = self.view(index).await;
                owners.push(nodes.iter().find(|node| node.has(slot)).map(|node| node.bus));
            }
            owners.dedup();
            place = self.servers.iter().position(|server| owners == [Some(server.bus_port())]);
            place.is_some()
        })
        .await;
        place.expect("found")
    }

    /// Waits until all that are there see each other well, with as many masters as at first, and replicas are in step.
    async fn well(&self) {
        let present: Vec<u16> = self.present().map(|index| self.servers[index].bus_port()).collect();
        self.agree("the cluster is well", |nodes| {
            let masters = nodes.iter().filter(|node| !node.slots.is_empty()).count();
            let is_settled =
                |node: &Node| node.is_well() && (node.flags.contains("slave") == node.slots.is_empty());
            let here = |bus: &u16| nodes.iter().any(|node| node.bus == *bus && is_settled(node));
            masters == MASTERS && present.iter().all(here)
        })
        .await;
        for index in self.present() {
            eventually("the node is in step", AGREED, async || {
                let state: String = self.servers[index].run("INFO replication", &[]).await;
                let cluster: String = self.servers[index].run("CLUSTER INFO", &[]).await;
                let in_step = state.contains("role:master") || state.contains("master_link_status:up");
                in_step && cluster.contains("cluster_state:ok")
            })
            .await;
        }
    }

    /// Waits until all that are there see this.
    async fn agree(&self, what: &str, condition: impl Fn(&[Node]) -> bool) {
        eventually(what, AGREED, async || {
            for index in self.present() {
                if !condition(&self.view(index).await) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// The cluster as a node sees it.
    async fn view(&self, index: usize) -> Vec<Node> {
        let text: String = self.servers[index].run("CLUSTER NODES", &[]).await;
        text.lines().map(|line| Node::parse(line).unwrap_or_else(|| panic!("no node: {line}"))).collect()
    }

    async fn id(&self, index: usize) -> String {
        self.servers[index].run("CLUSTER MYID", &[]).await
    }

    fn present(&self) -> impl Iterator<Item = usize> {
        (0..self.servers.len()).filter(|index| !self.away.contains(index))
    }
}

/// The other one of a master and its replica.
pub(crate) fn partner(index: usize) -> usize {
    (index + MASTERS) % (2 * MASTERS)
}

fn text(number: &impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}
