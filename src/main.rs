//! The command line: which command runs, and the process's allocator.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tidings::server::cli::client::{self, DoctorArgs, PublishArgs, SubscribeArgs};
use tidings::server::cli::cluster::{self, ClusterArgs};
use tidings::server::cli::config::{self, ConfigArgs};
use tidings::server::cli::health::{self, HealthArgs};
use tidings::server::cli::help::{self, CompletionsArgs};
use tidings::server::cli::log::{self, LogArgs};
use tidings::server::cli::serve;
use tidings::server::cli::token::{self, TokenArgs};
use tidings::server::settings::Options;

// An idle stream costs about a third less resident memory than with the system's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Live updates over Server-Sent Events: one POST, and every subscriber has the tidings
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server (the default)
    Serve(Box<Options>),
    /// Make a token for this server, or explain one
    Token(Box<TokenArgs>),
    /// Inspect, export, import or compact the log of a stopped server
    Log(LogArgs),
    /// Ask a running server whether it is ready
    Health(Box<HealthArgs>),
    /// Check the settings, or show what is in effect
    Config(ConfigArgs),
    /// Show the state of a cluster
    Cluster(ClusterArgs),
    /// Publish an update to a Mercure hub, and print its id
    Publish(Box<PublishArgs>),
    /// Follow topics on a Mercure hub, and print each update as it arrives
    Subscribe(Box<SubscribeArgs>),
    /// Look at the whole way to a hub: what holds back, cuts or changes its streams
    Doctor(Box<DoctorArgs>),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, for man
    Man,
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { command, options } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match command.unwrap_or(Command::Serve(Box::new(options))) {
        Command::Serve(options) => serve::run(*options),
        Command::Token(args) => token::run(*args),
        Command::Log(args) => log::run(args),
        Command::Health(args) => health::run(*args),
        Command::Config(args) => config::run(args, matches.subcommand_matches("config")),
        Command::Cluster(args) => cluster::run(args),
        Command::Doctor(args) => client::doctor(*args),
        Command::Completions(args) => help::completions(&args, Cli::command()),
        Command::Man => help::man(Cli::command()),
        Command::Publish(args) => client::publish(*args),
        Command::Subscribe(args) => client::subscribe(*args),
    }
}
