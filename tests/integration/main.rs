//! The one integration binary.

mod browser;
mod cli;
mod clients;
mod commands;
mod connect;
mod documents;
mod outage;
mod pods;
mod redis_access;
mod redis_delivery;
mod redis_link;
mod redis_publish;
mod redis_tls;
mod rooms;
mod rotation;
mod shutdown;
mod startup;
mod support;
