//! `docs/metrics-adapter.md`, from the declarations of flags and metrics.

use std::fmt::Write;

use prometheus::Registry;
use prometheus::proto::{Metric, MetricType};

use super::control::ControlMetrics;
use super::metrics::Metrics;
use super::settings;
use crate::generated::assert_current;

fn flags(page: &mut String) {
    let command = settings::command();
    page.push_str("| flag | environment | default | what it is |\n| --- | --- | --- | --- |\n");
    for flag in command.get_arguments().filter(|flag| flag.get_env().is_some()) {
        let environment = flag.get_env().unwrap_or_default().to_string_lossy();
        let default =
            flag.get_default_values().first().map_or(String::new(), |text| format!("`{}`", text.display()));
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default().replace('<', "&lt;");
        let _ = writeln!(
            page,
            "| `--{}` | `{environment}` | {default} | {help} |",
            flag.get_id().as_str().replace('_', "-")
        );
    }
}

fn metrics(page: &mut String, registry: &Registry) {
    page.push_str("| name | kind | labels | what it is |\n| --- | --- | --- | --- |\n");
    for family in registry.gather() {
        let kind = if family.get_field_type() == MetricType::COUNTER { "counter" } else { "gauge" };
        let labels = family.get_metric().first().map(Metric::get_label).unwrap_or_default();
        let labels: Vec<String> = labels.iter().map(|label| format!("`{}`", label.name())).collect();
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", family.name(), labels.join(" "), family.help());
    }
}

fn page() -> String {
    let mut page = "<!-- Generated from src/adapter by `make docs`. Do not edit. -->\n\n\
        # metrics-adapter\n\n\
        Serves `custom.metrics.k8s.io`, v1beta1 and v1beta2, to the autoscaler: `pods/websocket_active_connections` and\n\
        `deployments.apps/websocket_fleet_connections`. It answers only the cluster's aggregator, which it knows by the client\n\
        certificate that ConfigMap `kube-system/extension-apiserver-authentication` describes; everybody else gets a 401.\n\n\
        ## Flags\n\n\
        Flags beat the environment. Give either `--tls-certificate` and `--tls-key`, or `--tls-secret`, `--service` and\n\
        `--lease`. Wrong usage ends with exit code 64.\n\n"
        .to_owned();
    flags(&mut page);
    page.push_str(
        "\n## Health\n\n\
         On `--health-port`, plain HTTP. `GET /healthz` is 200 while the process lives. `GET /readyz` is 200 once there is all\n\
         that answers are made from, else 503 with `reasons`: `front_proxy_rules` (the ConfigMap has not been read, or has no\n\
         rules), `certificate` (none to show yet), `fleet` (the pods have not been listed yet), `leaving` (SIGTERM).\n\n\
         ## Metrics\n\n\
         `GET /metrics` on `--health-port`, in Prometheus' text format.\n\n",
    );
    let all = Metrics::new(&ControlMetrics::new()).expect("no name twice");
    metrics(&mut page, all.registry());
    page
}

#[test]
fn generated_page_is_current() {
    assert_current("docs/metrics-adapter.md", &page());
}
