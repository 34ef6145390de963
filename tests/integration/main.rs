//! The one integration binary.

mod cli;
mod redis_link;
mod support;
