//! What operators revoked, kept for all pods and told to them.

use futures_util::future::BoxFuture;

use super::BackplaneError;
use crate::protocol::{Revocation, Revoked};

/// Most revocations that are kept. A pod that starts reads all of them: some 15 MB.
pub const MAX_REVOCATIONS: usize = 100_000;

/// Why a revocation is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// There are as many as are kept.
    #[error("there are {MAX_REVOCATIONS} revocations, which is the limit")]
    Full,
    /// It is not known whether it was kept.
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
}

/// Keeps revocations, and tells pods of changes by [`Order`](super::Order): each of them, this one too. A pod that could not
/// hear it finds it by [`Revocations::all`], once its link is there again.
pub trait Revocations: Send + Sync + 'static {
    /// Keeps one, in the place of one of the same name, and tells all pods. Returns how many hear it now.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<u64, RevokeError>>;

    /// Takes one out, and tells all pods. False where there is none of that name.
    fn lift(&self, revoked: Revoked) -> BoxFuture<'_, Result<bool, BackplaneError>>;

    /// All that are in force.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Revocation>, BackplaneError>>;
}
