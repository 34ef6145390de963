//! What the nodes of a cluster say of it, and what is believed: for each slot the claim of the latest configuration, as the
//! nodes themselves decide it.

use std::collections::HashSet;

use super::slots::SLOTS;
use crate::config::HostPort;

/// So many views in a row have to be without a master that is believed in until it is forgotten: a node that was just made
/// is not known to all at once.
const FORGOTTEN_AFTER: u32 = 3;

/// A master's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    id: String,
    at: HostPort,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

/// What one node says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    claims: Vec<Claim>,
    ids: HashSet<String>,
    /// Whoever may be asked, replicas too.
    nodes: Vec<HostPort>,
    /// Masters with slots that the node does not reach.
    unreached: usize,
}

/// Who has a slot, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    master: usize,
    epoch: u64,
}

/// What is believed of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topology {
    masters: Vec<(String, HostPort)>,
    slots: Vec<Option<Owner>>,
    nodes: Vec<HostPort>,
    /// Views in a row that lacked a master that is believed in.
    strange: u32,
}

impl View {
    /// Reads the answer to `CLUSTER NODES` of the node `asked`. `names` takes announced host names instead of addresses.
    /// Lines that are none are passed over.
    pub(super) fn read(text: &str, asked: &HostPort, names: bool) -> Self {
        let mut view = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, place, flags, _of, _ping, _pong, epoch, _link, slots @ ..] = words.as_slice() else {
                continue;
            };
            let flags: Vec<&str> = flags.split(',').collect();
            if flags.contains(&"handshake") {
                continue;
            }
            view.ids.insert((*id).to_owned());
            let Some(at) = address(place, flags.contains(&"myself").then_some(asked), names) else {
                continue;
            };
            let fails = flags.iter().any(|flag| ["fail", "fail?", "noaddr"].contains(flag));
            if !fails {
                view.nodes.push(at.clone());
            }
            // Those in brackets are on their way to another master, and still this one's.
            let slots: Vec<_> = slots.iter().filter_map(|slots| range(slots)).collect();
            if flags.contains(&"master") && !slots.is_empty() {
                view.unreached += usize::from(fails);
                let epoch = epoch.parse().unwrap_or(0);
                view.claims.push(Claim { id: (*id).to_owned(), at, epoch, slots });
            }
        }
        view
    }

    /// Whether the node is with most of the masters: one that is cut off knows only the past.
    fn is_of_most(&self) -> bool {
        self.unreached * 2 < self.claims.len()
    }
}

impl Topology {
    /// Takes in what a node says.
    pub(super) fn learn(&mut self, view: &View) {
        if !view.is_of_most() {
            return;
        }
        let known = |owner: &Owner| view.ids.contains(&self.masters[owner.master].0);
        let strange = self.slots.iter().flatten().any(|owner| !known(owner));
        self.strange = if strange { self.strange + 1 } else { 0 };
        if self.strange >= FORGOTTEN_AFTER {
            *self = Self::default();
        }
        self.slots.resize(usize::from(SLOTS), None);
        self.nodes.clone_from(&view.nodes);
        for claim in &view.claims {
            let master = self.master(claim);
            for (first, last) in &claim.slots {
                for slot in &mut self.slots[usize::from(*first)..=usize::from(*last)] {
                    if slot.as_ref().is_none_or(|owner| owner.epoch <= claim.epoch) {
                        *slot = Some(Owner { master, epoch: claim.epoch });
                    }
                }
            }
        }
    }

    /// The place of a master in the list, where it is now.
    fn master(&mut self, claim: &Claim) -> usize {
        let entry = (claim.id.clone(), claim.at.clone());
        match self.masters.iter().position(|(id, _)| *id == claim.id) {
            Some(place) => {
                self.masters[place] = entry;
                place
            }
            None => {
                self.masters.push(entry);
                self.masters.len() - 1
            }
        }
    }

    /// The address of each slot's master; none for a slot that nobody has.
    pub(super) fn owners(&self) -> impl Iterator<Item = Option<&HostPort>> {
        self.slots.iter().map(|owner| owner.as_ref().map(|owner| &self.masters[owner.master].1))
    }

    /// Nodes to ask, as far as they are known.
    pub(super) fn nodes(&self) -> &[HostPort] {
        &self.nodes
    }
}

/// `host:port@bus,name,…`, the latter two since 4.0 and 7.0. A node may not know its own address; it is where it was asked.
fn address(place: &str, myself: Option<&HostPort>, names: bool) -> Option<HostPort> {
    let mut parts = place.split(',');
    let end = parts.next()?.split('@').next()?;
    let (host, port) = end.rsplit_once(':')?;
    let name = parts.next().filter(|name| names && !name.is_empty());
    let host = match name {
        Some(name) => name,
        None if host.is_empty() => &myself?.host,
        None => host,
    };
    let port: u16 = port.parse().ok()?;
    (port != 0).then(|| HostPort { host: host.to_owned(), port })
}

/// `5461`, or `0-5460`.
fn range(slots: &str) -> Option<(u16, u16)> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some((first, last))
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
