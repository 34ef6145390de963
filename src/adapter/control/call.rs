//! One call of the Kubernetes API, with a bound.

use std::time::Duration;

use tokio::time::timeout;

/// For one call. The client itself waits for ever, as it must for watches.
const BOUND: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Refused, or not delivered.
    #[error("{0}")]
    Kube(#[from] kube::Error),
    /// Not answered in time.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
}

impl CallError {
    /// The HTTP status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Kube(_) | Self::Timeout(_) => None,
        }
    }
}

/// Waits for a call no longer than the bound.
///
/// # Errors
/// The call's own, or that there is no answer.
pub async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(BOUND, call).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(CallError::Timeout(BOUND)),
    }
}
