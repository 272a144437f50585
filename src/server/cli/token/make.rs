//! `tidings token`: makes a token.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words::{grants, moment};
use super::{Server, ServerArgs, TokenCommandError};
use crate::server::auth::{Claims, DETAIL_TYPE, Role, SigningKey};
use crate::server::hub::EVERYTHING;
use crate::server::settings::Span;

/// Who asks for tokens on the command line.
const CLIENT: &str = "tidings";

#[derive(Args, Clone, Debug)]
pub(super) struct MakeArgs {
    /// Grant publishing to this topic, * for all; may be repeated
    #[arg(long, value_name = "TOPIC")]
    publish: Vec<String>,
    /// Grant reading this topic's private updates, * for all; may be repeated
    #[arg(long, value_name = "TOPIC")]
    subscribe: Vec<String>,
    /// Grant publishing to the topics that match this URL pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    publish_pattern: Vec<String>,
    /// Grant reading private updates of the topics that match this URL pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    subscribe_pattern: Vec<String>,
    /// Grant revoking tokens and ending streams
    #[arg(long)]
    revoke: bool,
    /// What presence tells others of the subscriber: a JSON object
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// How long it is good for
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    expires: Span,
    /// Whom it is for (`sub`) [default: the client]
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Which program it is for (`client_id`)
    #[arg(long, value_name = "NAME", default_value = CLIENT)]
    client_id: String,
    /// What it can be revoked by (`jti`) [default: a random UUID]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sign with the key in this file, a secret or a private key as PEM or JWK [default: the server's own]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Make the server's key if there is none, as the server does when it first starts
    #[arg(long, conflicts_with = "key")]
    make_key: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Writes the token alone to standard output, and for a person what it grants to standard error.
pub(super) fn run(args: &MakeArgs) -> Result<(), TokenCommandError> {
    let details = args.details()?;
    let server = args.server.server()?;
    let issuer = server.auth.issuers.first().map(|issuer| issuer.issuer.clone()).unwrap_or_default();
    let now = Utc::now();
    let until = TimeDelta::from_std(args.expires.0).ok().and_then(|span| now.checked_add_signed(span));
    let until = until.filter(|until| until.timestamp() > now.timestamp());
    let claims = Claims {
        issuer,
        subject: args.subject.clone().unwrap_or_else(|| args.client_id.clone()),
        client_id: args.client_id.clone(),
        audience: server.auth.resource.clone(),
        issued: now,
        expires: until.ok_or_else(|| refuse("--expires must be a second or more, for example 1h or 30days"))?,
        id: args.id.clone().unwrap_or_else(|| Uuid::new_v4().to_string()),
        authorization_details: details,
    };
    let rights = claims.rights(&server.patterns())?;
    let (key, file) = args.signing_key(&server)?;
    let token = key.sign(&claims)?;
    writeln!(io::stdout(), "{token}")?;
    // A pipe too: whoever signs with another server's key finds out here, not from a refusal.
    let mut out = io::stderr().lock();
    writeln!(out, "key      {}", std::path::absolute(&file).unwrap_or(file).display())?;
    if io::stderr().is_terminal() {
        writeln!(out, "issuer   {}", claims.issuer)?;
        writeln!(out, "for      {}", claims.audience)?;
        writeln!(out, "until    {}", moment(claims.expires, now))?;
        for grant in grants(&rights) {
            writeln!(out, "grants   {grant}")?;
        }
    }
    Ok(())
}

impl MakeArgs {
    fn details(&self) -> Result<Vec<Value>, TokenCommandError> {
        let payload: Option<Map<String, Value>> =
            self.payload.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
                refuse(&format!("--payload must be a JSON object, for example '{{\"name\":\"Ada\"}}': {error}"))
            })?;
        let topics = |exact: &[String], patterns: &[String]| {
            let exact = exact.iter().map(|topic| json!({ "match": topic }));
            let patterns = patterns.iter().map(|pattern| json!({ "match": pattern, "match_type": "urlpattern" }));
            exact.chain(patterns).collect::<Vec<_>>()
        };
        let detail = |action: &str, topics: Vec<Value>| {
            (!topics.is_empty()).then(|| json!({ "type": DETAIL_TYPE, "actions": [action], "topics": topics }))
        };
        let publish = detail("publish", topics(&self.publish, &self.publish_pattern));
        let mut subscribe = detail("subscribe", topics(&self.subscribe, &self.subscribe_pattern));
        match (payload, &mut subscribe) {
            (Some(payload), Some(detail)) => detail["payload"] = payload.into(),
            (Some(_), None) => {
                return Err(refuse("--payload is what presence tells of a subscriber: it needs --subscribe"));
            }
            (None, _) => {}
        }
        let revoke = self.revoke.then(|| vec![json!({ "match": EVERYTHING })]).and_then(|all| detail("revoke", all));
        let details: Vec<_> = [publish, subscribe, revoke].into_iter().flatten().collect();
        if details.is_empty() {
            return Err(refuse(
                "the token would grant nothing: say what with --publish TOPIC or --subscribe TOPIC (* for all \
                 topics), --publish-pattern or --subscribe-pattern, or --revoke",
            ));
        }
        Ok(details)
    }

    /// The key that the server verifies such a token with, and its file.
    fn signing_key(&self, server: &Server) -> Result<(SigningKey, PathBuf), TokenCommandError> {
        if let Some(path) = &self.key {
            return Ok((SigningKey::read(path)?, path.clone()));
        }
        if self.make_key {
            SigningKey::make(&server.auth.data)?;
        }
        // Who revokes sends a request as publishers do.
        let publishes = self.revoke || !self.publish.is_empty() || !self.publish_pattern.is_empty();
        let subscribes = !self.subscribe.is_empty() || !self.subscribe_pattern.is_empty();
        if !subscribes {
            return server.key(Role::Publisher);
        }
        let (subscriber, file) = server.key(Role::Subscriber)?;
        if publishes && !server.key(Role::Publisher)?.0.is_same(&subscriber) {
            return Err(refuse("publishers' tokens are signed with another key than subscribers': make two tokens"));
        }
        Ok((subscriber, file))
    }
}

impl Server {
    /// The key that tokens of the server's own issuer are verified with, and its file.
    fn key(&self, role: Role) -> Result<(SigningKey, PathBuf), TokenCommandError> {
        let Some(issuer) = self.auth.issuers.first() else { return Err(no_key()) };
        SigningKey::of(issuer, role, &self.auth.data)?.ok_or_else(no_key)
    }
}

fn no_key() -> TokenCommandError {
    refuse("the server has no key of its own for that: name one with --key")
}

fn refuse(why: &str) -> TokenCommandError {
    TokenCommandError::Arguments(why.into())
}
