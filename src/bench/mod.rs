//! `websocket-bench`: clients by the thousand, and one report of what happened to them.
//!
//! `connect`, `deliver`, `churn`, `drain` and `reconnect` measure a service, `floor` the machine; `clients` holds connections
//! open and counts how they fare; `probe` sees one message through, from Redis to a client.

mod access;
mod churn;
mod clients;
mod connect;
mod crowd;
mod deliver;
mod dialect;
mod drain;
mod floor;
mod holding;
mod latency;
mod line;
mod output;
mod probe;
mod ramp;
mod reconnect;
mod score;
mod server;
mod session;
mod tally;
mod wire;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use churn::ChurnArgs;
pub use clients::ClientsArgs;
pub use connect::ConnectArgs;
pub use deliver::DeliverArgs;
pub use drain::DrainArgs;
pub use floor::FloorArgs;
pub use probe::ProbeArgs;
pub use reconnect::ReconnectArgs;

const CLIENTS_REPORT: &str = "\
Each line has totals: \"opened\", \"refused\" by HTTP status, \"closes\" by code (1006: lost without a close frame; 1005: a \
close frame without a code), \"messages\", \"connect_errors\" and what kind they were, \"reconnects_total\". \"open\" are those \
open now, \"reconnects\" this second's attempts of connections that had been open before. The last line has \
\"final\": true; by then all were closed with 1000, of which \"left\" were answered. \"closes\" counts none of the bench's own.";

/// Clients that measure and probe a websocket-service.
#[derive(Debug, Parser)]
#[command(
    name = "websocket-bench",
    version,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 done, 1 failed, 64 wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold connections open and print a line of JSON every second on how they fare.
    #[command(after_long_help = CLIENTS_REPORT)]
    Clients(ClientsArgs),
    /// Open connections, hold them and close them: what they cost the server.
    #[command(after_long_help = connect::HELP)]
    Connect(Box<ConnectArgs>),
    /// Publish numbered messages, and count what each connection gets of them.
    #[command(after_long_help = deliver::HELP)]
    Deliver(Box<DeliverArgs>),
    /// Hold connections and replace some of them each second.
    #[command(after_long_help = churn::HELP)]
    Churn(Box<ChurnArgs>),
    /// Drain a server, or watch it be drained, and see its clients come back.
    #[command(after_long_help = drain::HELP)]
    Drain(Box<DrainArgs>),
    /// Cut all connections at once, and see them come back.
    #[command(after_long_help = reconnect::HELP)]
    Reconnect(Box<ReconnectArgs>),
    /// What a write to a socket costs here: no server delivers a message for less.
    #[command(after_long_help = floor::HELP)]
    Floor(FloorArgs),
    /// Connect as a user, publish a message for it on Redis, and see it arrive.
    Probe(ProbeArgs),
}

/// Reads the command line; the first argument is the program's name.
///
/// # Errors
/// What is to be shown instead of going on: a usage error, the help or the version.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    Cli::try_parse_from(arguments).map(|cli| cli.command)
}

/// Runs a command to its end.
///
/// # Errors
/// What the command could not do, in words for whoever runs it.
pub async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Clients(args) => clients::run(args).await,
        Command::Connect(args) => connect::run(args).await,
        Command::Deliver(args) => deliver::run(args).await,
        Command::Churn(args) => churn::run(args).await,
        Command::Drain(args) => drain::run(args).await,
        Command::Reconnect(args) => reconnect::run(args).await,
        Command::Floor(args) => floor::run(args),
        Command::Probe(args) => probe::run(args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(arguments: &str) -> Result<Command, String> {
        let words = std::iter::once("websocket-bench").chain(arguments.split_whitespace());
        parse(words.map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_is_needed_and_never_shown() {
        for command in ["clients --users 1", "deliver --users 1", "probe --redis-url redis://r"] {
            let line = format!("{command} --url ws://localhost:8004/ws");
            assert!(parsed(&line).expect_err("no key").contains("--secret"), "{command}");
            let both = format!("{line} --secret hush --secret-file f");
            assert!(parsed(&both).expect_err("two keys").contains("cannot be used with"), "{command}");
            let good = parsed(&format!("{line} --secret hush")).expect("parsed");
            assert!(!format!("{good:?}").contains("hush"), "{good:?}");
        }
    }

    #[test]
    fn a_server_has_one_process_or_any_number_of_pods() {
        let parsed = |flags| parsed(&format!("connect --users 1 --secret s --url ws://h/ws {flags}"));
        assert!(
            parsed("--pid 1").is_ok() && parsed("--metrics-url http://a/ --metrics-url http://b/").is_ok()
        );
        assert!(parsed("--pid 1 --metrics-url http://a/").is_err());
        assert!(parsed("--rate 5 --parallel 5").is_err(), "a rate, or so many at once");
    }

    #[test]
    fn what_cannot_be_connected_to_is_told() {
        for (url, part) in [
            ("wss://h/ws", "expected ws://"),
            ("http://h/ws", "expected ws://"),
            ("/ws", "expected ws://"),
            ("ws:", "expected ws://"),
            ("ws://h:port/ws", "the port is none"),
            ("ws://h:70000/ws", "the port is none"),
            ("ws://h:1:2/ws", "not a URL"),
        ] {
            let error = parsed(&format!("clients --users 1 --secret s --url {url}")).expect_err(url);
            assert!(error.contains(part), "{error}");
        }
    }
}
