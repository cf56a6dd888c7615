//! Follows one service of a gateway until nobody wants it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::sleep;

use super::Gateway;
use super::slot::{Slot, State};
use crate::config::Backoff;
use crate::discovery::{Discovery, ServiceName, UnknownService};
use crate::server::Drain;

/// Between an error of a watch and what it says next.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// How long it is remembered that nobody knows a service.
const REMEMBER: Duration = Duration::from_secs(5);

/// How often it is looked whether a service has ended, as a part of the time that ends it.
const PART: u32 = 4;
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// One watch, and where what it says goes.
pub(super) struct Following {
    pub(super) source: Arc<dyn Discovery>,
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
            () = self.follow(&drain) => return,
            () = drain.begun() => return,
            () = life.cancelled() => return,
            () = self.ended(ends) => {}
        }
        if let (Some(gateway), Some(slot)) = (self.gateway.upgrade(), self.slot.upgrade()) {
            tracing::debug!(service = %self.service, "nobody wants it any more");
            gateway.close(&self.place, &slot);
        }
    }

    async fn follow(&self, drain: &Drain) {
        let mut wait = Backoff::new();
        loop {
            let mut updates = self.source.watch(&self.service);
            while let Some(said) = updates.next().await {
                let Some(slot) = self.slot.upgrade() else {
                    return;
                };
                if let Err(error) = &said
                    && !error.is::<UnknownService>()
                {
                    tracing::warn!(service = %self.service, %error, "discovery failed; the last known endpoints stay");
                }
                if slot.hear(said) {
                    wait = Backoff::new();
                    continue;
                }
                drop(slot);
                // A backend that fails goes on by itself, at its own pace: its recovery is not to be slept through.
                sleep(AFTER_ERROR).await;
            }
            if wait.rest(drain).await.is_err() {
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
