//! The one integration binary.

mod cli;
mod connect;
mod redis_access;
mod redis_delivery;
mod redis_link;
mod redis_publish;
mod redis_tls;
mod support;
