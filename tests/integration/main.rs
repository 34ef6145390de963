//! The one integration binary.

mod accept;
mod admission;
mod bounds;
mod broken_frames;
mod cli;
mod connect;
mod cors;
mod counters;
mod errors;
mod log_lines;
mod message_models;
mod operate;
mod publish;
mod redis_access;
mod redis_delivery;
mod redis_link;
mod redis_publish;
mod redis_tls;
mod support;
mod talk;
mod token;
mod user_ids;
