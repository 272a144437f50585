//! What the nodes of a cluster tell each other, in the order of the log.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use tracing::{error, info, warn};

use super::revocations::{Revocation, revoke_here};
use crate::server::auth::Auth;
use crate::server::hub::Hub;
use crate::server::hub::presence::PresenceNote;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NodeNote {
    /// Something is revoked.
    Revoked(Revocation),
    /// Who subscribes where.
    Presence(PresenceNote),
}

/// The note that something is revoked.
pub(super) fn revoked(wanted: &Revocation) -> String {
    json!({ "revoked": wanted }).to_string()
}

/// Takes care of what the nodes tell each other, until the hub's log is closed.
pub(in crate::server) fn follow(hub: &Hub, auth: &Arc<Auth>) {
    let Some(mut notes) = hub.log().notes() else { return };
    // Not the hub itself, which holds the log.
    let (hub, auth) = (hub.downgrade(), auth.clone());
    tokio::spawn(async move {
        while let Some(note) = notes.recv().await {
            let Some(hub) = hub.upgrade() else { return };
            match serde_json::from_str(&note.text) {
                Ok(NodeNote::Presence(note)) => hub.hear(&note),
                Ok(NodeNote::Revoked(wanted)) => match revoke_here(&hub, &auth, &wanted).await {
                    Ok(ended) => info!(?wanted, ended, "revoked in the cluster"),
                    Err(error) => error!(?error, ?wanted, "what was revoked in the cluster is not revoked here"),
                },
                Err(error) => warn!(%error, "a node's note can't be read: it may be of a newer program"),
            }
        }
    });
}
