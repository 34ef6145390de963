//! `docs/metrics.md`, from the declarations.

use std::fmt::Write;

use super::{Description, GaugeMetrics, GaugeOwner, Metrics};
use crate::generated::assert_current;

const SERVER: &str = "\
<!-- Generated from src/metrics/ by `make docs`. Do not edit. -->

# Metrics

`GET /metrics` on the admin port, and on the public one unless `PUBLIC_METRICS` is false, in Prometheus' text
format. All series of a label are there from the start, at 0. No label has a user id or any other value that a
stranger chooses.

";

const GAUGE: &str = "
## Of the sidecar

`GET /metrics` on the port of [`connection-gauge`](connection-gauge.md), 9005 as a rule. What is unknown has no series: a
count that is older than 15 s, or anything of Redis where none is configured.

";

const HEADING: &str = "| name | kind | label | what it is |\n| --- | --- | --- | --- |\n";

fn page() -> String {
    let mut page = String::new();
    let gauge = GaugeMetrics::new(&GaugeOwner::default());
    for (introduction, metrics) in [(SERVER, Metrics::new().descriptions()), (GAUGE, gauge.descriptions())] {
        page.push_str(introduction);
        page.push_str(HEADING);
        metrics.iter().for_each(|metric| row(&mut page, metric));
    }
    page
}

fn row(page: &mut String, metric: &Description) {
    let list = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
    };
    let label = match &metric.label {
        Some((name, values)) => format!("`{name}`: {}", list(&mut values.iter().map(String::as_str))),
        None => list(&mut metric.owner.iter().copied()),
    };
    let _ = writeln!(page, "| `{}` | {} | {label} | {} |", metric.name, metric.kind, metric.help);
}

#[test]
fn generated_page_is_current() {
    assert_current("docs/metrics.md", &page());
}
