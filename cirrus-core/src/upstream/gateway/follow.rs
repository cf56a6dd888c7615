//! Follows one service of a gateway until nobody wants it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::Gateway;
use super::slot::{Slot, State};
use crate::discovery::ServiceName;
use crate::discovery::feed::Feeds;
use crate::server::Drain;

/// How long it is remembered that nobody knows a service.
const REMEMBER: Duration = Duration::from_secs(5);

/// How often it is looked whether a service has ended, as a part of the time that ends it.
const PART: u32 = 4;
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// One service, and where what is said of it goes.
pub(super) struct Following {
    pub(super) feeds: Arc<Feeds>,
    pub(super) service: ServiceName,
    pub(super) slot: Weak<Slot>,
    pub(super) gateway: Weak<Gateway>,
    pub(super) place: Box<str>,
}

/// When a service ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Nobody has asked for it for this long.
    pub(super) idle: Duration,
    /// It was known, and has been unknown for this long.
    pub(super) keep: Duration,
}

// === impl Following ===

impl Following {
    /// Until it has ended, the gateway is gone, or draining begins.
    pub(super) async fn run(self, drain: Drain) {
        let Some(life) = self.slot.upgrade().map(|slot| slot.cluster.life.clone()) else {
            return;
        };
        let Some(ends) = self.gateway.upgrade().map(|gateway| Ends::of(&gateway)) else {
            return;
        };
        tokio::select! {
            () = self.follow(ends.keep) => return,
            () = drain.begun() => return,
            () = life.cancelled() => return,
            () = self.ended(ends) => {}
        }
        if self.close(ends) {
            self.feeds.forget(&self.service).await;
        }
    }

    /// Whether what is known of it is not even of use to the next start.
    fn close(&self, ends: Ends) -> bool {
        let (Some(gateway), Some(slot)) = (self.gateway.upgrade(), self.slot.upgrade()) else {
            return false;
        };
        tracing::debug!(service = %self.service, "nobody wants it any more");
        gateway.close(&self.place, &slot);
        slot.unknown_for().is_some_and(|time| time >= ends.keep)
    }

    /// What the watch says goes to the slot. The slot's cluster keeps the watch going, which others may share.
    async fn follow(&self, keep: Duration) {
        let feed = self.feeds.follow_asked_for(&self.service).await;
        let (mut reports, mut endpoints) = (feed.reports(), feed.subscribe());
        if let Some(slot) = self.slot.upgrade() {
            slot.cluster.fed_by(feed);
        }
        loop {
            let Some(slot) = self.slot.upgrade() else {
                return;
            };
            if endpoints.has_changed().unwrap_or(false)
                && let Some(present) = &*endpoints.borrow_and_update()
            {
                slot.cluster.update(present);
            }
            let has_endpoints = endpoints.borrow().is_some();
            slot.hear(&reports.borrow_and_update(), has_endpoints, keep);
            drop(slot);
            if reports.changed().await.is_err() {
                return;
            }
        }
    }

    async fn ended(&self, ends: Ends) {
        let look = (ends.idle.min(ends.keep).min(REMEMBER) / PART).min(LONGEST_LOOK);
        loop {
            sleep(look.max(Duration::from_millis(10))).await;
            let Some(slot) = self.slot.upgrade() else {
                return;
            };
            let keep = match slot.state() {
                State::Known => ends.keep,
                _ => REMEMBER,
            };
            if slot.idle() >= ends.idle || slot.unknown_for().is_some_and(|time| time >= keep) {
                return;
            }
        }
    }
}

// === impl Ends ===

impl Ends {
    fn of(gateway: &Gateway) -> Self {
        Self {
            idle: gateway.rules.idle,
            keep: gateway.rules.keep,
        }
    }
}
