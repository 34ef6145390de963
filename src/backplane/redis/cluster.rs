//! Asking the nodes of a cluster who has which slots.

use std::collections::HashMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cmd;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::time::timeout;

use super::connect::Connector;
use super::errors::{ConnectError, is_io};
use super::topology::{Topology, View};
use crate::config::HostPort;

/// For one node to answer, connecting included. The sidecar has a second for all of its way to Redis.
const ANSWER: Duration = Duration::from_millis(800);

/// Nodes that are asked at once: one may be gone, and another cut off from the rest.
const ASKED: usize = 3;

/// Why nothing is known of a cluster. Safe to log.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// None answered.
    #[error("no node of the cluster answers, REDIS_CLUSTER_NODES among them; {at}: {reason}")]
    Silent {
        /// One of them.
        at: HostPort,
        /// What became of the question.
        reason: String,
    },
    /// They do, and nobody has this slot.
    #[error("no master of the cluster has the slot")]
    NoMaster,
}

/// A cluster, as far as its nodes tell.
#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<HostPort>,
    topology: Mutex<Topology>,
    /// A connection to each that was asked, kept from question to question.
    lines: Mutex<HashMap<HostPort, MultiplexedConnection>>,
}

impl Cluster {
    /// Of which these nodes are.
    pub(super) fn new(seeds: Vec<HostPort>) -> Self {
        Self { seeds, topology: Mutex::default(), lines: Mutex::default() }
    }

    /// Asks some nodes, others where none of those answers, and takes in what they say.
    ///
    /// # Errors
    /// [`ClusterError::Silent`]; what was known before still is.
    pub(super) async fn ask(&self, connector: &Connector) -> Result<Topology, ClusterError> {
        let mut nodes = self.topology.lock().nodes().to_vec();
        nodes.shuffle(&mut rand::rng());
        // Last, for a name may stand for any of them.
        nodes.extend(self.seeds.iter().filter(|seed| !nodes.contains(seed)).cloned().collect::<Vec<_>>());
        let mut silent = None;
        for some in nodes.chunks(ASKED) {
            let mut asks: FuturesUnordered<_> =
                some.iter().map(|node| self.question(node, connector)).collect();
            let mut heard = false;
            while let Some(answer) = asks.next().await {
                match answer {
                    Ok(view) => {
                        heard = true;
                        self.topology.lock().learn(&view);
                    }
                    Err(error) => silent = silent.or(Some(error)),
                }
            }
            if heard {
                let topology = self.topology.lock().clone();
                let is_there = |at: &HostPort| topology.nodes().contains(at) || self.seeds.contains(at);
                self.lines.lock().retain(|at, _| is_there(at));
                return Ok(topology);
            }
        }
        Err(silent.unwrap_or(ClusterError::NoMaster))
    }

    async fn question(&self, at: &HostPort, connector: &Connector) -> Result<View, ClusterError> {
        let asked = timeout(ANSWER, self.read(at, connector)).await;
        let reason = match asked {
            Ok(Ok(text)) => return Ok(View::read(&text, at, connector.is_by_name())),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ANSWER:?}"),
        };
        self.lines.lock().remove(at);
        Err(ClusterError::Silent { at: at.clone(), reason })
    }

    async fn read(&self, at: &HostPort, connector: &Connector) -> Result<String, ConnectError> {
        let mut nodes = cmd("CLUSTER");
        nodes.arg("NODES");
        let kept = self.lines.lock().get(at).cloned();
        if let Some(mut kept) = kept {
            match nodes.query_async(&mut kept).await {
                Err(error) if is_io(&error) => {}
                answer => return answer.map_err(ConnectError::Redis),
            }
        }
        // It may have been restarted since: asked once more, over a new connection.
        let mut made = connector.at(at).connect_for_commands().await?;
        let answer = nodes.query_async(&mut made).await.map_err(ConnectError::Redis)?;
        self.lines.lock().insert(at.clone(), made);
        Ok(answer)
    }
}
