//! The server, and what its operator needs at hand.

use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use websocket_service::cli::{self, Command};
use websocket_service::config::{Config, Loaded, Sources};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    install_crypto();
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => return cli::stop(&error),
    };
    let sources = Sources::from_process(invocation.flags, invocation.config.as_deref());
    let loaded = match Config::load(&sources) {
        Ok(loaded) => loaded,
        Err(faults) => return cli::bad_configuration(&faults),
    };
    drop(sources);
    dispatch(invocation.command, loaded).unwrap_or_else(|error| cli::failed(&error))
}

/// One provider for TLS and for tokens. An error says that one is installed already, which nobody did before us.
fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

fn dispatch(command: Command, loaded: Loaded) -> anyhow::Result<ExitCode> {
    match command {
        Command::Config(args) => cli::config::run(&args, &loaded),
        Command::Token(args) => cli::token::run(&args, &loaded.config),
        Command::Health(args) => runtime()?.block_on(cli::health::run(&args, &loaded.config)),
        Command::Publish(args) => runtime()?.block_on(cli::publish::run(&args, loaded.config)),
        Command::Publisher(args) => cli::publisher::run(&args, &loaded.config),
        Command::Serve => runtime()?.block_on(cli::serve::run(loaded.config)),
        Command::Top(args) => promptly(cli::top::run(&args, &loaded.config)),
        Command::Connections(args) => promptly(cli::connections::run(&args, &loaded.config)),
    }
}

/// For a person at a terminal: a look-up of a name that hangs must not hold the exit.
fn promptly(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}
