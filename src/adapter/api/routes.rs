//! Which request gets which document.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::documents::{
    DEPLOYMENT_METRIC, GROUP, MetricValueList, POD_METRIC, Refusal, Value, Version, resources,
};
use super::selector;
use crate::adapter::fleet::{Fleet, Pod};

/// The name that stands for all objects; it arrives as `%2A`.
const ALL: &str = "*";

/// What the API is answered from.
#[derive(Debug, Clone)]
pub struct Api {
    namespace: String,
    deployment: String,
    fleet: watch::Receiver<Arc<Fleet>>,
}

/// What a request asked for, in the extensions of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// What the group serves.
    Discovery,
    /// The pods' metric.
    Pods,
    /// The Deployment's metric.
    Deployments,
    /// Anything else.
    Other,
}

impl Resource {
    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Pods => "pods",
            Self::Deployments => "deployments",
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(default)]
    label_selector: String,
    #[serde(default)]
    metric_label_selector: String,
}

/// Version, namespace, resource, object, metric.
type Segments = (String, String, String, String, String);

impl Api {
    /// `fleet`: what is known of it; `Fleet::default()` before anything is.
    #[must_use]
    pub fn new(namespace: String, deployment: String, fleet: watch::Receiver<Arc<Fleet>>) -> Self {
        Self { namespace, deployment, fleet }
    }

    /// The fleet, once anything of it is known.
    #[must_use]
    pub fn fleet(&self) -> Option<Arc<Fleet>> {
        // No pods is a sum of 0, and no sum is for want of some pod's report: neither is the default.
        let fleet = Arc::clone(&self.fleet.borrow());
        (*fleet != Fleet::default()).then_some(fleet)
    }

    /// The routes, for callers who were verified.
    pub fn router(self) -> Router {
        let group = format!("/apis/{GROUP}/{{version}}");
        Router::new()
            .route(&group, get(discover))
            .route(&format!("{group}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}"), get(values))
            .fallback(async || Refusal::not_found("the server serves nothing at this path"))
            .method_not_allowed_fallback(async || Refusal::method())
            .with_state(self)
    }

    fn pods(&self, version: Version, name: &str, query: &Parameters) -> Result<Response, Refusal> {
        let selector = selected("labelSelector", &query.label_selector)?;
        let fleet = self.fleet().ok_or_else(unknown_fleet)?;
        if name == ALL {
            // Pods without a fresh report are left out: the autoscaler then assumes the worst of each.
            let pods = fleet.pods.iter().filter(|pod| selector.matches(&pod.labels));
            return Ok(answer(version, pods.map(|pod| self.pod(pod))));
        }
        let pod = fleet.pods.iter().find(|pod| pod.name == name);
        let pod = pod
            .ok_or_else(|| Refusal::not_found(format!("no pod {name:?} of the fleet has a fresh report")))?;
        Ok(answer(version, [self.pod(pod)]))
    }

    fn pod(&self, pod: &Pod) -> Value {
        let of = self.object("Pod", "/v1", &pod.name);
        Value { of, metric: POD_METRIC, value: pod.connections, at: time_of(pod.at) }
    }

    fn deployment(&self, version: Version, name: &str) -> Result<Response, Refusal> {
        if name != self.deployment {
            return Err(Refusal::not_found(format!("only deployment {:?} is measured", self.deployment)));
        }
        let fleet = self.fleet().ok_or_else(unknown_fleet)?;
        let total = fleet.total.ok_or_else(|| {
            let blind = fleet.blind;
            Refusal::unavailable(format!(
                "no pod of the fleet has a fresh report, and {blind} should: the sum is unknown"
            ))
        })?;
        // A sum is as old as the oldest of what it is made of.
        let oldest = fleet.pods.iter().map(|pod| pod.at).min();
        let at = oldest.map_or_else(OffsetDateTime::now_utc, time_of);
        let of = self.object("Deployment", "apps/v1", &self.deployment);
        Ok(answer(version, [Value { of, metric: DEPLOYMENT_METRIC, value: total, at }]))
    }

    fn object(&self, kind: &str, api_version: &str, name: &str) -> ObjectReference {
        ObjectReference {
            kind: Some(kind.to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(name.to_owned()),
            api_version: Some(api_version.to_owned()),
            ..ObjectReference::default()
        }
    }
}

async fn discover(path: Result<Path<String>, PathRejection>) -> Response {
    let found = path.map_err(|error| Refusal::bad_request(error.body_text())).and_then(|Path(version)| {
        let version = Version::parse(&version).ok_or_else(|| unknown_version(&version))?;
        Ok(Json(resources(version)).into_response())
    });
    about(Resource::Discovery, found)
}

async fn values(
    State(api): State<Api>,
    path: Result<Path<Segments>, PathRejection>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let (version, namespace, resource, name, metric) = match path {
        Ok(Path(segments)) => segments,
        Err(error) => return about(Resource::Other, Err(Refusal::bad_request(error.body_text()))),
    };
    let asked = match (resource.as_str(), metric.as_str()) {
        ("pods", POD_METRIC) => Resource::Pods,
        ("deployments.apps", DEPLOYMENT_METRIC) => Resource::Deployments,
        _ => {
            return about(
                Resource::Other,
                Err(Refusal::not_found(format!("there is no metric {metric:?} of {resource}"))),
            );
        }
    };
    let found = Version::parse(&version).ok_or_else(|| unknown_version(&version)).and_then(|version| {
        let Query(query) = query.map_err(|error| Refusal::bad_request(error.body_text()))?;
        if namespace != api.namespace {
            return Err(Refusal::not_found(format!("only namespace {:?} is measured", api.namespace)));
        }
        // Neither metric has labels, so there is nothing that a selector of labels could choose between.
        let labels = selected("metricLabelSelector", &query.metric_label_selector)?;
        if !labels.matches(&BTreeMap::new()) {
            return Err(Refusal::not_found(format!(
                "{metric} has no labels, so metricLabelSelector selects nothing"
            )));
        }
        match asked {
            Resource::Pods => api.pods(version, &name, &query),
            _ => api.deployment(version, &name),
        }
    });
    about(asked, found)
}

fn answer(version: Version, values: impl IntoIterator<Item = Value>) -> Response {
    Json(MetricValueList::new(version, values)).into_response()
}

fn about(resource: Resource, found: Result<Response, Refusal>) -> Response {
    let mut response = found.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(resource);
    response
}

fn selected(parameter: &str, text: &str) -> Result<Selector, Refusal> {
    selector::parse(text).map_err(|error| Refusal::bad_request(format!("{parameter}: {error}")))
}

/// A pod's own word on the time, so anything may stand there; now for what is no time at all.
fn time_of(milliseconds: u64) -> OffsetDateTime {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or_else(|_| OffsetDateTime::now_utc())
}

fn unknown_version(version: &str) -> Refusal {
    Refusal::not_found(format!("{GROUP} has no version {version:?}; v1beta1 and v1beta2 are served"))
}

fn unknown_fleet() -> Refusal {
    Refusal::unavailable("the pods have not been listed yet")
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
