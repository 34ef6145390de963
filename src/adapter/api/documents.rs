//! The answers' documents: plain values, no I/O.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList, LabelSelector, Status};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The API group.
pub const GROUP: &str = "custom.metrics.k8s.io";

/// The metric of a pod: its open connections.
pub const POD_METRIC: &str = "websocket_active_connections";

/// The metric of the Deployment: the open connections of all its pods, draining ones included.
pub const DEPLOYMENT_METRIC: &str = "websocket_fleet_connections";

/// A version of the group. Both are served: the autoscaler asks the one that the cluster prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1beta1,
    V1beta2,
}

impl Version {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::V1beta1, Self::V1beta2].into_iter().find(|version| version.name() == text)
    }

    fn name(self) -> &'static str {
        match self {
            Self::V1beta1 => "v1beta1",
            Self::V1beta2 => "v1beta2",
        }
    }

    fn group_version(self) -> String {
        format!("{GROUP}/{}", self.name())
    }
}

/// What the group's version serves.
pub(super) fn resources(version: Version) -> APIResourceList {
    let resource = |name: String| APIResource {
        name,
        namespaced: true,
        kind: "MetricValueList".to_owned(),
        verbs: vec!["get".to_owned()],
        ..APIResource::default()
    };
    APIResourceList {
        group_version: version.group_version(),
        resources: vec![
            resource(format!("pods/{POD_METRIC}")),
            resource(format!("deployments.apps/{DEPLOYMENT_METRIC}")),
        ],
    }
}

/// One value of a metric.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// Whose value it is.
    pub(super) of: ObjectReference,
    pub(super) metric: &'static str,
    pub(super) value: u64,
    pub(super) at: OffsetDateTime,
}

/// Values, in the form of one version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricValueList {
    kind: &'static str,
    api_version: String,
    metadata: Empty,
    items: Vec<MetricValue>,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum MetricValue {
    V1beta1 {
        described_object: ObjectReference,
        metric_name: &'static str,
        timestamp: String,
        /// Seconds over which the value was measured; 0: it is of one moment.
        window: u64,
        value: String,
        selector: Option<LabelSelector>,
    },
    V1beta2 {
        described_object: ObjectReference,
        metric: MetricIdentifier,
        timestamp: String,
        /// As `window`.
        window_seconds: u64,
        value: String,
    },
}

#[derive(Debug, Serialize)]
struct MetricIdentifier {
    name: &'static str,
    selector: Option<LabelSelector>,
}

impl MetricValueList {
    pub(super) fn new(version: Version, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            kind: "MetricValueList",
            api_version: version.group_version(),
            metadata: Empty {},
            items: values.into_iter().map(|value| MetricValue::new(version, value)).collect(),
        }
    }
}

impl MetricValue {
    fn new(version: Version, value: Value) -> Self {
        let Value { of: described_object, metric: name, value, at } = value;
        // Whole seconds, as Kubernetes writes them; years beyond 9999 are the only ones without such a form.
        let timestamp = at.truncate_to_second().format(&Rfc3339).unwrap_or_default();
        // A Quantity: digits alone are one.
        let value = value.to_string();
        match version {
            Version::V1beta1 => Self::V1beta1 {
                described_object,
                metric_name: name,
                timestamp,
                window: 0,
                value,
                selector: None,
            },
            Version::V1beta2 => Self::V1beta2 {
                described_object,
                metric: MetricIdentifier { name, selector: None },
                timestamp,
                window_seconds: 0,
                value,
            },
        }
    }
}

/// An error, answered in the form of Kubernetes: a `Status` with the answer's own code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into() }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { code: StatusCode::NOT_FOUND, reason: "NotFound", message: message.into() }
    }

    pub(super) fn method() -> Self {
        let message = "metrics can only be read: GET".to_owned();
        Self { code: StatusCode::METHOD_NOT_ALLOWED, reason: "MethodNotAllowed", message }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { code: StatusCode::SERVICE_UNAVAILABLE, reason: "ServiceUnavailable", message: message.into() }
    }

    /// For a caller who is not believed.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self { code: StatusCode::UNAUTHORIZED, reason: "Unauthorized", message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = Status {
            code: Some(self.code.as_u16().into()),
            message: Some(self.message),
            reason: Some(self.reason.to_owned()),
            status: Some("Failure".to_owned()),
            ..Status::default()
        };
        (self.code, Json(status)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value() -> Value {
        let of = ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some("ns".to_owned()),
            name: Some("ws-abc".to_owned()),
            api_version: Some("/v1".to_owned()),
            ..ObjectReference::default()
        };
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_795_321_628_999_000_000).expect("a time");
        Value { of, metric: POD_METRIC, value: 1234, at }
    }

    #[test]
    fn v1beta2_is_what_the_controller_manager_reads() {
        let list = MetricValueList::new(Version::V1beta2, [value()]);
        let expected = json!({
            "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {},
            "items": [{
                "describedObject": {"kind": "Pod", "namespace": "ns", "name": "ws-abc", "apiVersion": "/v1"},
                "metric": {"name": "websocket_active_connections", "selector": null},
                "timestamp": "2026-11-22T04:27:08Z", "windowSeconds": 0, "value": "1234",
            }],
        });
        assert_eq!(serde_json::to_value(list).expect("JSON"), expected);
    }

    #[test]
    fn v1beta1_names_the_metric_at_the_top() {
        let list = MetricValueList::new(Version::V1beta1, [value()]);
        let expected = json!({
            "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta1", "metadata": {},
            "items": [{
                "describedObject": {"kind": "Pod", "namespace": "ns", "name": "ws-abc", "apiVersion": "/v1"},
                "metricName": "websocket_active_connections", "selector": null,
                "timestamp": "2026-11-22T04:27:08Z", "window": 0, "value": "1234",
            }],
        });
        assert_eq!(serde_json::to_value(list).expect("JSON"), expected);
    }

    #[test]
    fn discovery_lists_both_metrics() {
        let resource = |name: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": ["get"]});
        let expected = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "custom.metrics.k8s.io/v1beta2",
            "resources": [
                resource("pods/websocket_active_connections"),
                resource("deployments.apps/websocket_fleet_connections"),
            ],
        });
        assert_eq!(serde_json::to_value(resources(Version::V1beta2)).expect("JSON"), expected);
    }

    #[test]
    fn other_versions_are_unknown() {
        assert_eq!(Version::parse("v1beta1"), Some(Version::V1beta1));
        assert_eq!(Version::parse("v1beta2"), Some(Version::V1beta2));
        assert_eq!((Version::parse("v1"), Version::parse("V1BETA1")), (None, None));
    }
}
