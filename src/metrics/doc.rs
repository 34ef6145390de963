//! `docs/metrics.md`, from the declarations.

use std::fmt::Write;

use super::Metrics;
use crate::generated::assert_current;

fn page() -> String {
    let mut page = "<!-- Generated from src/metrics/mod.rs by `make docs`. Do not edit. -->\n\n\
        # Metrics\n\n\
        `GET /metrics` on the admin port, and on the public one unless `PUBLIC_METRICS` is false, in Prometheus' text\n\
        format. All series of a label are there from the start, at 0. No label has a user id or any other value that a\n\
        stranger chooses.\n\n\
        | name | kind | label | what it is |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for metric in Metrics::new().descriptions() {
        let label = metric.label.as_ref().map_or(String::new(), |(name, values)| {
            format!(
                "`{name}`: {}",
                values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ")
            )
        });
        let _ = writeln!(page, "| `{}` | {} | {label} | {} |", metric.name, metric.kind, metric.help);
    }
    page
}

#[test]
fn generated_page_is_current() {
    assert_current("docs/metrics.md", &page());
}
