//! Control messages between the nodes of a cluster.

use std::sync::Arc;

use serde::Deserialize;
use tracing::{error, info, warn};

use super::revocations::{Revocation, revoke_here};
use crate::server::auth::Auth;
use crate::server::hub::Hub;
use crate::server::hub::presence::PresenceMessage;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NodeMessage {
    /// A revocation: see [`Revocation::encode`].
    Revoked(Revocation),
    /// About presence.
    Presence(PresenceMessage),
}

/// Handles control messages until the hub's log is closed.
pub(in crate::server) fn handle_control_messages(hub: &Hub, auth: &Arc<Auth>) {
    let Some(mut messages) = hub.log().control_messages() else { return };
    // A strong reference would keep the log open.
    let (hub, auth) = (hub.downgrade(), auth.clone());
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let Some(hub) = hub.upgrade() else { return };
            match serde_json::from_str(&message.text) {
                Ok(NodeMessage::Presence(message)) => hub.handle_presence(&message),
                Ok(NodeMessage::Revoked(revocation)) => match revoke_here(&hub, &auth, &revocation).await {
                    Ok(ended) => info!(?revocation, ended, "applied a revocation"),
                    Err(error) => error!(?error, ?revocation, "a revocation could not be applied on this node"),
                },
                Err(error) => warn!(%error, "a control message can't be read: its node may run a newer version"),
            }
        }
    });
}
