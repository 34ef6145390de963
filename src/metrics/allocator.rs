//! What the allocator holds, beside what the process has resident: the difference explains memory that does not come back.

use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tikv_jemalloc_ctl::{epoch, stats};

use super::declare::{Declare, Description};

/// Names and help texts, in the order of [`Allocator::gauges`].
const DESCRIPTIONS: [(&str, &str); 3] = [
    ("process_allocator_allocated_bytes", "Bytes that the program has allocated and not freed."),
    (
        "process_allocator_resident_bytes",
        "Resident memory that the allocator holds, free pages that it keeps included.",
    ),
    (
        "process_allocator_metadata_bytes",
        "Memory of the allocator's own bookkeeping; it grows with the largest load seen.",
    ),
];

/// Asks jemalloc when it is collected. What cannot be read keeps its last value.
struct Allocator {
    allocated: IntGauge,
    resident: IntGauge,
    metadata: IntGauge,
}

impl Declare {
    /// Declares the allocator's metrics as well.
    pub(super) fn with_allocator(mut self) -> Self {
        // Names are constants of this file: a wrong or doubled one shows in every test that makes a `Metrics`.
        let allocator = Allocator::new().expect("well-formed metric names");
        self.registry.register(Box::new(allocator)).expect("metric names used once");
        self.descriptions.extend(DESCRIPTIONS.map(|(name, help)| Description {
            name,
            kind: "gauge",
            label: None,
            owner: Vec::new(),
            help,
        }));
        self
    }
}

impl Allocator {
    fn new() -> prometheus::Result<Self> {
        let [allocated, resident, metadata] = DESCRIPTIONS;
        Ok(Self {
            allocated: IntGauge::new(allocated.0, allocated.1)?,
            resident: IntGauge::new(resident.0, resident.1)?,
            metadata: IntGauge::new(metadata.0, metadata.1)?,
        })
    }

    fn gauges(&self) -> [&IntGauge; 3] {
        [&self.allocated, &self.resident, &self.metadata]
    }

    fn read(&self) {
        // jemalloc's figures are those of the last epoch.
        if epoch::advance().is_err() {
            return;
        }
        for (gauge, bytes) in self.gauges().into_iter().zip([
            stats::allocated::read(),
            stats::resident::read(),
            stats::metadata::read(),
        ]) {
            if let Ok(bytes) = bytes {
                gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
    }
}

impl Collector for Allocator {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.gauges().into_iter().flat_map(Collector::collect).collect()
    }
}
