//! `tidings token inspect`: explains a token.

use std::io::{self, Read, Write};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::words::{grants, moment, visible};
use super::{ServerArgs, TokenCommandError};
use crate::server::auth::{Auth, Inspection, Role};

/// Bytes that are read of what may be a token: more than any token has.
const MAX_INPUT: u64 = 1 << 20;

#[derive(Args, Clone, Debug)]
pub(super) struct InspectArgs {
    /// The token; it is read from standard input if it is left out or -
    token: Option<String>,
    /// What it is to be used for; of both, one that accepts it is enough
    #[arg(long, value_name = "ROLE", default_value = "both")]
    role: Use,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Use {
    Publisher,
    Subscriber,
    Both,
}

/// Writes what the token says, what it grants and all that is wrong with it. Refused is an error too.
pub(super) async fn run(args: InspectArgs) -> Result<(), TokenCommandError> {
    let server = args.server.server()?;
    let patterns = Arc::new(server.patterns());
    let auth = Auth::open_read_only(server.auth, patterns)?;
    let token = match args.token.filter(|token| token != "-") {
        Some(token) => token,
        None => read()?,
    };
    let roles: &[Role] = match args.role {
        Use::Publisher => &[Role::Publisher],
        Use::Subscriber => &[Role::Subscriber],
        Use::Both => &[Role::Publisher, Role::Subscriber],
    };
    let mut out = io::stdout().lock();
    let inspection = match auth.inspect(token.trim(), roles).await {
        Ok(inspection) => inspection,
        Err(reason) => {
            writeln!(out, "refused\n  {reason}")?;
            return Err(TokenCommandError::Refused);
        }
    };
    write_token(&mut out, &inspection)?;
    for (role, reasons) in &inspection.refusals {
        let verdict = if reasons.is_empty() { "accepted" } else { "refused" };
        writeln!(out, "{verdict} as a {role}'s")?;
        for reason in reasons {
            writeln!(out, "  {}", visible(&reason.to_string()))?;
        }
    }
    let is_accepted = inspection.refusals.iter().any(|(_, reasons)| reasons.is_empty());
    if is_accepted { Ok(()) } else { Err(TokenCommandError::Refused) }
}

fn read() -> io::Result<String> {
    let mut token = Vec::new();
    io::stdin().lock().take(MAX_INPUT).read_to_end(&mut token)?;
    Ok(String::from_utf8_lossy(&token).into_owned())
}

fn write_token(out: &mut impl Write, token: &Inspection) -> io::Result<()> {
    writeln!(out, "header")?;
    write_members(out, &token.header)?;
    writeln!(out, "claims")?;
    write_members(out, &token.claims)?;
    writeln!(out, "grants")?;
    match &token.rights {
        None => writeln!(out, "  (can't be read)"),
        Some(rights) if rights.grants().is_empty() => writeln!(out, "  nothing"),
        Some(rights) => grants(rights).iter().try_for_each(|grant| writeln!(out, "  {grant}")),
    }
}

fn write_members(out: &mut impl Write, object: &Map<String, Value>) -> io::Result<()> {
    let width = object.keys().map(|name| name.chars().count()).max().unwrap_or_default().min(12);
    for (name, value) in object {
        let text = match value {
            Value::String(text) => visible(text),
            value => visible(&value.to_string()),
        };
        let date = value.as_i64().filter(|_| matches!(&**name, "exp" | "nbf" | "iat"));
        let date = date.map(|at| DateTime::from_timestamp(at, 0).unwrap_or(DateTime::<Utc>::MAX_UTC));
        let date = date.map_or(String::new(), |at| format!("  ({})", moment(at, Utc::now())));
        writeln!(out, "  {:width$}  {text}{date}", visible(name))?;
    }
    Ok(())
}
