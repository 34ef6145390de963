//! WebSocket notifications for Kubernetes.
//!
//! A message's way is the order of the modules below: a back end publishes, the [`backplane`] hears it, the [`hub`]
//! knows which connections of the user are here, and each connection's [`session`] writes it to its socket. A
//! client's way in is the other half: [`server`], [`auth`], [`session`]. `ARCHITECTURE.md` tells it at length, with
//! what each room may know of the others.

pub mod protocol;

pub mod auth;
pub mod backplane;
pub mod history;
pub mod hub;
pub mod server;
pub mod session;

pub mod app;
pub mod backoff;
pub mod config;
pub mod drain;
pub mod fetch;
pub mod fleet;
pub mod memory;
pub mod metrics;
pub mod open_files;
pub mod rate_limit;
pub mod readiness;
pub mod signal;
pub mod telemetry;
pub mod tls;
pub mod told;
pub mod trace;

pub mod cli;

pub mod adapter;
pub mod bench;
pub mod client;
pub mod gauge;

#[cfg(test)]
mod generated;
