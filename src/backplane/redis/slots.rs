//! Slots of a Redis Cluster: which one a name has, and which master has it.

use parking_lot::{RwLock, RwLockReadGuard};

/// How many there are.
pub(super) const SLOTS: u16 = 16_384;

/// One of the slots. It means nothing where there is one server only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(u16);

impl Slot {
    /// Of a name without braces, or of a hash tag, which is given in pieces.
    pub(super) fn of(pieces: &[&str]) -> Self {
        let mut sum = crc16::State::<crc16::XMODEM>::new();
        for piece in pieces {
            sum.update(piece.as_bytes());
        }
        Self(sum.get() % SLOTS)
    }

    pub(super) fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// A master with slots, as long as it has some. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

impl NodeId {
    /// The one server, where there is no cluster.
    pub(super) const ONE: Self = Self(0);
}

/// Which master has each slot; none while nobody has it.
pub(super) type Owners = Box<[Option<NodeId>]>;

/// Who serves whom.
#[derive(Debug)]
pub(super) enum Routing {
    /// One server serves all.
    One,
    /// Each slot has a master.
    Slots {
        /// What stands before the user id in a channel's name.
        prefix: String,
        /// Held for reading while a message is handed on, so that nothing is handed on half-way through a change.
        owners: RwLock<Owners>,
    },
}

impl Routing {
    /// A cluster of which nothing is known yet.
    pub(super) fn of_cluster(prefix: &str) -> Self {
        Self::Slots { prefix: prefix.to_owned(), owners: RwLock::new(no_owners()) }
    }

    /// Who serves a user, for as long as what is returned is kept; none while nobody does.
    pub(super) fn serving(&self, user: &str) -> Option<Serving<'_>> {
        match self {
            Self::One => Some(Serving { node: NodeId::ONE, _unchanged: None }),
            Self::Slots { prefix, owners } => {
                let owners = owners.read();
                let node = owners[Slot::of(&[prefix, user]).number()]?;
                Some(Serving { node, _unchanged: Some(owners) })
            }
        }
    }
}

/// Nobody has any.
pub(super) fn no_owners() -> Owners {
    vec![None; usize::from(SLOTS)].into()
}

/// Who serves a user; nothing changes while it is kept.
pub(super) struct Serving<'a> {
    pub(super) node: NodeId,
    _unchanged: Option<RwLockReadGuard<'a, Owners>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As CLUSTER KEYSLOT says.
        assert_eq!(Slot::of(&["foo"]).number(), 12_182);
        assert_eq!(Slot::of(&["123456789"]).number(), 12_739);
        assert_eq!(Slot::of(&["ws:", "ann"]), Slot::of(&["ws:ann"]));
        assert_eq!(Slot::of(&[]).number(), 0);
    }

    #[test]
    fn a_slot_without_a_master_serves_nobody() {
        let routing = Routing::of_cluster("ws:");
        assert!(routing.serving("ann").is_none());
        let Routing::Slots { owners, .. } = &routing else { unreachable!() };
        owners.write()[Slot::of(&["ws:ann"]).number()] = Some(NodeId(7));
        assert_eq!(routing.serving("ann").map(|serving| serving.node), Some(NodeId(7)));
        assert!(routing.serving("bob").is_none());
        assert_eq!(Routing::One.serving("bob").map(|serving| serving.node), Some(NodeId::ONE));
    }
}
