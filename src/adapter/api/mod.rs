//! `custom.metrics.k8s.io` as the aggregator and the autoscaler read it.
//!
//! Only what they ask for is served: discovery of the group's two versions and the two metrics. Everything else is a
//! 404, which the aggregator takes for an old server without `OpenAPI` and aggregated discovery.

mod documents;
mod routes;
mod selector;

pub use documents::{DEPLOYMENT_METRIC, GROUP, POD_METRIC, Refusal};
pub use routes::{Api, Resource};
pub use selector::{SelectorError, parse as parse_selector};
