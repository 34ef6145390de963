//! The revocations that this pod knows of.

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;

use crate::protocol::{Credential, Revocation, Revoked, TokenId, UserId};

/// Which tokens do not count any more. Asked for each token, and of each connection when it changes.
///
/// A revocation is in force for as long as it is here: whoever keeps the table takes out what need not be kept any longer.
#[derive(Debug, Default)]
pub struct RevokedTokens(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    everybody_before: u64,
    users_before: HashMap<UserId, u64>,
    tokens: HashSet<TokenId>,
    changes: u64,
}

impl RevokedTokens {
    /// Whether a user's token is revoked.
    #[must_use]
    pub fn hold(&self, user: &UserId, credential: &Credential) -> bool {
        let table = self.0.read();
        let before = table.users_before.get(user).copied().unwrap_or(0).max(table.everybody_before);
        credential.issued_at < before || credential.id.as_ref().is_some_and(|id| table.tokens.contains(id))
    }

    /// Adds one, in the place of one of the same name.
    pub fn add(&self, revoked: Revoked) {
        let mut table = self.0.write();
        table.changes += 1;
        table.add(revoked);
    }

    /// Takes one out; what it says of time does not matter.
    pub fn lift(&self, revoked: &Revoked) {
        let mut table = self.0.write();
        table.changes += 1;
        match revoked {
            Revoked::Everybody { .. } => table.everybody_before = 0,
            Revoked::User { user_id, .. } => {
                table.users_before.remove(user_id);
            }
            Revoked::Token { token_id } => {
                table.tokens.remove(token_id);
            }
        }
    }

    /// How often it was added to or taken from, for [`RevokedTokens::replace`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.read().changes
    }

    /// Takes over all that there are, as they were read after [`RevokedTokens::changes`] was asked. What came meanwhile is kept:
    /// nobody knows whether it was read already.
    pub fn replace(&self, all: Vec<Revocation>, changes: u64) {
        let mut table = self.0.write();
        if table.changes == changes {
            *table = Table { changes, ..Table::default() };
        }
        for revocation in all {
            table.add(revocation.revoked);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let table = self.0.read();
        usize::from(table.everybody_before > 0) + table.users_before.len() + table.tokens.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn add(&mut self, revoked: Revoked) {
        match revoked {
            Revoked::Everybody { issued_before } => self.everybody_before = issued_before,
            Revoked::User { user_id, issued_before } => {
                self.users_before.insert(user_id, issued_before);
            }
            Revoked::Token { token_id } => {
                self.tokens.insert(token_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).expect("an id")
    }

    fn credential(issued_at: u64, id: &str) -> Credential {
        Credential { issued_at, id: TokenId::new(id).ok() }
    }

    fn of_user(name: &str, issued_before: u64) -> Revoked {
        Revoked::User { user_id: user(name), issued_before }
    }

    fn of_token(id: &str) -> Revoked {
        Revoked::Token { token_id: TokenId::new(id).expect("an id") }
    }

    #[test]
    fn a_time_holds_for_what_was_issued_before_it_and_for_what_does_not_say() {
        let revocations = RevokedTokens::default();
        assert!(!revocations.hold(&user("ann"), &Credential::default()));
        revocations.add(of_user("ann", 100));
        for (name, issued_at, holds) in
            [("ann", 99, true), ("ann", 100, false), ("ann", 0, true), ("bob", 0, false)]
        {
            assert_eq!(
                revocations.hold(&user(name), &credential(issued_at, "")),
                holds,
                "{name} {issued_at}"
            );
        }
        revocations.add(Revoked::Everybody { issued_before: 50 });
        assert!(revocations.hold(&user("bob"), &credential(49, "")));
        assert!(revocations.hold(&user("ann"), &credential(99, "")), "the later of both counts");
        revocations.lift(&of_user("ann", 0));
        assert!(!revocations.hold(&user("ann"), &credential(50, "")));
        revocations.lift(&Revoked::Everybody { issued_before: 1 });
        assert!(revocations.is_empty());
        assert_eq!(revocations.changes(), 4, "what is lifted is a change too");
    }

    #[test]
    fn each_counts_once() {
        let revocations = RevokedTokens::default();
        for _ in 0..2 {
            revocations.add(Revoked::Everybody { issued_before: 1 });
            for name in ["ann", "bob"] {
                revocations.add(of_user(name, 1));
            }
            for id in ["one", "two", "three"] {
                revocations.add(of_token(id));
            }
        }
        assert_eq!((revocations.len(), revocations.is_empty()), (6, false));
    }

    #[test]
    fn a_token_is_told_by_its_id() {
        let revocations = RevokedTokens::default();
        revocations.add(of_token("one"));
        assert!(revocations.hold(&user("ann"), &credential(u64::MAX, "one")));
        assert!(!revocations.hold(&user("ann"), &credential(1, "two")));
        assert!(!revocations.hold(&user("ann"), &credential(1, "")));
        assert_eq!(revocations.len(), 1);
        revocations.lift(&of_token("one"));
        assert!(!revocations.hold(&user("ann"), &credential(1, "one")));
    }

    #[test]
    fn what_comes_while_all_are_read_is_kept() {
        let revocations = RevokedTokens::default();
        revocations.add(of_token("old"));
        let before = revocations.changes();
        let read = vec![Revocation { revoked: of_token("read"), kept_until: 1 }];
        revocations.replace(read.clone(), before);
        assert!(!revocations.hold(&user("ann"), &credential(1, "old")), "it was not there any more");
        revocations.add(of_token("new"));
        revocations.replace(read, before);
        for id in ["new", "read"] {
            assert!(revocations.hold(&user("ann"), &credential(1, id)), "{id}");
        }
    }
}
