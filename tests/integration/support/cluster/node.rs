//! What a node says of the others, and which slot a name has.

use std::ops::RangeInclusive;

/// How many slots the masters share.
pub(super) const SLOTS: u16 = 16_384;

/// A node as another one sees it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: String,
    /// Where it says that it is.
    pub(super) port: u16,
    /// The port of its bus, which is its own whatever it says.
    pub(super) bus: u16,
    pub(super) flags: String,
    pub(super) is_linked: bool,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl Node {
    /// Of a line of `CLUSTER NODES`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, _, _, _, _, link, slots @ ..] = words.as_slice() else { return None };
        // `host:port@bus`, with `,name` where it announces one.
        let (port, bus) = address.split(',').next()?.rsplit_once(':')?.1.split_once('@')?;
        let (port, bus) = (port.parse().ok()?, bus.parse().ok()?);
        // `7`, `7-9`; `[7->-…]` while it moves.
        let range = |text: &&str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        let [id, flags] = [id, flags].map(|text| (*text).to_owned());
        let slots = slots.iter().filter_map(range).collect();
        Some(Self { id, port, bus, flags, is_linked: *link == "connected", slots })
    }

    pub(super) fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// Whether it is known well, and nobody believes that it has failed.
    pub(super) fn is_well(&self) -> bool {
        self.is_linked && !["fail", "handshake", "noaddr"].iter().any(|bad| self.flags.contains(bad))
    }
}

/// The slot of a key or channel: of what stands in its first braces, if anything does, else of all.
pub(crate) fn slot(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let tag = tag.filter(|tag| !tag.is_empty()).unwrap_or(name);
    let step = |sum: u16, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
    tag.bytes().fold(0, |sum, byte| (0..8).fold(sum ^ (u16::from(byte) << 8), step)) % SLOTS
}
