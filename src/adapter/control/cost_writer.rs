//! Writing the pods' deletion costs.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::call::bounded;
use super::deletion_cost::{Planner, Write};
use super::metrics::ControlMetrics;
use super::pods::Pods;
use super::{DELETION_COST, FIELD_MANAGER};
use crate::adapter::fleet::Fleet;
use crate::adapter::settings::DeletionCost;

/// Applies what a [`Planner`] decides.
#[derive(Debug)]
pub struct CostWriter {
    api: Api<Pod>,
    planner: Planner,
    metrics: ControlMetrics,
    told: bool,
}

impl CostWriter {
    /// For the pods of a namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, goal: DeletionCost, metrics: ControlMetrics) -> Self {
        Self { api: Api::namespaced(client, namespace), planner: Planner::new(goal), metrics, told: false }
    }

    /// Looks at each reading, until there are none any more. To be dropped when the lead is lost.
    pub async fn lead(mut self, pods: Arc<Pods>, mut fleet: watch::Receiver<Arc<Fleet>>) {
        while fleet.changed().await.is_ok() {
            let reading = Arc::clone(&fleet.borrow_and_update());
            let Some(known) = pods.known() else { continue };
            for write in self.planner.plan(&reading, &known, Instant::now()) {
                self.apply(&write).await;
            }
        }
    }

    async fn apply(&mut self, write: &Write) {
        // Without force: what another has written is not taken from it.
        let parameters = PatchParams::apply(FIELD_MANAGER);
        let patched = bounded(self.api.patch(&write.pod, &parameters, &Patch::Apply(patch(write)))).await;
        match patched {
            Ok(_) => {
                self.metrics.deletion_cost_applied.inc();
                self.told = false;
                tracing::debug!(pod = write.pod, cost = write.cost, "deletion cost");
            }
            Err(error) if error.code() == Some(409) => {
                self.metrics.deletion_cost_conflict.inc();
                self.planner.stand_down(&write.uid);
                tracing::info!(pod = write.pod, %error, "another owns the pod's deletion cost; leaving it alone");
            }
            // It went in the meantime.
            Err(error) if error.code() == Some(404) => self.planner.stand_down(&write.uid),
            Err(error) => {
                self.metrics.deletion_cost_failed.inc();
                self.planner.failed(&write.uid);
                // Once, as it will be the same for all pods.
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(pod = write.pod, %error, "cannot write a deletion cost; with --target the adapter's Role needs patch on pods");
                }
            }
        }
    }
}

/// All that the adapter owns of a pod: what is not in it any more is removed. The UID keeps a successor of the same name
/// from being meant, and a pod that is gone from being created.
fn patch(write: &Write) -> Value {
    let mut metadata = json!({"name": write.pod, "uid": write.uid});
    if let Some(cost) = write.cost {
        metadata["annotations"] = json!({DELETION_COST: cost.to_string()});
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
}
