//! Faults of a network, on demand: a TCP proxy in the test's own process.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Bound, within};

/// How the proxy treats what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Connections are closed and new ones refused.
    Cut,
    /// Connections are accepted and kept, and nothing passes.
    Hold,
    /// Messages of Redis do not reach clients, answers do: on connections up to this one.
    Deaf(u64),
    /// Each chunk waits.
    Slow(Duration),
}

/// A proxy in front of one server. Ends when dropped.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepted: watch::Receiver<u64>,
    _guard: DropGuard,
}

impl FaultProxy {
    /// A proxy that forwards to `target`, a host and port.
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (mode, modes) = watch::channel(Mode::Forward);
        let (count, accepted) = watch::channel(0);
        let stop = CancellationToken::new();
        let serve = serve(listener, address, target, modes, count);
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        Self { address, mode, accepted, _guard: stop.drop_guard() }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port where clients connect.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Closes all connections and refuses new ones.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps connections open, takes new ones, and lets nothing pass: half-open, as after a lost route.
    pub(crate) fn hold(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// Swallows the messages of subscriptions on the connections that there are, or on all to come as well.
    pub(crate) fn deafen(&self, for_good: bool) {
        self.mode.send_replace(Mode::Deaf(if for_good { u64::MAX } else { self.accepted() }));
    }

    /// Delays every chunk, in both directions.
    pub(crate) fn slow(&self, delay: Duration) {
        self.mode.send_replace(Mode::Slow(delay));
    }

    /// Forwards again; what was held passes.
    pub(crate) fn restore(&self) {
        self.mode.send_replace(Mode::Forward);
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        *self.accepted.borrow()
    }

    /// Waits until so many have been accepted.
    pub(crate) async fn wait_accepted(&self, count: u64, bound: Bound) {
        let mut accepted = self.accepted.clone();
        let what = format!("{count} connections");
        within(&what, bound, accepted.wait_for(|so_far| *so_far >= count)).await.expect("the proxy runs");
    }
}

async fn serve(
    mut listener: TcpListener,
    address: SocketAddr,
    target: String,
    mut modes: watch::Receiver<Mode>,
    count: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        if *modes.borrow_and_update() == Mode::Cut {
            drop(listener);
            connections.shutdown().await;
            if modes.wait_for(|mode| *mode != Mode::Cut).await.is_err() {
                return;
            }
            listener = TcpListener::bind(address).await.expect("the proxy's port is still free");
        }
        tokio::select! {
            changed = modes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                count.send_modify(|count| *count += 1);
                let number = *count.borrow();
                connections.spawn(forward(client, number, target.clone(), modes.clone()));
            }
        }
    }
}

async fn forward(client: TcpStream, number: u64, target: String, mut modes: watch::Receiver<Mode>) {
    if modes.wait_for(|mode| *mode != Mode::Hold).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(&target).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    tokio::select! {
        () = pump(client_in, server_out, 0, modes.clone()) => {}
        () = pump(server_in, client_out, number, modes) => {}
    }
}

/// `number`: of the connection, towards its client.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: u64,
    mut modes: watch::Receiver<Mode>,
) {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        // What was read before the mode changed passes by the new one.
        let mode = match modes.wait_for(|mode| *mode != Mode::Hold).await {
            Ok(mode) => *mode,
            Err(_) => return,
        };
        match mode {
            Mode::Slow(delay) => sleep(delay).await,
            // A chunk is what Redis wrote at once: messages, or answers.
            Mode::Deaf(last) if (1..=last).contains(&number) && is_message(&chunk[..length]) => continue,
            _ => {}
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Whether these bytes begin with a message of a subscription, in RESP3.
fn is_message(bytes: &[u8]) -> bool {
    bytes.starts_with(b">3\r\n$7\r\nmessage\r\n") || bytes.starts_with(b">3\r\n$8\r\nsmessage\r\n")
}
