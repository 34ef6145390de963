//! The `connections` command: where a user is connected, and why its last connection was closed.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::pods::{PodsArgs, read};
use super::text::{Side, bytes, or_dash, printable, span, table};
use crate::config::Config;
use crate::fetch::Fetch;
use crate::fleet::{Reading, Source, Word};
use crate::protocol::{LastClose, OpenConnection, UserConnections, UserId};

/// How long one pod may take; it answers from memory.
const ANSWER: Duration = Duration::from_secs(3);

/// Arguments of `connections`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectionsArgs {
    /// The user id, as in the tokens' `sub`
    user: String,
    #[command(flatten)]
    pods: PodsArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks the pods for the user's connections, and prints what they say. Fails with exit code 1 where a pod did not answer,
/// for the user may have a connection there.
///
/// # Errors
/// When the user id is none, it is not known which pods to ask, or the output fails.
pub async fn run(args: &ConnectionsArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let user = UserId::new(&args.user).context("not a user id")?;
    let (pods, unknown) = match args.pods.source(config)? {
        Source::Pods(pods) => {
            (pods.urls().iter().map(|url| Asked { pod: url.clone(), url: url.clone() }).collect(), Vec::new())
        }
        mut redis @ Source::Redis(_) => reporting(read(&mut redis).await?),
    };
    let found = ask(&user, pods, unknown).await;
    let mut out = std::io::stdout().lock();
    if args.json {
        out.write_all((serde_json::to_string(&found)? + "\n").as_bytes())?;
    } else {
        out.write_all(page(&found).as_bytes())?;
    }
    Ok(if found.unanswered.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A pod to ask.
#[derive(Debug)]
struct Asked {
    pod: String,
    url: String,
}

/// What all pods together say of a user.
#[derive(Debug, Serialize)]
struct Found {
    user_id: UserId,
    /// How many pods answered.
    pods: usize,
    /// Open connections, oldest first.
    connections: Vec<OpenConnection>,
    /// The latest end of one of the user's connections.
    last_close: Option<LastClose>,
    /// Pods on which the user may have connections that are not listed.
    unanswered: Vec<Unanswered>,
}

/// A pod that did not answer.
#[derive(Debug, Serialize)]
struct Unanswered {
    pod: String,
    reason: String,
}

/// The pods of a fleet's reports: those that can be asked, and those that cannot.
fn reporting(reading: Reading) -> (Vec<Asked>, Vec<Unanswered>) {
    let (mut pods, mut unknown) = (Vec::new(), Vec::new());
    for heard in reading.pods {
        match heard.word {
            Word::Report(gauge) => match gauge.admin {
                Some(admin) => pods.push(Asked { pod: gauge.pod, url: format!("http://{admin}") }),
                None => {
                    let reason =
                        "its report has no address: its connection-gauge is not told POD_IP".to_owned();
                    unknown.push(Unanswered { pod: gauge.pod, reason });
                }
            },
            Word::Expired { at } => {
                let ago = Duration::from_millis(reading.at.saturating_sub(at));
                let reason = format!("it has not reported for {}", span(ago.as_secs_f64()));
                unknown.push(Unanswered { pod: heard.key, reason });
            }
            Word::Silent(reason) => unknown.push(Unanswered { pod: heard.key, reason }),
        }
    }
    (pods, unknown)
}

async fn ask(user: &UserId, pods: Vec<Asked>, unknown: Vec<Unanswered>) -> Found {
    let fetch = Fetch::new(ANSWER);
    // Everything but letters and digits: an id may be "..", or have slashes in it.
    let path =
        format!("/v1/users/{}/connections?scope=pod", utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC));
    let (fetch, path) = (&fetch, &path);
    let answers = pods.into_iter().map(|Asked { pod, url }| async move {
        let answer = fetch.json::<UserConnections>(&format!("{url}{path}")).await;
        answer.map_err(|error| Unanswered { pod, reason: error.to_string() })
    });
    let answers = join_all(answers).await;
    let mut found = Found {
        user_id: user.clone(),
        pods: 0,
        connections: Vec::new(),
        last_close: None,
        unanswered: unknown,
    };
    for answer in answers {
        match answer {
            Ok(answer) => found.add(answer),
            Err(unanswered) => found.unanswered.push(unanswered),
        }
    }
    found.connections.sort_by(|a, b| moment(&a.since).cmp(&moment(&b.since)));
    found
}

impl Found {
    fn add(&mut self, answer: UserConnections) {
        self.pods += 1;
        self.connections.extend(answer.connections);
        if let Some(close) = answer.last_close
            && self.last_close.as_ref().is_none_or(|known| moment(&known.at) < moment(&close.at))
        {
            self.last_close = Some(close);
        }
    }
}

/// A time in RFC 3339 and UTC, as something that sorts: whole seconds, and the digits behind the point.
fn moment(time: &str) -> (&str, &str) {
    let time = time.trim_end_matches('Z');
    time.split_once('.').unwrap_or((time, ""))
}

/// A time in RFC 3339 and UTC without its fraction.
fn to_the_second(time: &str) -> String {
    printable(moment(time).0) + "Z"
}

const COLUMNS: [(&str, Side); 7] = [
    ("POD", Side::Left),
    ("CONNECTION", Side::Left),
    ("SINCE", Side::Left),
    ("ADDRESS", Side::Left),
    ("MODE", Side::Left),
    ("QUEUE", Side::Right),
    ("LAST ID", Side::Left),
];

fn page(found: &Found) -> String {
    let pods = if found.pods == 1 { "1 pod".to_owned() } else { format!("{} pods", found.pods) };
    let mut text = if found.pods == 0 {
        "no pod answered\n".to_owned()
    } else if found.connections.is_empty() {
        format!("{:?} has no connection on the {pods} that answered\n", found.user_id)
    } else {
        let rows: Vec<_> = found.connections.iter().map(row).collect();
        table(COLUMNS, &rows)
    };
    match &found.last_close {
        Some(close) => text.push_str(&ended(close)),
        None if found.pods == 0 => {}
        None => text.push_str("\nno close of one of its connections is remembered\n"),
    }
    for Unanswered { pod, reason } in &found.unanswered {
        text.push_str(&format!("incomplete: no answer of {}: {}\n", printable(pod), printable(reason)));
    }
    text
}

fn row(connection: &OpenConnection) -> [String; COLUMNS.len()] {
    let queue = connection.queued_messages.zip(connection.queued_bytes);
    [
        printable(&connection.pod),
        printable(&connection.connection_id),
        to_the_second(&connection.since),
        connection.address.to_string(),
        or_dash(connection.mode, |mode| mode.as_str().to_owned()),
        or_dash(queue, |(messages, size)| format!("{messages} ({})", bytes(size))),
        or_dash(connection.last_id.as_deref(), printable),
    ]
}

fn ended(close: &LastClose) -> String {
    format!(
        "\nlast close: {}, code {}: {}\n            on {}, after {}, connection {}\n",
        to_the_second(&close.at),
        close.code,
        printable(&close.reason),
        printable(&close.pod),
        span(close.lasted_seconds),
        printable(&close.connection_id),
    )
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
