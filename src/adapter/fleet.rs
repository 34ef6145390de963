//! The fleet at one moment: its pods, joined with what their sidecars report.

use std::collections::BTreeMap;

/// A pod with a fresh report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// Open connections by its last report.
    pub connections: u64,
    /// When the report was made, in milliseconds since 1970.
    pub at: u64,
    /// Whether it is on its way out, by its deletion timestamp or its own word.
    pub leaving: bool,
}

/// What can be served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Pods with a fresh report, live and draining, by name.
    pub pods: Vec<Pod>,
    /// Open connections of the whole fleet; `None` while nothing is known of a pod that should have reported.
    pub total: Option<u64>,
    /// Ready pods without a fresh report, which the total counts as the mean of the others.
    pub blind: usize,
}
