//! What one check says about one endpoint, and how it came to that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::rules::Check;
use crate::clock::Timestamp;
use crate::config::CheckState;
use crate::upstream::pool::Transport;

/// Looks that are remembered.
const REMEMBERED: usize = 10;

/// One check of one endpoint. It ends when nobody refers to it any more.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(super) check: Arc<Check>,
    pub(super) transport: Arc<Transport>,
    state: Mutex<State>,
    pub(super) life: CancellationToken,
}

/// What is known at a moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) up: bool,
    /// When it last changed its mind; `None` if it never did.
    pub(crate) since: Option<Timestamp>,
    /// Looks in a row that say otherwise.
    against: u32,
    /// The newest last.
    pub(crate) seen: VecDeque<Seen>,
}

/// What came of one look.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    /// Why it was bad.
    pub(crate) error: Option<Arc<str>>,
}

// === impl Watch ===

impl Watch {
    /// `before`: what was known under an earlier definition of the same check.
    pub(super) fn new(check: Arc<Check>, transport: Arc<Transport>, before: Option<State>) -> Self {
        let initial = State {
            up: check.config.initial == CheckState::Up,
            since: None,
            against: 0,
            seen: VecDeque::new(),
        };
        Self {
            check,
            transport,
            state: Mutex::new(before.unwrap_or(initial)),
            life: CancellationToken::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.lock().up
    }

    /// Notes what came of a look. `true` if it has changed its mind.
    pub(super) fn note(&self, seen: Seen) -> bool {
        let config = &self.check.config;
        let mut state = self.state.lock();
        let good = seen.error.is_none();
        let at = seen.at;
        if state.seen.len() == REMEMBERED {
            state.seen.pop_front();
        }
        state.seen.push_back(seen);
        if good == state.up {
            state.against = 0;
            return false;
        }
        state.against += 1;
        let enough = if good {
            config.healthy
        } else {
            config.unhealthy
        };
        if state.against < enough {
            return false;
        }
        (state.up, state.against, state.since) = (good, 0, Some(at));
        true
    }

    /// How long until it may say otherwise, at the soonest.
    pub(super) fn patience(&self) -> Duration {
        self.check.pause(false, 0.5)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.life.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::checks::tests::{check, transport};

    fn watch(text: &str) -> Watch {
        Watch::new(check(text), transport("http://a:1"), None)
    }

    fn look(watch: &Watch, good: bool) -> bool {
        let error = (!good).then(|| "no".into());
        watch.note(Seen {
            at: Timestamp::from_secs(1),
            took: Duration::ZERO,
            error,
        })
    }

    #[test]
    fn changes_its_mind_at_the_thresholds() {
        let watch = watch("healthy = 2\nunhealthy = 3");
        assert!(watch.is_up());
        for good in [false, false, true, false, false] {
            assert!(!look(&watch, good), "not in a row");
        }
        assert!(look(&watch, false));
        assert!(!watch.is_up());
        assert!(!look(&watch, true));
        assert!(!look(&watch, false));
        assert!(!look(&watch, true));
        assert!(look(&watch, true));
        assert!(watch.is_up());
        assert_eq!(watch.state().since, Some(Timestamp::from_secs(1)));
    }

    #[test]
    fn remembers_the_last_looks() {
        let watch = watch("initial = 'down'");
        assert!(!watch.is_up());
        for _ in 0..100 {
            look(&watch, false);
        }
        assert_eq!(watch.state().seen.len(), REMEMBERED);
    }
}
