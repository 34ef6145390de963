//! A small client that shows how to use the service well: it comes back with full jitter, honours `after_ms` and
//! `Retry-After`, resumes where it was, refreshes its token, and delivers no id twice.
//!
//! It knows nothing of the server's insides, has no task of its own, and costs an idle connection some hundred bytes, so
//! that a process can hold thousands. It speaks no TLS.
//!
//! ```no_run
//! use secrecy::SecretString;
//! use websocket_service::client::{Bearer, Client, ClientConfig, Endpoint, Event};
//!
//! # async fn example() -> Result<(), String> {
//! let config = ClientConfig::new(Endpoint::parse("ws://localhost:8004/ws")?);
//! let token = Bearer { token: SecretString::from("…"), expires: None };
//! let mut client = Client::new(config, token);
//! while let Some(event) = client.next().await {
//!     match event {
//!         Event::Message(message) => println!("{}", message.body.as_str()),
//!         Event::Gap { .. } => println!("messages are gone: fetch the state anew"),
//!         other => eprintln!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod config;
mod connection;
mod cursor;
mod dial;
mod endpoint;
mod event;
mod frame;
mod life;
mod pause;
mod steps;
mod token;

pub use config::ClientConfig;
pub use connection::leave;
pub use dial::{DialError, Hello, Socket, dial, reach};
pub use endpoint::Endpoint;
pub use event::{Body, Event, Message, Opened};
pub use life::Client;
pub use pause::{Next, Pause};
pub use token::{Bearer, TokenFault, TokenSource};
