//! Who is visited when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::Timestamp;

use super::settings::Wanted;

/// See the module. Each once.
#[derive(Debug)]
pub(super) struct Agenda(BTreeMap<String, (Timestamp, Arc<Wanted>)>);

/// The longest time without a look at it: the wall clock may be set.
const LOOK: Duration = Duration::from_secs(30);

// === impl Agenda ===

impl Agenda {
    /// All of them at once.
    pub(super) fn new(wanted: &[Arc<Wanted>]) -> Self {
        let mut agenda = Self(BTreeMap::new());
        for wanted in wanted {
            agenda.put(Timestamp::default(), Arc::clone(wanted));
        }
        agenda
    }

    /// It is visited then.
    pub(super) fn put(&mut self, at: Timestamp, wanted: Arc<Wanted>) {
        self.0.insert(wanted.id().to_owned(), (at, wanted));
    }

    /// It is visited as soon as there is room, unless it stands here already.
    pub(super) fn ask(&mut self, wanted: Arc<Wanted>) {
        let entry = self.0.entry(wanted.id().to_owned());
        entry.or_insert((Timestamp::default(), wanted));
    }

    /// One that is due, the longest first; it is not here any more until it has been visited.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Arc<Wanted>> {
        let due = self.0.iter().filter(|(_, (at, _))| *at <= now);
        let (id, _) = due.min_by_key(|(_, (at, _))| *at)?;
        let id = id.clone();
        self.0.remove(&id).map(|(_, wanted)| wanted)
    }

    /// Until the next visit.
    pub(super) fn nap(&self, now: Timestamp) -> Duration {
        let first = self.0.values().map(|(at, _)| at.since(now)).min();
        // What is due waits for a visit to end, which is an event of its own.
        let first = first.filter(|wait| !wait.is_zero());
        first.unwrap_or(LOOK).min(LOOK)
    }
}
