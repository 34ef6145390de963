//! The `deliver` command: publishes numbered messages, and sees which of them arrive at each connection.

mod args;
mod http;
mod ledger;
mod link;
mod listen;
mod message;
mod pace;
mod publisher;
mod report;
mod run;
mod tally;
mod watch;
mod window;

pub use args::DeliverArgs;
pub(super) use report::HELP;
pub(super) use run::run;
