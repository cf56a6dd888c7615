//! Whether a peer is worth asking, as far as asking it has shown.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long it is left alone at first; twice as long each time after that.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The longest it is left alone.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How many answers in a row may be late or wrong before it is left alone: an origin may be slow, and one host's
/// configuration may be on its way.
const PATIENCE: u32 = 3;

/// What asking a peer has shown.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// How often in a row it was left alone.
    rests: u32,
    until: Option<Instant>,
    /// A request is finding out whether it is back.
    is_probed: bool,
}

/// What is wrong with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It cannot be connected to, or breaks off.
    Unreachable,
    /// It takes too long, or does not know us for a peer.
    Late,
}

// === impl Health ===

impl Health {
    /// Whether to ask it now. After a rest one request finds out for all whether it is back.
    pub(super) fn may_be_asked(&self) -> bool {
        let mut state = self.0.lock();
        let Some(until) = state.until else {
            return true;
        };
        let now = Instant::now();
        if now < until {
            return false;
        }
        // Should the one who finds out never come back, another one goes.
        state.until = Some(now + FIRST_REST);
        state.is_probed = true;
        true
    }

    /// It answered; `true` if it had been left alone.
    pub(super) fn succeeded(&self) -> bool {
        let mut state = self.0.lock();
        let was_away = state.rests > 0;
        *state = State::default();
        was_away
    }

    /// It did not answer as it should. `true` if it is away from now on.
    pub(super) fn failed(&self, trouble: Trouble) -> bool {
        let mut state = self.0.lock();
        state.failures += 1;
        if trouble == Trouble::Late && state.failures < PATIENCE && state.rests == 0 {
            return false;
        }
        let now = Instant::now();
        // Requests that were on their way together fail together: that is one failure.
        let is_resting = state.until.is_some_and(|until| now < until);
        if is_resting && !state.is_probed {
            return false;
        }
        state.is_probed = false;
        let rest = FIRST_REST * 2_u32.saturating_pow(state.rests.min(8));
        state.until = Some(now + rest.min(LONGEST_REST));
        state.rests += 1;
        state.failures = 0;
        state.rests == 1
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_cannot_be_reached_is_left_alone_longer_and_longer() {
        let health = Health::default();
        assert!(health.failed(Trouble::Unreachable), "news");
        assert!(!health.failed(Trouble::Unreachable), "the same failure");
        for rest in [1, 2, 4, 8, 16, 30, 30] {
            advance(Duration::from_secs(rest) - Duration::from_millis(1)).await;
            assert!(!health.may_be_asked(), "{rest}");
            advance(Duration::from_millis(1)).await;
            assert!(health.may_be_asked(), "{rest}");
            assert!(!health.may_be_asked(), "one is enough to find out");
            assert!(!health.failed(Trouble::Late), "no news");
        }
        assert!(health.succeeded(), "it is back");
        assert!(!health.succeeded());
        assert!(health.may_be_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_now_and_then_is_forgiven() {
        let health = Health::default();
        for _ in 0..5 {
            assert!(!health.failed(Trouble::Late));
            assert!(!health.failed(Trouble::Late));
            assert!(health.may_be_asked());
            assert!(!health.succeeded());
        }
        assert!(!health.failed(Trouble::Late));
        assert!(!health.failed(Trouble::Late));
        assert!(health.failed(Trouble::Late));
        assert!(!health.may_be_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_is_followed_by_another() {
        let health = Health::default();
        health.failed(Trouble::Unreachable);
        advance(FIRST_REST).await;
        assert!(health.may_be_asked());
        advance(FIRST_REST).await;
        assert!(health.may_be_asked());
    }
}
