//! A fleet in words: what stands in each cell, and all of it as plain text.

use crate::cli::text::{Side, bytes, number, or_dash, printable, span, table};
use crate::fleet::{Pod, Total, View};

/// The columns. That of the bar belongs to the one before it.
pub(super) const COLUMNS: [(&str, Side); 11] = [
    ("POD", Side::Left),
    ("NODE", Side::Left),
    ("CONNECTIONS", Side::Right),
    ("", Side::Left),
    ("USERS", Side::Right),
    ("MSG/S", Side::Right),
    ("QUEUE", Side::Right),
    ("STATE", Side::Left),
    ("REDIS", Side::Left),
    ("AGE", Side::Right),
    ("VERSION", Side::Left),
];

/// Where the bar is in a row.
pub(super) const BAR: usize = 3;

/// Cells of a bar.
const BAR_CELLS: u64 = 10;

/// A pod's cells, in the order of [`COLUMNS`].
pub(super) fn row(pod: &Pod) -> [String; COLUMNS.len()] {
    let count = |number: u64| number.to_string();
    let connections = pod.connections.zip(pod.limit);
    [
        printable(&pod.pod),
        or_dash(pod.node.as_deref(), printable),
        or_dash(connections, |(connections, limit)| format!("{connections}/{limit}")),
        connections.map_or_else(String::new, |(connections, limit)| bar(connections, limit)),
        or_dash(pod.users, count),
        or_dash(pod.messages_per_second, number),
        or_dash(pod.outbox_bytes, bytes),
        pod.state.as_str().to_owned(),
        or_dash(pod.backplane.as_deref(), printable),
        or_dash(pod.age_seconds, span),
        or_dash(pod.version.as_deref(), printable),
    ]
}

/// How full a pod is. Full cells are cells that are begun, so that one connection shows.
fn bar(connections: u64, limit: u64) -> String {
    let share = u128::from(connections) * u128::from(BAR_CELLS);
    let full = share.div_ceil(u128::from(limit.max(1))).min(u128::from(BAR_CELLS)) as usize;
    "#".repeat(full) + &".".repeat(BAR_CELLS as usize - full)
}

/// The line of sums.
pub(super) fn sums(total: &Total) -> String {
    let pods = if total.pods == 1 { "1 pod".to_owned() } else { format!("{} pods", total.pods) };
    let but = |count: usize, what: &str| if count == 0 { String::new() } else { format!(", {count} {what}") };
    format!(
        "{pods}{}{}   {}/{} connections   {} users   {} messages/s   {} queued",
        but(total.draining, "draining"),
        but(total.missing, "without numbers"),
        total.connections,
        total.limit,
        total.users,
        or_dash(total.messages_per_second, number),
        bytes(total.outbox_bytes),
    )
}

/// Everything as plain text: sums, table, and why pods are unreachable.
pub(super) fn page(view: &View) -> String {
    let rows: Vec<_> = view.pods.iter().map(row).collect();
    let mut text = format!("{}   {}\n{}", sums(&view.total), view.at, table(COLUMNS, &rows));
    for error in view.pods.iter().filter_map(|pod| pod.error.as_deref()) {
        text.push_str(&printable(error));
        text.push('\n');
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fleet::State;

    /// Two pods that report, one that does not any more, one that was asked and is silent.
    pub(in crate::cli::top) fn view() -> View {
        let pod = |name: &str, state, connections, rate| Pod {
            node: Some("node-a".to_owned()),
            connections: Some(connections),
            limit: Some(10_000),
            users: Some(connections / 2),
            messages_per_second: rate,
            outbox_bytes: Some(1_536),
            backplane: Some("up".to_owned()),
            age_seconds: Some(1.2),
            version: Some("0.1.0".to_owned()),
            ..Pod::silent(name.to_owned(), state)
        };
        let pods = vec![
            pod("ws-1", State::Draining, 12, None),
            pod("ws-2", State::Ready, 8_700, Some(104.3)),
            Pod { age_seconds: Some(20.0), ..Pod::silent("9f3c".to_owned(), State::Stale) },
            Pod {
                error: Some("http://ws-3:9004/status: Connection refused".to_owned()),
                ..Pod::silent("ws-3".to_owned(), State::Unreachable)
            },
        ];
        View::new(1_800_000_000_000, pods)
    }

    #[test]
    fn a_page_has_the_sums_the_pods_and_what_is_wrong() {
        let expected = "\
4 pods, 1 draining, 2 without numbers   8712/20000 connections   4356 users   104 messages/s   3.0 KiB queued   \
2027-01-15T08:00:00Z
POD   NODE    CONNECTIONS              USERS  MSG/S    QUEUE  STATE        REDIS    AGE  VERSION
ws-2  node-a   8700/10000  #########.   4350    104  1.5 KiB  ready        up     1.2 s  0.1.0
ws-1  node-a     12/10000  #.........      6      -  1.5 KiB  draining     up     1.2 s  0.1.0
9f3c  -                 -                  -      -        -  stale        -       20 s  -
ws-3  -                 -                  -      -        -  unreachable  -          -  -
http://ws-3:9004/status: Connection refused
";
        assert_eq!(page(&view()), expected);
    }

    #[test]
    fn one_connection_shows_and_more_than_the_limit_fits() {
        let bars = [(0, 10_000), (1, 10_000), (1_001, 10_000), (9_001, 10_000), (11, 10), (1, 0), (0, 0)];
        let full = bars.map(|(connections, limit)| bar(connections, limit).matches('#').count());
        assert_eq!(full, [0, 1, 2, 10, 10, 10, 0]);
        assert!(bars.iter().all(|(connections, limit)| bar(*connections, *limit).len() == 10));
    }

    #[test]
    fn what_pods_say_cannot_move_the_cursor() {
        let pod =
            Pod { node: Some("a\nb".to_owned()), ..Pod::silent("ws\u{1b}[2J".to_owned(), State::Ready) };
        assert!(!page(&View::new(0, vec![pod])).contains(['\u{1b}']));
    }
}
