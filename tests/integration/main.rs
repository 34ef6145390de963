//! The one integration binary.

mod support;

mod redis_access;
mod redis_link;
mod redis_publish;
mod redis_tls;
