//! Explains a token: its contents, and all reasons why it would be refused.

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value};

use super::check::Findings;
use super::compact_jws::CompactJws;
use super::{Auth, AuthError, AuthOptions, Role, TokenError};
use crate::server::hub::{Patterns, Rights};

/// What a token contains, and whether it would be accepted.
#[derive(Debug)]
pub struct Inspection {
    /// Its header.
    pub header: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// What it would grant; `None` if its rights are invalid.
    pub rights: Option<Rights>,
    /// For each role that was asked for, all reasons to refuse it, in the order of the checks. Without any it is
    /// accepted.
    pub refusals: Vec<(Role, Vec<TokenError>)>,
}

impl Auth {
    /// Reads the keys, and creates or changes no file: it can run beside a server.
    pub fn open_read_only(options: AuthOptions, patterns: Arc<Patterns>) -> Result<Self, AuthError> {
        Self::open_to(options, patterns, Arc::new(Utc::now), false)
    }

    /// Runs all checks of [`Auth::verify`], also after one has failed. An error means that it can't be parsed.
    pub async fn inspect(&self, token: &str, roles: &[Role]) -> Result<Inspection, TokenError> {
        let compact = CompactJws::parse(token)?;
        let now = (self.clock)();
        let mut refusals = Vec::new();
        for &role in roles {
            let mut findings = Findings::All(Vec::new());
            self.check(&compact, role, now, &mut findings).await?;
            let Findings::All(found) = findings else { continue };
            refusals.push((role, found));
        }
        let rights = self.rights(&compact, self.protocol(&compact).unwrap_or_default());
        let CompactJws { header, claims, .. } = compact;
        Ok(Inspection { header, claims, rights: rights.ok(), refusals })
    }
}
