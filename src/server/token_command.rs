//! `tidings token`: makes a token that this server takes, and explains why it would refuse one.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tokens and reasons are for the person who asks")]

use std::io::{self, IsTerminal, Read};
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use thiserror::Error;
use uuid::Uuid;

use super::auth::mint::Signer;
use super::auth::{Auth, AuthError, AuthOptions, DETAIL_TYPE, Role};
use super::hub::{HubOptions, Patterns};
use super::settings::{Listen, Options, SettingsError, Span};

/// Make a token for this server, or explain one
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    #[command(flatten)]
    grants: Grants,
    #[command(flatten)]
    server: Server,
}

#[derive(Clone, Debug, Subcommand)]
enum TokenCommand {
    /// Say what a token grants, and why it would be refused
    Inspect {
        /// The token; standard input if it is left out or -
        token: Option<String>,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Args, Clone, Debug)]
struct Grants {
    /// A topic that may be published on, * for all; may be repeated
    #[arg(long, value_name = "TOPIC")]
    publish: Vec<String>,
    /// A topic whose private updates may be read, * for all; may be repeated
    #[arg(long, value_name = "TOPIC")]
    subscribe: Vec<String>,
    /// A URL pattern of topics that may be published on; may be repeated
    #[arg(long, value_name = "PATTERN")]
    publish_pattern: Vec<String>,
    /// A URL pattern of topics whose private updates may be read; may be repeated
    #[arg(long, value_name = "PATTERN")]
    subscribe_pattern: Vec<String>,
    /// Let it revoke tokens and end streams
    #[arg(long)]
    revoke: bool,
    /// What presence tells of the subscriber: a JSON object
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// How long it is good for
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    expires: Span,
    /// Whom it is for
    #[arg(long, value_name = "NAME", default_value = "tidings")]
    subject: String,
    /// What it is revoked by [default: a random UUID]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sign with this secret or private PEM instead of the server's own key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Where the server's settings are: the same flags and variables as `serve` has.
#[derive(Args, Clone, Debug)]
struct Server {
    /// The server's TOML file
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data folder
    #[arg(long, env = "TIDINGS_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the server listens
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "HOST:PORT")]
    listen: Option<Listen>,
    /// The hub's public URL: the token's audience
    #[arg(long, env = "TIDINGS_RESOURCE", value_name = "URL")]
    resource: Option<String>,
    /// The token's issuer
    #[arg(long, env = "TIDINGS_ISSUER", value_name = "ISSUER")]
    issuer: Option<String>,
    /// The server's key for publishers' tokens
    #[arg(long, env = "TIDINGS_PUBLISHER_KEY_FILE", value_name = "FILE")]
    publisher_key_file: Option<PathBuf>,
    /// The server's key for subscribers' tokens
    #[arg(long, env = "TIDINGS_SUBSCRIBER_KEY_FILE", value_name = "FILE")]
    subscriber_key_file: Option<PathBuf>,
}

