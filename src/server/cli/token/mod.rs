//! `tidings token`: makes a token that this server accepts, and explains why it would refuse one.
//!
//! It reads the settings as the server does, and works beside one that runs as well as before the first start.

mod inspect;
mod make;
mod words;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use thiserror::Error;
use url::Url;

use super::outcome::{CommandError, end};
use crate::server::auth::{AuthError, AuthOptions, DetailError, KeyError};
use crate::server::hub::Patterns;
use crate::server::settings::{ListenAddress, Options, SettingsError};
use inspect::InspectArgs;
use make::MakeArgs;

/// Make a token for this server, or explain one
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum TokenCommand {
    /// Say what a token grants, and everything for which it would be refused
    ///
    /// Ends with 0 if it is accepted, with 1 if it is refused.
    Inspect(InspectArgs),
}

/// Where the server's settings are: the same flags and variables as `serve` has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The server's settings")]
struct ServerArgs {
    /// The server's TOML file
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data folder
    #[arg(long, env = "TIDINGS_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the server listens
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "ADDRESSES", value_delimiter = ',')]
    listen: Vec<ListenAddress>,
    /// Its certificates: with these its URL begins with https
    #[arg(long, env = "TIDINGS_TLS_CERTIFICATE_FILE", value_name = "FILES", value_delimiter = ',')]
    tls_certificate_file: Vec<PathBuf>,
    /// Their keys
    #[arg(long, env = "TIDINGS_TLS_KEY_FILE", value_name = "FILES", value_delimiter = ',')]
    tls_key_file: Vec<PathBuf>,
    /// Whether it has made its certificate by itself
    #[arg(long, env = "TIDINGS_TLS_SELF_SIGNED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    tls_self_signed: Option<bool>,
    /// The hub's public URL: a token's audience (`aud`)
    #[arg(long, env = "TIDINGS_RESOURCE", value_name = "URL")]
    resource: Option<String>,
    /// Whose tokens it trusts (`iss`)
    #[arg(long, env = "TIDINGS_ISSUER", value_name = "ISSUER")]
    issuer: Option<String>,
    /// Its key for publishers' tokens
    #[arg(long, env = "TIDINGS_PUBLISHER_KEY_FILE", value_name = "FILE")]
    publisher_key_file: Option<PathBuf>,
    /// Its key for subscribers' tokens
    #[arg(long, env = "TIDINGS_SUBSCRIBER_KEY_FILE", value_name = "FILE")]
    subscriber_key_file: Option<PathBuf>,
    /// Whether it speaks the older protocol too
    #[arg(long, env = "TIDINGS_LEGACY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    legacy: Option<bool>,
}

/// Why there is no token, or it is refused.
#[derive(Debug, Error)]
pub enum TokenCommandError {
    /// The server's settings can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The keys can't be used.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The arguments make no token.
    #[error("{0}")]
    Arguments(String),
    /// What it should grant can't be said.
    #[error("the server would refuse the token: {0}")]
    Details(#[from] DetailError),
    /// The key doesn't sign.
    #[error("the token can't be signed: {0}")]
    Sign(#[from] KeyError),
    /// The token can't be read, or what is found out can't be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The system refuses what a request for a remote key needs.
    #[error("the runtime could not be started: {0}")]
    Runtime(#[source] io::Error),
    /// The server would not accept the token: why has been said.
    #[error("the token would be refused")]
    Refused,
}

impl CommandError for TokenCommandError {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Does what the arguments say.
pub fn run(args: TokenArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    end(runtime.map_err(TokenCommandError::Runtime).and_then(|runtime| runtime.block_on(dispatch(args))))
}

async fn dispatch(args: TokenArgs) -> Result<(), TokenCommandError> {
    match args.command {
        Some(TokenCommand::Inspect(args)) => inspect::run(args).await,
        None => make::run(&args.make),
    }
}

/// What the commands need to know of the server.
struct Server {
    auth: AuthOptions,
    url: Url,
}

impl ServerArgs {
    fn server(&self) -> Result<Server, TokenCommandError> {
        let options = Options {
            config: self.config.clone(),
            data: self.data.clone(),
            listen: self.listen.clone(),
            tls_certificate_file: self.tls_certificate_file.clone(),
            tls_key_file: self.tls_key_file.clone(),
            tls_self_signed: self.tls_self_signed,
            resource: self.resource.clone(),
            issuer: self.issuer.clone(),
            publisher_key_file: self.publisher_key_file.clone(),
            subscriber_key_file: self.subscriber_key_file.clone(),
            legacy: self.legacy,
            ..Options::default()
        };
        let settings = options.resolve()?;
        let listening = settings.listening_url().filter(|url| url.port() != Some(0));
        if listening.is_none() && settings.mercure.resource.is_none() {
            let hint = "the server takes any free port or has none, so its URL can't be told: say it with --resource, for \
                        example --resource http://127.0.0.1:3000/.well-known/mercure";
            return Err(TokenCommandError::Arguments(hint.into()));
        }
        let url = settings.mercure.url(listening);
        Ok(Server { auth: settings.mercure.auth(&url, &settings.data), url })
    }
}

impl Server {
    fn patterns(&self) -> Patterns {
        Patterns::new(self.url.clone())
    }
}
