//! What travels, as plain types: ids, payloads, close codes, error codes and sizes. No I/O here.

mod close;
#[cfg(test)]
mod doc;
mod error;
mod error_code;
mod event_id;
pub mod frame;
mod gauge;
mod ids;
pub mod limits;
mod payload;
mod publication;
mod record;
mod revocation;
mod status;

pub use close::{CLOSE_CODES, Close, CloseCode, CloseRow, Reconnect};
pub(crate) use error::SERVICE;
pub use error::{ServiceError, TraceIds};
pub use error_code::{ERROR_CODES, ErrorCode, ErrorRow};
pub use event_id::{EventId, EventIdError, MAX_EVENT_ID_BYTES};
pub use gauge::{GAUGE_EXPIRY, GAUGE_INTERVAL, PodGauge, fleet_key, gauge_key};
pub use ids::{ConnectionId, CorrelationId, IdError, UserId};
pub use payload::{Envelope, Origin, Payload, PayloadError};
pub use publication::{IdempotencyKey, IdempotencyKeyError, Publication};
pub use record::{RECORD_SEPARATOR, Record, RecordError, Traceparent};
pub use revocation::{Credential, Revocation, Revoked, TokenId, TokenIdError};
pub use status::{LastClose, Mode, OpenConnection, PodStatus, Scope, UserConnections};
