use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::Connection;
use crate::protocol::{ConnectionId, UserId};

/// Some of the users, each with the open connections in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Shard {
    users: HashMap<UserId, Vec<Arc<Connection>>>,
}

impl Shard {
    pub(super) fn of(&self, user: &str) -> &[Arc<Connection>] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// Adds a connection; returns whether it is the user's first.
    pub(super) fn add(&mut self, user: &UserId, connection: Arc<Connection>) -> bool {
        match self.users.entry(user.clone()) {
            Entry::Occupied(mut open) => {
                open.get_mut().push(connection);
                false
            }
            Entry::Vacant(none) => {
                // Most users have one connection, and an idle one should cost no more than its own place.
                none.insert(vec![connection]);
                true
            }
        }
    }

    /// Removes this very connection, for a newer one of the user may have come meanwhile; returns whether the user has
    /// none left because of it.
    pub(super) fn remove(&mut self, user: &str, id: ConnectionId) -> bool {
        let Some(open) = self.users.get_mut(user) else { return false };
        let Some(index) = open.iter().position(|connection| connection.id == id) else { return false };
        open.remove(index);
        if open.is_empty() {
            self.users.remove(user);
            // Given back after a crowd left; with some room, for crowds come again.
            if self.users.capacity() > 64 && self.users.len() < self.users.capacity() / 4 {
                self.users.shrink_to(self.users.len() * 2);
            }
            return true;
        }
        false
    }

    /// Takes the user's oldest connection out. The user stays, for another takes its place.
    pub(super) fn take_oldest(&mut self, user: &str) -> Option<Arc<Connection>> {
        let open = self.users.get_mut(user)?;
        if open.is_empty() { None } else { Some(open.remove(0)) }
    }

    pub(super) fn resuming(&self) -> Vec<UserId> {
        let resumes = |open: &[Arc<Connection>]| open.iter().any(|connection| connection.outbox.resumes());
        self.users.iter().filter(|(_, open)| resumes(open)).map(|(user, _)| user.clone()).collect()
    }

    pub(super) fn present(&self) -> Vec<(UserId, Arc<Connection>)> {
        let of_user = |(user, open): (&UserId, &Vec<Arc<Connection>>)| {
            open.iter().map(|connection| (user.clone(), Arc::clone(connection))).collect::<Vec<_>>()
        };
        self.users.iter().flat_map(of_user).collect()
    }

    pub(super) fn all_of(&self, whose: &dyn Fn(&str) -> bool) -> Vec<Arc<Connection>> {
        let open = self.users.iter().filter(|(user, _)| whose(user.as_str()));
        open.flat_map(|(_, open)| open).cloned().collect()
    }
}
