//! What a token says and everything that is wrong with it, for whoever wonders why it is refused.

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value};

use super::check::Findings;
use super::compact::Compact;
use super::{Auth, AuthError, AuthOptions, Role, TokenError};
use crate::server::hub::{Patterns, Rights};

/// What a token says.
#[derive(Debug)]
pub struct Inspection {
    /// Its header.
    pub header: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// What it would grant; `None` where that can't be read.
    pub rights: Option<Rights>,
    /// For each use that was asked for: all that is wrong, in the order of the checks. It is accepted if nothing is.
    pub refusals: Vec<(Role, Vec<TokenError>)>,
}

impl Auth {
    /// Reads the keys without making or changing a file: beside a server that runs.
    pub fn open_read_only(options: AuthOptions, patterns: Arc<Patterns>) -> Result<Self, AuthError> {
        Self::open_to(options, patterns, Arc::new(Utc::now), false)
    }

    /// Makes the checks of [`Auth::verify`], but all of them. An error says that it is no token at all.
    pub async fn inspect(&self, token: &str, roles: &[Role]) -> Result<Inspection, TokenError> {
        let compact = Compact::parse(token)?;
        let now = (self.clock)();
        let mut refusals = Vec::new();
        for &role in roles {
            let mut findings = Findings::All(Vec::new());
            self.check(&compact, role, now, &mut findings).await?;
            let Findings::All(found) = findings else { continue };
            refusals.push((role, found));
        }
        let rights = self.rights(&compact, self.protocol(&compact).unwrap_or_default());
        let Compact { header, claims, .. } = compact;
        Ok(Inspection { header, claims, rights: rights.ok(), refusals })
    }
}