/// Why there is no token, or why it is refused.
#[derive(Debug, Error)]
pub enum TokenCommandError {
    /// The server's settings can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The keys can't be used.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The arguments make no sense.
    #[error("{0}")]
    Arguments(String),
    /// It can't be signed.
    #[error("the token can't be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// The token can't be read.
    #[error("the token can't be read: {0}")]
    Read(#[from] io::Error),
    /// The token is of no use here: why has been said.
    #[error("the token would be refused")]
    Refused,
}

/// Does what the arguments say. An error is written for whoever asked.
pub async fn run(args: TokenArgs) -> Result<(), TokenCommandError> {
    match args.command {
        Some(TokenCommand::Inspect { token, server }) => inspect(token, server).await,
        None => mint(&args.grants, args.server),
    }
}

fn mint(grants: &Grants, server: Server) -> Result<(), TokenCommandError> {
    let options = server.auth()?;
    let details = grants.details()?;
    let publishes = grants.revoke || !grants.publish.is_empty() || !grants.publish_pattern.is_empty();
    let signer = match &grants.key {
        Some(path) => Signer::from_file(path)?,
        None => Signer::of_server(&options, publishes)?,
    };
    let now = Utc::now();
    let until = TimeDelta::from_std(grants.expires.0).ok().and_then(|span| now.checked_add_signed(span));
    let until = until.ok_or_else(|| TokenCommandError::Arguments("--expires is longer than time".into()))?;
    let token = signer.sign(&json!({
        "iss": options.issuers[0].issuer,
        "aud": options.resource,
        "sub": grants.subject,
        "client_id": "tidings",
        "iat": now.timestamp(),
        "exp": until.timestamp(),
        "jti": grants.id.clone().unwrap_or_else(|| Uuid::new_v4().to_string()),
        "authorization_details": details,
    }))?;
    println!("{token}");
    if io::stderr().is_terminal() {
        eprintln!("for {}, until {}", options.resource, until.format("%Y-%m-%d %H:%M:%S UTC"));
    }
    Ok(())
}

impl Grants {
    fn details(&self) -> Result<Vec<Value>, TokenCommandError> {
        let payload: Option<Map<String, Value>> = match self.payload.as_deref().map(serde_json::from_str) {
            Some(Ok(payload)) => Some(payload),
            Some(Err(error)) => {
                return Err(TokenCommandError::Arguments(format!("--payload must be a JSON object: {error}")));
            }
            None => None,
        };
        let topics = |exact: &[String], patterns: &[String]| {
            let exact = exact.iter().map(|topic| json!({ "match": topic }));
            let patterns = patterns.iter().map(|pattern| json!({ "match": pattern, "match_type": "urlpattern" }));
            exact.chain(patterns).collect::<Vec<_>>()
        };
        let detail = |action: &str, topics: Vec<Value>| {
            (!topics.is_empty()).then(|| json!({ "type": DETAIL_TYPE, "actions": [action], "topics": topics }))
        };
        let mut subscribe = detail("subscribe", topics(&self.subscribe, &self.subscribe_pattern));
        if let (Some(payload), Some(detail)) = (payload, &mut subscribe) {
            detail["payload"] = Value::Object(payload);
        }
        let publish = detail("publish", topics(&self.publish, &self.publish_pattern));
        let revoke = self.revoke.then(|| vec![json!({ "match": "*" })]).and_then(|all| detail("revoke", all));
        let details: Vec<_> = [publish, subscribe, revoke].into_iter().flatten().collect();
        if details.is_empty() {
            let hint = "the token would grant nothing: say what with --publish TOPIC or --subscribe TOPIC (* for all)";
            return Err(TokenCommandError::Arguments(hint.into()));
        }
        Ok(details)
    }
}

async fn inspect(token: Option<String>, server: Server) -> Result<(), TokenCommandError> {
    let token = match token.filter(|token| token != "-") {
        Some(token) => token,
        None => {
            let mut token = String::new();
            io::stdin().lock().take(1 << 20).read_to_string(&mut token)?;
            token
        }
    };
    let token = token.trim();
    for (name, part) in ["header", "claims"].into_iter().zip(token.split('.')) {
        println!("{name}  {}", decoded(part).unwrap_or_else(|| "not readable".into()));
    }
    let auth = Auth::open(server.auth()?, Patterns::new(HubOptions::default().url).into())?;
    let mut is_accepted = false;
    for role in [Role::Publisher, Role::Subscriber] {
        match auth.verify(token, role).await {
            Ok(token) => {
                is_accepted = true;
                println!("{role}  accepted");
                for grant in token.rights.grants() {
                    let actions =
                        [("publish", grant.publish), ("subscribe", grant.subscribe), ("revoke", grant.revoke)];
                    let actions: Vec<_> = actions.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
                    let topics: Vec<_> = grant.topics.iter().map(ToString::to_string).collect();
                    println!("  may {} {}", actions.join(" and "), topics.join(", "));
                }
            }
            Err(reason) => println!("{role}  refused: {reason}"),
        }
    }
    if is_accepted { Ok(()) } else { Err(TokenCommandError::Refused) }
}

fn decoded(part: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

impl Server {
    fn auth(self) -> Result<AuthOptions, TokenCommandError> {
        let options = Options {
            config: self.config,
            data: self.data,
            listen: self.listen,
            resource: self.resource,
            issuer: self.issuer,
            publisher_key_file: self.publisher_key_file,
            subscriber_key_file: self.subscriber_key_file,
            ..Options::default()
        };
        let settings = options.resolve()?;
        let address: SocketAddr = settings.listen[0];
        Ok(settings.mercure.auth(address, &settings.data))
    }
}
