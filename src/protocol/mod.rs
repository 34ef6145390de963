//! What travels, as plain types: ids, payloads, close codes, error codes and sizes. No I/O here.

mod close;
#[cfg(test)]
mod doc;
mod error;
mod error_code;
mod gauge;
mod ids;
pub mod limits;
mod payload;

pub use close::{CLOSE_CODES, Close, CloseCode, CloseRow};
pub(crate) use error::SERVICE;
pub use error::ServiceError;
pub use error_code::{ERROR_CODES, ErrorCode, ErrorRow};
pub use gauge::{GAUGE_EXPIRY, GAUGE_INTERVAL, PodGauge, fleet_key, gauge_key};
pub use ids::{ConnectionId, CorrelationId, IdError, UserId};
pub use payload::{Envelope, Payload, PayloadError};
