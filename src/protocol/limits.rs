//! Sizes that parsers, queues and documentation share.

/// Longest user id, in bytes of UTF-8. From the contract; it bounds the name of a Redis channel too.
pub const MAX_USER_ID_BYTES: usize = 256;

/// Longest `jti` that can be revoked, in bytes. A UUID has 36; four of a pod's 10,000 connections with the longest are a kilobyte.
pub const MAX_TOKEN_ID_BYTES: usize = 256;

/// Longest reason of a close frame, in bytes: RFC 6455 §5.5 allows 125 for a control frame, two of which are the code.
pub const MAX_CLOSE_REASON_BYTES: usize = 123;

/// Longest token that is looked at, in bytes. Longer ones are refused unread; hyper's header buffer is 16 KiB.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Most messages in one call of `POST /v1/messages`. From the contract.
pub const MAX_BATCH_MESSAGES: usize = 1_000;

/// Largest body of `POST /v1/messages`, in bytes: a thousand messages of 4 KiB, or 64 of the largest.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
