//! Connections for programs that read and write keys and do not listen: one to the server, or one to each master of a
//! cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue, RedisError, Value, cmd, pipe};
use futures_util::future::try_join_all;

use super::cluster::ClusterError;
use super::connect::Connector;
use super::errors::ConnectError;
use super::slots::Slot;

/// A command, and the key that says which server it is for.
pub type Keyed = (String, Cmd);

/// The connections. They are as they were made: whoever gets an error makes them anew.
#[derive(Debug, Clone)]
pub struct Keys {
    lines: Vec<MultiplexedConnection>,
    /// Which line leads to each slot; none where there is one server.
    owners: Option<Arc<[Option<usize>]>>,
}

impl Connector {
    /// Connects to all servers that keys may lie on.
    ///
    /// # Errors
    /// [`ConnectError`], also where only one of them cannot be connected to.
    pub async fn connect_for_keys(&self) -> Result<Keys, ConnectError> {
        let Some(cluster) = self.cluster() else {
            return Ok(Keys { lines: vec![self.connect_for_commands().await?], owners: None });
        };
        let topology = cluster.ask(self).await?;
        let mut places = HashMap::new();
        let mut masters = Vec::new();
        let mut owners = Vec::new();
        for at in topology.owners() {
            owners.push(at.map(|at| {
                *places.entry(at).or_insert_with(|| {
                    masters.push(at.clone());
                    masters.len() - 1
                })
            }));
        }
        if masters.is_empty() {
            return Err(ClusterError::NoMaster.into());
        }
        let made = masters.iter().map(async |at| self.at(at).connect_for_commands().await);
        Ok(Keys { lines: try_join_all(made).await?, owners: Some(owners.into()) })
    }

    /// Connects to the server that has the slot.
    pub(super) async fn connect_to(&self, slot: Slot) -> Result<MultiplexedConnection, ConnectError> {
        let Some(cluster) = self.cluster() else { return self.connect_for_commands().await };
        let topology = cluster.ask(self).await?;
        let at = topology.owners().nth(slot.number()).flatten().ok_or(ClusterError::NoMaster)?;
        self.at(at).connect_for_commands().await
    }
}

impl Keys {
    /// Sends each to the server of its key, which has no braces: one pipeline to each server, all at once. Answers are in
    /// the order of the commands.
    ///
    /// # Errors
    /// The first server's that has one.
    pub async fn each(&self, commands: Vec<Keyed>) -> Result<Vec<Value>, RedisError> {
        let count = commands.len();
        let mut groups: BTreeMap<usize, Vec<(usize, Cmd)>> = BTreeMap::new();
        for (place, (key, command)) in commands.into_iter().enumerate() {
            groups.entry(self.line(&key)?).or_default().push((place, command));
        }
        let calls = groups.into_iter().map(async |(line, commands)| {
            let mut connection = self.lines[line].clone();
            let mut pipeline = pipe();
            let places: Vec<usize> = commands.iter().map(|(place, _)| *place).collect();
            for (_, command) in commands {
                pipeline.add_command(command);
            }
            let values: Vec<Value> = pipeline.query_async(&mut connection).await?;
            Ok::<_, RedisError>(places.into_iter().zip(values).collect::<Vec<_>>())
        });
        let mut answers = vec![Value::Nil; count];
        for (place, value) in try_join_all(calls).await?.into_iter().flatten() {
            answers[place] = value;
        }
        Ok(answers)
    }

    /// The values of these keys, in their order; none of a key that is not there.
    ///
    /// # Errors
    /// The first server's that has one.
    pub async fn get_all(
        &self,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<Vec<Option<Vec<u8>>>, RedisError> {
        let get = |key: String| {
            let mut get = cmd("GET");
            get.arg(&key);
            (key, get)
        };
        let values = self.each(keys.into_iter().map(get).collect()).await?;
        values.into_iter().map(|value| FromRedisValue::from_redis_value(value).map_err(Into::into)).collect()
    }

    /// Sends the same to every server.
    ///
    /// # Errors
    /// The first server's that has one.
    pub async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, RedisError> {
        let calls = self.lines.iter().map(async |line| command.query_async(&mut line.clone()).await);
        try_join_all(calls).await
    }

    fn line(&self, key: &str) -> Result<usize, RedisError> {
        let Some(owners) = &self.owners else { return Ok(0) };
        let line = owners.get(Slot::of(&[key]).number()).copied().flatten();
        line.ok_or_else(|| (::redis::ErrorKind::Client, "no master of the cluster has the key's slot").into())
    }
}
