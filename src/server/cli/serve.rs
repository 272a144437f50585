//! `tidings serve`: listens, greets whoever started it, and runs the server until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use tokio::net::{TcpListener, TcpSocket};
use tracing::{info, warn};

use super::outcome::say;
use crate::server::log::{Durability, LogOptions, Storage};
use crate::server::settings::{MercureSettings, Options, Settings};
use crate::server::{Server, telemetry};

/// Connections that may wait to be accepted; the system may allow fewer. After a restart all clients reconnect at once, and
/// the kernel of one that finds no place tries again only after a second, then after three, then after seven.
const BACKLOG: u32 = 16_384;

/// The exit code after a second signal, as a shell has it after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Runs the server, and returns when it has stopped.
pub fn run(options: Options) -> ExitCode {
    let settings = match options.resolve() {
        Ok(settings) => settings,
        Err(error) => return fail(&error.to_string()),
    };
    let _log = match telemetry::init(&settings) {
        Ok(log) => log,
        Err(error) => return fail(&format!("log lines could not be sent to standard error: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime could not be started: {error}")),
    };
    match runtime.block_on(serve(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In order behind the log lines, and never waiting for a reader that has stopped reading.
            telemetry::write_line(&format!("tidings: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn fail(error: &str) -> ExitCode {
    say(format_args!("{error}"));
    ExitCode::FAILURE
}

async fn serve(settings: Settings) -> Result<(), String> {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "the limit of open files could not be raised: it also limits connections");
    }
    let listener = listen(&settings.listen).map_err(|error| explain(&settings.listen, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let server = Server::open(settings, listener).map_err(|error| error.to_string())?;
    // Not before the key is there: a script that has read the banner calls `tidings token`.
    // The server has no use for a reader of the banner.
    let _ = greet(address, server.settings());
    server.run(stop_signal()).await;
    Ok(())
}

/// Listens on the first address that is available. Fails with the error of the last one.
fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let on = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of the server before this one, which has just ended, hold the port otherwise.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for &address in addresses {
        outcome = on(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Prints the banner: where the server listens, where its data is, and how to stop it.
fn greet(address: SocketAddr, settings: &Settings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "tidings {} is listening on http://{address}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  data   {}", describe(&settings.log, &std::path::absolute(&settings.data)?))?;
    writeln!(out, "  keeps  {}", settings.log.retention.all)?;
    writeln!(out, "  hub    {}", settings.mercure.url(address))?;
    writeln!(out, "  access {}", access(&settings.mercure))?;
    // `tidings token` needs it, and it may not be on the PATH.
    if let Ok(program) = std::env::current_exe() {
        writeln!(out, "  binary {}", program.display())?;
    }
    writeln!(out, "  stop   Ctrl-C, or SIGTERM to process {}", std::process::id())?;
    out.flush()
}

fn access(hub: &MercureSettings) -> &'static str {
    match (hub.anonymous, hub.publish_without_token) {
        (true, false) => "anybody may subscribe; publishing on the hub needs a token: see `tidings token --help`",
        (false, false) => "subscribing and publishing on the hub need a token: see `tidings token --help`",
        (true, true) => "anybody may subscribe and publish without a token",
        (false, true) => "anybody may publish without a token; subscribing needs one: see `tidings token --help`",
    }
}

fn describe(log: &LogOptions, data: &Path) -> String {
    match (&log.storage, log.durability) {
        (Storage::Memory, _) => "in memory, lost when the server stops".into(),
        (Storage::Disk { .. }, Durability::Fsync) => {
            format!("{}, flushed to disk before a publish is answered", data.display())
        }
        (Storage::Disk { .. }, Durability::Os) => {
            format!("{}, survives a crash of the server, but not of the machine", data.display())
        }
    }
}

/// Returns at the first SIGINT or SIGTERM. A second one ends the process at once.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    // Both signals are read from the same listeners, so that a second one right behind the first is not lost.
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    info!("stopping: every stream ends within 5 s; a second signal stops at once");
    tokio::spawn(async move {
        next().await;
        warn!("stopped at once");
        telemetry::flush();
        std::process::exit(INTERRUPTED);
    });
}

fn explain(addresses: &[SocketAddr], error: &io::Error) -> String {
    let address = addresses.first().map(ToString::to_string).unwrap_or_default();
    let port = addresses.first().map_or(0, SocketAddr::port);
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is taken: another program, perhaps another tidings, listens on {address}. Stop it, or choose \
             another port with --listen, for example --listen 127.0.0.1:{}, or --listen 127.0.0.1:0 for any free one.",
            port.wrapping_add(1)
        ),
        io::ErrorKind::PermissionDenied => {
            format!("no permission to listen on {address}: {error}. Choose a port above 1023 with --listen.")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this machine. Choose one with --listen, or 0.0.0.0 for all.")
        }
        _ => format!("can't listen on {address}: {error}. Choose another address with --listen."),
    }
}
