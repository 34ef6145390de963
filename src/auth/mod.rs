//! Where a token comes from, and how it is verified. Knows no socket.

use std::time::SystemTime;

use crate::protocol::UserId;

/// Who a verified token speaks for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `exp`.
    pub expires_at: SystemTime,
}
