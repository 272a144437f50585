//! A node's lease: it tells that it lives, and ends what nodes had that don't.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::nodes::{self, PresenceNote, TELL_EVERY};
use crate::server::hub::HubShared;

/// How often it looks for what is to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps this node's lease until the hub and its sessions are gone.
pub(in crate::server::hub) async fn keep(hub: Weak<HubShared>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Instant> = None;
    loop {
        looks.tick().await;
        let Some(shared) = hub.upgrade() else { return };
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            // What the others have had before this one has started, they only tell when they are asked.
            let is_told = match told {
                None => tell(&shared, &PresenceNote::Asked(shared.number)).await,
                Some(_) => shared.log.tell_now(PresenceNote::Alive(shared.number).text()).await.is_ok(),
            };
            told = if is_told { Some(Instant::now()) } else { told };
        }
        end_silent(&shared).await;
    }
}

/// Ends what a silent node had. Of several nodes that notice it, one does.
async fn end_silent(shared: &HubShared) {
    let Some((node, had)) = shared.nodes.as_ref().and_then(nodes::Nodes::silent) else { return };
    let gone = PresenceNote::Gone(node);
    if !matches!(shared.log.claim(&gone.text()).await, Ok(true)) {
        return;
    }
    if !had.is_empty() {
        warn!(?node, subscriptions = had.len(), "a node of the cluster is gone: its subscriptions end");
    }
    shared.presence.tell(&had, false);
    shared.presence.settle().await;
    tell(shared, &gone).await;
}

/// Takes what a node has told. It must not wait: what comes after in the log waits for it.
pub(in crate::server::hub) fn hear(shared: &Arc<HubShared>, note: &PresenceNote) {
    let Some(nodes) = &shared.nodes else { return };
    nodes.hear(note);
    let own = || shared.sessions.list(shared.presence.root(), None, usize::MAX).subscriptions;
    match note {
        PresenceNote::Asked(node) if *node != shared.number => {
            let notes = nodes::listing(shared.number, &own());
            let shared = shared.clone();
            tokio::spawn(async move {
                for note in notes {
                    tell(&shared, &note).await;
                }
            });
        }
        // One may have ended between the listing and its place in the log, and its event have come first.
        PresenceNote::Listed { node, .. } if *node == shared.number => {
            let ended = note.subscriptions().filter(|active| shared.sessions.subscription(&active.id()).is_none());
            shared.presence.tell(&ended.collect::<Vec<_>>(), false);
        }
        // It was silent, and lives.
        PresenceNote::Gone(node) if *node == shared.number => shared.presence.tell(&own(), true),
        _ => {}
    }
}

async fn tell(shared: &HubShared, note: &PresenceNote) -> bool {
    let told = shared.log.tell(note.text()).await;
    told.inspect_err(|error| debug!(%error, "the other nodes could not be told of presence")).is_ok()
}
