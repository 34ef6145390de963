//! The `floor` command: what a write to a socket costs the sender on this machine.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::runtime::Builder;

use super::output::print;
use crate::open_files;

/// What the figure is, for the help.
pub(super) const HELP: &str = "\
Writes rounds of messages to connections over loopback, from one thread, and divides that thread's CPU by the number of writes. The \
receiver is another thread, on another core where there are two. Whatever a server does besides comes on top.";

/// Arguments of `floor`.
#[derive(Debug, Clone, clap::Args)]
pub struct FloorArgs {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Writes to each
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Bytes of each write
    #[arg(long, value_name = "N", default_value_t = 260, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    bytes: u32,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(rename = "final")]
    last: bool,
    command: &'static str,
    connections: u32,
    rounds: u32,
    bytes: u32,
    cpu_us_per_write: f64,
}

/// Connects, writes, reports.
///
/// # Errors
/// When sockets or threads cannot be had.
pub(super) fn run(args: &FloorArgs) -> anyhow::Result<()> {
    let _ = open_files::raise();
    let (sender, receiver) = cores();
    let args = args.clone();
    let (connections, rounds, bytes, json) = (args.connections, args.rounds, args.bytes, args.json);
    // A thread of its own, so that the core is taken from nobody else.
    let measuring = thread::spawn(move || {
        pin(sender);
        measure(&args, receiver)
    });
    let outcome = measuring.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
    let cpu_us_per_write = (outcome? * 100.0).round() / 100.0;
    let report = Report { last: true, command: "floor", connections, rounds, bytes, cpu_us_per_write };
    if json {
        return print(&report);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "floor: a write of {bytes} bytes costs the sender {cpu_us_per_write} µs of CPU")?;
    Ok(out.flush()?)
}

/// Microseconds of CPU a write.
fn measure(args: &FloorArgs, receiver: Option<usize>) -> anyhow::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port")?;
    let (address, connections) = (listener.local_addr()?, args.connections);
    let receiving = thread::spawn(move || {
        pin(receiver);
        receive(address, connections)
    });
    let mut streams = Vec::with_capacity(connections as usize);
    for _ in 0..connections {
        let (stream, _) = listener.accept().context("no connection")?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let message = vec![b'x'; args.bytes as usize];
    let start = spent();
    for _ in 0..args.rounds {
        for stream in &mut streams {
            stream.write_all(&message)?;
        }
    }
    let each = (spent() - start) * 1e6 / (f64::from(args.rounds) * f64::from(connections));
    drop(streams);
    receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    Ok(each)
}

/// Opens the connections and reads until all are closed.
fn receive(address: SocketAddr, connections: u32) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    // One after the other: the sender's queue of new connections is short.
    let streams = (0..connections).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;
    runtime.block_on(async {
        let mut reading = Vec::with_capacity(streams.len());
        for stream in streams {
            stream.set_nonblocking(true)?;
            let mut stream = tokio::net::TcpStream::from_std(stream)?;
            reading.push(tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            }));
        }
        for task in reading {
            task.await.map_err(io::Error::other)?;
        }
        Ok(())
    })
}

/// CPU of this thread, in seconds.
#[expect(clippy::cast_precision_loss, reason = "a report")]
fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Two cores of those that the process may use, as far as there are two and they are known.
fn cores() -> (Option<usize>, Option<usize>) {
    let Ok(allowed) = sched_getaffinity(None) else { return (None, None) };
    let mut all = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    match (all.next(), all.next()) {
        (Some(one), Some(two)) => (Some(one), Some(two)),
        _ => (None, None),
    }
}

/// Keeps this thread on a core. Where that is refused, the figure is a little less exact.
fn pin(core: Option<usize>) {
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core);
        let _ = sched_setaffinity(None, &set);
    }
}
