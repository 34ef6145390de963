//! What happens to a cluster: failovers, slots that move, nodes that are cut off.

use std::time::Duration;

use tokio::time::Instant;

use super::super::eventually;
use super::super::proxy::FaultProxy;
use super::node::Node;
use super::{AGREED, RedisCluster, partner, text};

/// After how long a failover that was asked for and did not come about has been given up by the nodes themselves.
const GIVEN_UP: Duration = Duration::from_secs(6);

impl RedisCluster {
    /// Lets a replica take its master's place while both are well, and waits until it has; the place of the new master.
    pub(crate) async fn failover(&self, old: usize) -> usize {
        let new = partner(old);
        let mut asked: Option<Instant> = None;
        eventually("the replica has taken over", AGREED, async || {
            let state: String = self.servers[new].run("INFO replication", &[]).await;
            let done = state.contains("role:master");
            if !done && asked.is_none_or(|asked| asked.elapsed() > GIVEN_UP) {
                self.servers[new].run::<()>("CLUSTER FAILOVER", &[]).await;
                asked = Some(Instant::now());
            }
            done
        })
        .await;
        self.replaced(old).await;
        self.well().await;
        new
    }

    /// Makes a master believe that it is alone, and all others that it is gone. Its clients stay connected, and it goes on
    /// serving what it had. The place of the one that is elected.
    pub(crate) async fn isolate(&mut self, index: usize) -> usize {
        let alone = &self.servers[index];
        // It answers none of the others' pings any more, 0 of the kinds of packets, and sends none to whom it forgot.
        alone.run::<()>("DEBUG DROP-CLUSTER-PACKET-FILTER 0", &[]).await;
        for node in self.view(index).await.iter().filter(|node| node.bus != alone.bus_port()) {
            alone.run::<()>("CLUSTER FORGET", &[node.id.as_bytes()]).await;
        }
        self.away.push(index);
        self.replaced(index).await
    }

    /// Puts a proxy between a node and all who learn of it from now on.
    pub(crate) async fn behind_proxy(&self, index: usize) -> FaultProxy {
        let server = &self.servers[index];
        let proxy = FaultProxy::start(server.address()).await;
        let port = proxy.port();
        server.run::<()>("CONFIG SET cluster-announce-port", &[&text(&port)]).await;
        let tells = |node: &Node| (node.bus, node.port) == (server.bus_port(), port);
        self.agree("all tell where the proxy is", |nodes| nodes.iter().any(tells)).await;
        self.well().await;
        proxy
    }

    /// Moves a slot with its keys to another master, as `redis-cli --cluster reshard` does.
    pub(crate) async fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot).await;
        let (source, target) = (self.id(from).await, self.id(to).await);
        let (number, port) = (text(&slot), text(&self.servers[to].port()));
        let set = async |at: usize, what: &str, id: &str| {
            let words = [number.as_slice(), what.as_bytes(), id.as_bytes()];
            self.servers[at].run::<()>("CLUSTER SETSLOT", &words).await;
        };
        set(to, "IMPORTING", &source).await;
        set(from, "MIGRATING", &target).await;
        loop {
            let keys: Vec<Vec<u8>> =
                self.servers[from].run("CLUSTER GETKEYSINSLOT", &[&number, b"100"]).await;
            if keys.is_empty() {
                break;
            }
            let mut words = vec![b"127.0.0.1".as_slice(), &port, b"", b"0", b"60000", b"KEYS"];
            words.extend(keys.iter().map(Vec::as_slice));
            self.servers[from].run::<()>("MIGRATE", &words).await;
        }
        // The new owner first: nobody is sent away from the old one in vain.
        set(to, "NODE", &target).await;
        set(from, "NODE", &target).await;
        let bus = self.servers[to].bus_port();
        let owns = |nodes: &[Node]| nodes.iter().any(|node| node.bus == bus && node.has(slot));
        self.agree("the slot has moved", owns).await;
    }
}
