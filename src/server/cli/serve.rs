//! `tidings serve`: listens, greets whoever started it, and runs the server until a signal ends it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::outcome::say;
use super::supervisor;
use crate::server::log::{ClusterOptions, Durability, LogOptions, Storage};
use crate::server::settings::{Change, Drain, MercureSettings, Options, Reloaded, Reloader, Settings};
use crate::server::{Listener, OwnCertificate, Reload, Server, telemetry};

/// How long the end takes once the streams have ended.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The exit code after a second signal, as a shell has it after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Runs the server, and returns when it has stopped.
pub fn run(options: Options) -> ExitCode {
    let (reloader, settings) = match Reloader::start(options) {
        Ok(started) => started,
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
    match runtime.block_on(serve(settings, reloader)) {
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

async fn serve(settings: Settings, reloader: Reloader) -> Result<(), String> {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "the limit of open files could not be raised: it also limits connections");
    }
    let mut listeners = Vec::new();
    for address in &settings.listen {
        listeners.extend(address.bind(settings.scheme()).map_err(|error| error.to_string())?);
    }
    let addresses: Vec<_> = listeners.iter().map(Listener::to_string).collect();
    let server = Server::open(settings, listeners).map_err(|error| error.to_string())?;
    // Not before the key is there: a script that has read the banner calls `tidings token`.
    // The server has no use for a reader of the banner.
    let _ = greet(&addresses, &server);
    tokio::spawn(reload_at_signal(server.reload(), reloader));
    tokio::spawn(supervisor::keep_alive());
    supervisor::ready();
    let drain = server.drain();
    server.run(stop_signal(drain)).await;
    Ok(())
}

/// Prints the banner: where the server listens, where its data is, and how to stop it.
fn greet(addresses: &[String], server: &Server) -> io::Result<()> {
    let settings = server.settings();
    let mut out = io::stdout().lock();
    writeln!(out, "tidings {} is listening on {}", env!("CARGO_PKG_VERSION"), addresses.join(" and "))?;
    writeln!(out, "  data   {}", describe(&settings.log, &std::path::absolute(&settings.data)?))?;
    writeln!(out, "  keeps  {}", settings.log.retention.all)?;
    if let Some(ClusterOptions { servers, stream, node, .. }) = &settings.log.cluster {
        writeln!(out, "  node   {node} of the cluster with stream {stream} on {}", servers.join(" and "))?;
    }
    writeln!(out, "  hub    {}", server.url())?;
    writeln!(out, "  access {}", access(&settings.mercure))?;
    let metrics = server.metrics_addresses();
    if !metrics.is_empty() {
        writeln!(out, "  watch  {}/metrics and /readyz", metrics.join(" and "))?;
    }
    if let Some(OwnCertificate { file, fingerprint }) = server.own_certificate() {
        let file = std::path::absolute(file)?;
        writeln!(out, "  trust  {}: give it to curl with --cacert; a browser asks,", file.display())?;
        writeln!(out, "         and shows SHA-256 {fingerprint}")?;
    }
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
        (Storage::Memory, _) if log.cluster.is_some() => "a copy of the cluster's log, in memory".into(),
        (Storage::Disk { .. }, _) if log.cluster.is_some() => {
            format!("{}, a copy of the cluster's log", data.display())
        }
        (Storage::Memory, _) => "in memory, lost when the server stops".into(),
        (Storage::Disk { .. }, Durability::Fsync) => {
            format!("{}, flushed to disk before a publish is answered", data.display())
        }
        (Storage::Disk { .. }, Durability::Os) => {
            format!("{}, survives a crash of the server, but not of the machine", data.display())
        }
    }
}

/// Reads again what can change, at each SIGHUP, and says what can't: it never ends the process.
async fn reload_at_signal(reload: Reload, mut reloader: Reloader) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        info!("reading again the settings' file, keys and certificates");
        supervisor::reloading();
        match reloader.reload() {
            Ok(reloaded) => take_over(&reloaded, &reload),
            Err(error) => error!(%error, "the settings can't be used: those before stay"),
        }
        reload.read_files().await;
        supervisor::ready();
    }
}

fn take_over(reloaded: &Reloaded, reload: &Reload) {
    for Change { name, before, now } in &reloaded.changed {
        info!(name, before, now, "a setting has changed");
    }
    for Change { name, before, now } in &reloaded.waiting {
        warn!(name, before, now, "a setting has changed that takes effect at a restart");
    }
    if !reloaded.changed.is_empty() {
        telemetry::set_level(&reloaded.settings.log_level);
        reload.take_over(&reloaded.settings);
    }
}

/// Returns at the first SIGINT or SIGTERM. A second one ends the process at once.
async fn stop_signal(drain: impl Fn() -> Drain) {
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
    let Drain { delay, time } = drain();
    supervisor::stopping(delay + time + STOP_WITHIN);
    info!(?delay, ?time, "stopping: every stream ends within these times; a second signal stops at once");
    tokio::spawn(async move {
        next().await;
        warn!("stopped at once");
        telemetry::flush();
        std::process::exit(INTERRUPTED);
    });
}
