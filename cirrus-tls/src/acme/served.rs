//! What is served of a store: looked up in memory, read when it is first asked for, dropped when it changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use cirrus_core::downstream::{CertError, Certificate, ServerName};
use tokio::time::{MissedTickBehavior, interval};

use super::shelf::{Kept, Shelf};
use super::store::{CertRecord, CertStore, Slot, StoreError};

/// The certificates of a store, as handshakes want them.
pub(super) struct Served {
    store: Arc<dyn CertStore>,
    shelf: Shelf,
    /// What there is in the store; `None` as long as nobody has been able to ask.
    known: ArcSwapOption<HashSet<String>>,
}

/// A hint may get lost, and not everybody who writes gives one: so often everything is looked at anyway.
const LOOK: Duration = Duration::from_secs(30);

// === impl Served ===

impl Served {
    pub(super) fn new(store: Arc<dyn CertStore>, capacity: usize) -> Self {
        Self {
            store,
            shelf: Shelf::new(capacity),
            known: ArcSwapOption::empty(),
        }
    }

    /// What is in memory for `id`, if clients that ask for `name` accept it.
    pub(super) fn find(&self, id: &str, name: &str) -> Option<Arc<Kept>> {
        let kept = self.shelf.find(id)?;
        kept.certificate.covers(name).then_some(kept)
    }

    /// What is in memory.
    pub(super) fn all(&self) -> impl Iterator<Item = (Arc<str>, Arc<Certificate>)> {
        self.shelf.all()
    }

    /// What is in memory for `id`; that does not count as use.
    pub(super) fn peek(&self, id: &str) -> Option<Arc<Certificate>> {
        self.shelf.peek(id)
    }

    /// The store has it no more.
    pub(super) fn forget(&self, id: &str) {
        self.shelf.remove(id);
    }

    /// Whether the store may have it.
    pub(super) fn may_have(&self, id: &str) -> bool {
        let known = self.known.load();
        known.as_ref().is_none_or(|known| known.contains(id))
    }

    /// Reads `id` anew; gives what can be served.
    pub(super) async fn fetch(&self, id: &str) -> Result<Option<Arc<Kept>>, StoreError> {
        let Some(text) = self.store.read(&Slot::Cert(id)).await? else {
            self.shelf.remove(id);
            return Ok(None);
        };
        if let Some(kept) = self.shelf.find(id).filter(|kept| kept.is_of(&text)) {
            return Ok(Some(kept));
        }
        let record = CertRecord::from_text(&text).and_then(|record| record.load());
        let loaded = record.map_err(|error| error.stored(id))?;
        self.keep(id, loaded.certificate, &text);
        Ok(self.shelf.find(id))
    }

    /// Serves this from now on.
    pub(super) fn keep(&self, id: &str, certificate: Arc<Certificate>, text: &str) {
        self.shelf.put(id, Kept::new(certificate, text));
        self.note(id);
    }

    /// The store has it now.
    fn note(&self, id: &str) {
        if self.may_have(id) {
            return;
        }
        self.known.rcu(|known| {
            let mut known = known.as_deref().cloned().unwrap_or_default();
            known.insert(id.to_owned());
            Some(Arc::new(known))
        });
    }

    /// Keeps up with the store, for ever.
    pub(super) async fn follow(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                _ = look.tick() => None,
                changed = self.store.changed() => changed,
            };
            match changed {
                Some(id) => self.changed(&id).await,
                None => self.refresh().await,
            }
        }
    }

    /// Learns what there is, and reads again what is in memory. What cannot be read stays as it is.
    async fn refresh(&self) {
        match self.store.names().await {
            Ok(names) => self
                .known
                .store(Some(Arc::new(names.into_iter().collect()))),
            Err(error) => tracing::warn!(%error, "which certificates there are is not known"),
        }
        for id in self.shelf.ids() {
            self.refresh_one(&id).await;
        }
    }

    /// One has changed. It is read only if it is in memory.
    async fn changed(&self, id: &str) {
        self.note(id);
        if self.shelf.find(id).is_some() {
            self.refresh_one(id).await;
        }
    }

    async fn refresh_one(&self, id: &str) {
        match self.fetch(id).await {
            Ok(_) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, "the certificate before it is served on");
            }
            Err(error) => tracing::warn!(%error, "certificates stay as they are"),
        }
    }
}

impl StoreError {
    /// For whoever asked for `name`.
    pub(super) fn for_name(self, name: &ServerName) -> CertError {
        let name = name.clone();
        match self {
            Self::Damaged { reason, .. } => CertError::Invalid { name, reason },
            other => CertError::Unavailable {
                name,
                source: other.into(),
            },
        }
    }
}
