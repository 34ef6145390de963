//! All users of this pod, each in the table of the server that serves them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::interest::Standing;
use super::slots::{NodeId, Owners, Routing, Serving, Slot};
use super::table::{Known, Table};
use crate::backplane::{BackplaneError, Release, Subscription, Subscriptions, Whose};
use crate::protocol::UserId;

/// Users, tables and who serves whom.
///
/// Locks are taken in this order: the routing, what a sink locks while it is told something; the routing, the list of
/// tables, one table. What a sink is given to ask under its own locks must therefore take none of these.
#[derive(Debug)]
pub(super) struct Users {
    routing: Routing,
    tables: RwLock<BTreeMap<NodeId, Arc<Table>>>,
    /// Users whose slot nobody has, with how many want each.
    homeless: Mutex<HashMap<UserId, u32>>,
    links: Arc<AtomicU64>,
    /// Told after each change of the routing.
    changes: watch::Sender<()>,
}

impl Users {
    pub(super) fn new(routing: Routing) -> Self {
        Self {
            routing,
            tables: RwLock::default(),
            homeless: Mutex::default(),
            links: Arc::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// A table for one more server.
    pub(super) fn table(&self, node: NodeId) -> Arc<Table> {
        let table = Arc::new(Table::new(Arc::clone(&self.links)));
        self.tables.write().insert(node, Arc::clone(&table));
        table
    }

    /// Who serves the user; nothing changes while what is returned is kept.
    pub(super) fn serving(&self, user: &str) -> Option<Serving<'_>> {
        self.routing.serving(user)
    }

    /// Whether this server serves the user.
    pub(super) fn is_of(&self, node: NodeId, user: &str) -> bool {
        self.serving(user).is_some_and(|serving| serving.node == node)
    }

    /// Says something of the users that this server serves; they stay the same meanwhile, and asking who they are takes no
    /// lock.
    pub(super) fn with_those_of(&self, node: NodeId, say: impl FnOnce(&Whose<'_>)) {
        match &self.routing {
            Routing::One => say(&|_| node == NodeId::ONE),
            Routing::Slots { prefix, owners } => {
                let owners = owners.read();
                say(&|user| owners[Slot::of(&[prefix, user]).number()] == Some(node));
            }
        }
    }

    /// Takes interest in a user; dropping what is returned gives it back.
    pub(super) fn want(self: &Arc<Self>, user: UserId) -> Subscription {
        self.at(
            &user,
            |table| table.want(&user),
            |homeless| {
                *homeless.entry(user.clone()).or_default() += 1;
            },
        );
        Subscription::new(user, 0, Arc::clone(self) as Arc<dyn Release>)
    }

    /// Resolves once a wanted user is subscribed, with the number of the link that confirmed it. The state is looked at
    /// anew after each wake, so that a link that is lost between the confirmation and the wake makes the waiter wait on.
    pub(super) async fn joined(&self, user: &UserId) -> Result<u64, BackplaneError> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let standing = self.at(user, |table| Some(table.standing(user)), |_| None);
            match standing {
                Some(Standing::Joined(link)) => return Ok(link),
                Some(Standing::Refused) => {
                    return Err(BackplaneError::Refused("no permission for the user's channel".to_owned()));
                }
                Some(Standing::Pending(settled)) => settled.cancelled().await,
                // The sender is here.
                None => drop(changes.changed().await),
            }
        }
    }

    /// The number of the link by which a wanted user is subscribed now, if there is one.
    pub(super) fn link_of(&self, user: &UserId) -> Option<u64> {
        match self.at(user, |table| Some(table.known(user)), |_| None) {
            Some(Known::Joined(link)) => Some(link),
            _ => None,
        }
    }

    /// How many users are subscribed, and how many wait for it. Walks over all of them.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        let tables: Vec<_> = self.tables.read().values().cloned().collect();
        let none = Subscriptions { confirmed: 0, pending: self.homeless.lock().len() };
        tables.iter().map(|table| table.subscriptions()).fold(none, |sum, one| Subscriptions {
            confirmed: sum.confirmed + one.confirmed,
            pending: sum.pending + one.pending,
        })
    }

    /// From now on these servers have the slots: users go from table to table, and tables of servers without slots go.
    /// `moved` is told, before anything changes, which users have another server then. The tables of new servers have to
    /// be there.
    pub(super) fn reroute(&self, new: Owners, moved: impl FnOnce(&dyn Fn(&str) -> bool)) {
        let Routing::Slots { prefix, owners } = &self.routing else { return };
        let slot = |user: &str| Slot::of(&[prefix, user]).number();
        let mut old = owners.write();
        moved(&|user| old[slot(user)] != new[slot(user)]);
        *old = new;
        let mut tables = self.tables.write();
        let mut homeless = self.homeless.lock();
        let mut moving: Vec<(UserId, u32)> = homeless.drain().collect();
        for (node, table) in tables.iter() {
            moving.extend(table.part(|user| old[slot(user.as_str())] != Some(*node)));
        }
        tables.retain(|node, _| old.contains(&Some(*node)));
        let mut arrivals: BTreeMap<NodeId, Vec<(UserId, u32)>> = BTreeMap::new();
        for (user, count) in moving {
            match old[slot(user.as_str())] {
                Some(node) => arrivals.entry(node).or_default().push((user, count)),
                None => *homeless.entry(user).or_default() += count,
            }
        }
        for (node, users) in arrivals {
            if let Some(table) = tables.get(&node) {
                table.take_over(users);
            }
        }
        drop((homeless, tables, old));
        self.changes.send_replace(());
    }

    /// Does something with the user's table, or with those who have none; nothing is rerouted meanwhile.
    fn at<T>(
        &self,
        user: &UserId,
        with: impl FnOnce(&Table) -> T,
        without: impl FnOnce(&mut HashMap<UserId, u32>) -> T,
    ) -> T {
        let serving = self.serving(user.as_str());
        let table = serving.as_ref().and_then(|serving| self.tables.read().get(&serving.node).cloned());
        match table {
            Some(table) => with(&table),
            None => without(&mut self.homeless.lock()),
        }
    }
}

impl Release for Users {
    fn release(&self, user: &UserId) {
        self.at(
            user,
            |table| table.release(user),
            |homeless| {
                if let Some(count) = homeless.get_mut(user) {
                    *count -= 1;
                    if *count == 0 {
                        homeless.remove(user);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
