//! Telling the API server whom to trust: `spec.caBundle` of the `APIServices`.

use k8s_openapi::ByteString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::FIELD_MANAGER;
use super::call::{CallError, bounded};
use super::metrics::ControlMetrics;
use crate::told::Told;

/// The `APIServices` that lead to the adapter.
pub const API_SERVICES: [&str; 2] = ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"];

/// Writes the bundle, where it is not what it should be.
#[derive(Debug)]
pub struct CaBundle {
    services: Api<APIService>,
    namespace: String,
    service: String,
    told: [Told; API_SERVICES.len()],
    metrics: ControlMetrics,
}

/// An `APIService` does not have the bundle. The log has told which, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("not every APIService trusts the adapter's authority")]
pub struct NotTrusted {
    /// All that failed do not exist or lead elsewhere: no request comes to the adapter by them.
    pub only_absent: bool,
}

/// Why one `APIService` does not have the bundle.
#[derive(Debug, thiserror::Error)]
enum EnsureError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it leads to {0}, another provider of custom metrics")]
    Foreign(String),
}

impl EnsureError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Call(error) => error.code(),
            Self::Foreign(_) => None,
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Foreign(_)) || self.code() == Some(404)
    }
}

impl CaBundle {
    /// Of the cluster's `APIServices`, as far as they lead to this Service.
    #[must_use]
    pub fn new(client: Client, namespace: &str, service: &str, metrics: ControlMetrics) -> Self {
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        Self {
            services: Api::all(client),
            namespace,
            service,
            told: API_SERVICES.map(|_| Told::working()),
            metrics,
        }
    }

    /// Sees to it that each `APIService` trusts exactly `pem`. Whether anything had to be written.
    ///
    /// # Errors
    /// [`NotTrusted`] when that failed for one; the other is written all the same.
    pub async fn ensure(&mut self, pem: &str) -> Result<bool, NotTrusted> {
        let mut written = false;
        let mut failed = None;
        for (index, name) in API_SERVICES.into_iter().enumerate() {
            match self.ensure_one(name, pem).await {
                Ok(wrote) => {
                    written |= wrote;
                    let again = self.told[index].is_new::<EnsureError>(Ok(()));
                    if wrote || again {
                        tracing::info!(api_service = name, "the API server trusts the adapter's authority");
                    }
                }
                Err(error) => {
                    self.metrics.ca_bundle_failures.inc();
                    failed = Some(failed.unwrap_or(true) && error.is_absent());
                    self.tell(index, name, &error);
                }
            }
        }
        failed.map_or(Ok(written), |only_absent| Err(NotTrusted { only_absent }))
    }

    async fn ensure_one(&self, name: &str, pem: &str) -> Result<bool, EnsureError> {
        let spec = bounded(self.services.get(name)).await?.spec.unwrap_or_default();
        let target = spec.service.unwrap_or_default();
        let (namespace, service) = (target.namespace.unwrap_or_default(), target.name.unwrap_or_default());
        if (&namespace, &service) != (&self.namespace, &self.service) {
            return Err(EnsureError::Foreign(format!("{namespace}/{service}")));
        }
        let bundle = spec.ca_bundle;
        if bundle.is_some_and(|ByteString(bytes)| bytes == pem.as_bytes()) {
            return Ok(false);
        }
        let patch = json!({"spec": {"caBundle": ByteString(pem.as_bytes().to_vec())}});
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        bounded(self.services.patch(name, &parameters, &Patch::Merge(patch))).await?;
        Ok(true)
    }

    /// Each cause once: the attempts go on for as long as it lasts.
    fn tell(&mut self, index: usize, name: &str, error: &EnsureError) {
        let advice = match error.code() {
            Some(404) => "it does not exist: the chart installs it, as the last thing",
            Some(403) => {
                "let the adapter get and patch it by a ClusterRole, or give a certificate of your own"
            }
            _ if error.is_absent() => "only one provider can be registered; remove one of them",
            _ => "trying again",
        };
        if self.told[index].is_new(Err(error)) {
            tracing::warn!(api_service = name, %error, "cannot write spec.caBundle: {advice}");
        }
    }
}
