//! A set of endpoints that is suddenly small is not believed before it has been confirmed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Endpoints;
use crate::config::DiscoveryGuardConfig;

/// When a set is too small to be believed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// Fewer than this are too few, if there were more.
    pub(crate) min_endpoints: usize,
    /// The largest share, in percent, that may go within [`hold`](Self::hold).
    pub(crate) max_shrink: u8,
    /// How long a set that is too small waits before discovery is asked again.
    pub(crate) hold: Duration,
}

/// Judges what discovery says of one service.
///
/// A set that is too small is held back. If nothing better has come after a while, discovery has to be asked from the
/// beginning ([`due`](Self::due), [`ask_again`](Self::ask_again)): what it says then is believed, whatever it is.
#[derive(Debug)]
pub(super) struct Guard {
    floor: Floor,
    /// How many there were until when, while that still counts: each of them more than those after it.
    peaks: VecDeque<(Instant, usize)>,
    doubt: Doubt,
}

/// Whether a set is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// Since discovery's last word was an error: nothing is confirmed by it.
    Waiting,
    /// Discovery is to be asked again then.
    Until(Instant),
    /// What it says now is the second reading.
    Asked,
}

/// What becomes of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Believed,
    HeldBack,
}

// === impl Floor ===

impl Floor {
    pub(crate) fn of(config: &DiscoveryGuardConfig) -> Self {
        Self {
            min_endpoints: config.min_endpoints as usize,
            max_shrink: config.max_shrink,
            hold: config.hold.into(),
        }
    }

    fn is_too_few(&self, before: usize, now: usize) -> bool {
        let least = before * usize::from(100 - self.max_shrink.min(100));
        now < before && (now < self.min_endpoints || now * 100 < least)
    }
}

// === impl Guard ===

impl Guard {
    pub(super) fn new(floor: Floor) -> Self {
        Self {
            floor,
            peaks: VecDeque::new(),
            doubt: Doubt::None,
        }
    }

    /// What becomes of `next` while `present` is in force.
    pub(super) fn judge(&mut self, present: Option<&Endpoints>, next: &Endpoints) -> Verdict {
        let (before, now) = (present.map_or(0, usable), usable(next));
        let most = self.peak().max(before);
        let is_doubtful = self.floor.is_too_few(most, now);
        match self.doubt {
            _ if !is_doubtful => self.remember(before, now),
            // Twice the same thing: it is so, and nothing before it counts any more.
            Doubt::Asked => self.peaks.clear(),
            Doubt::Until(_) => return Verdict::HeldBack,
            Doubt::None | Doubt::Waiting => {
                self.doubt = Doubt::Until(Instant::now() + self.floor.hold);
                return Verdict::HeldBack;
            }
        }
        self.doubt = Doubt::None;
        Verdict::Believed
    }

    /// Discovery failed: whatever waits begins to wait anew when it speaks again.
    pub(super) fn failed(&mut self) {
        if self.doubt != Doubt::None {
            self.doubt = Doubt::Waiting;
        }
    }

    /// When discovery has to be asked again, if something is held back.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.doubt {
            Doubt::Until(due) => Some(due),
            _ => None,
        }
    }

    /// Discovery is asked from the beginning: its next word counts.
    pub(super) fn ask_again(&mut self) {
        self.doubt = Doubt::Asked;
    }

    /// The most that there were within the last [`Floor::hold`]: those that go one after the other go suddenly, too.
    fn peak(&mut self) -> usize {
        let now = Instant::now();
        while self.peaks.front().is_some_and(|(until, _)| *until <= now) {
            self.peaks.pop_front();
        }
        self.peaks.front().map_or(0, |(_, count)| *count)
    }

    fn remember(&mut self, before: usize, now: usize) {
        if now >= before {
            return;
        }
        while self.peaks.back().is_some_and(|(_, count)| *count <= before) {
            self.peaks.pop_back();
        }
        let until = Instant::now() + self.floor.hold;
        self.peaks.push_back((until, before));
    }
}

/// How many take requests: a set whose weights are all 0 is none.
fn usable(endpoints: &Endpoints) -> usize {
    endpoints.iter().filter(|one| one.weight > 0).count()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::discovery::Endpoint;
    use Verdict::{Believed, HeldBack};

    const FLOOR: Floor = Floor {
        min_endpoints: 2,
        max_shrink: 50,
        hold: Duration::from_secs(30),
    };

    /// Everything is believed.
    const OPEN: Floor = Floor {
        min_endpoints: 0,
        max_shrink: 100,
        ..FLOOR
    };

    fn set(count: usize) -> Endpoints {
        let one = |n| Endpoint::new(format!("http://10.0.0.{n}:80").parse().unwrap());
        (0..count).map(one).collect()
    }

    /// What becomes of sets that come one after the other, each believed one replacing the one before.
    fn judged(guard: &mut Guard, first: usize, then: &[usize]) -> Vec<Verdict> {
        let mut present = set(first);
        let mut verdicts = Vec::new();
        for count in then {
            let next = set(*count);
            let verdict = guard.judge(Some(&present), &next);
            if verdict == Believed {
                present = next;
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    #[tokio::test(start_paused = true)]
    async fn what_shrinks_too_much_is_held_back_and_the_rest_is_not() {
        for (first, next, verdict) in [
            (10, 5, Believed),
            (10, 4, HeldBack),
            (10, 0, HeldBack),
            (3, 2, Believed),
            (2, 1, HeldBack),
            (1, 0, HeldBack),
            // Never more than these: fewer than are wanted, but not fewer than before.
            (1, 1, Believed),
            (0, 0, Believed),
            (0, 1, Believed),
        ] {
            let mut guard = Guard::new(FLOOR);
            assert_eq!(
                judged(&mut guard, first, &[next]),
                [verdict],
                "{first} {next}"
            );
            let is_held = guard.due() == Some(Instant::now() + FLOOR.hold);
            assert_eq!(is_held, verdict == HeldBack);
            let open = judged(&mut Guard::new(OPEN), first, &[next]);
            assert_eq!(open, [Believed]);
        }
        assert_eq!(Guard::new(FLOOR).judge(None, &set(0)), Believed);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_endpoints_do_not_count() {
        let drained: Endpoints = set(9)
            .iter()
            .map(|one| one.clone().with_weight(0))
            .collect();
        let mut guard = Guard::new(FLOOR);
        assert_eq!(guard.judge(Some(&set(9)), &drained), HeldBack);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_go_one_by_one_go_suddenly_unless_time_passes() {
        let mut guard = Guard::new(FLOOR);
        assert_eq!(
            judged(&mut guard, 6, &[5, 4, 3, 2]),
            [Believed, Believed, Believed, HeldBack]
        );
        let mut guard = Guard::new(FLOOR);
        judged(&mut guard, 6, &[5, 4, 3]);
        advance(FLOOR.hold).await;
        assert_eq!(judged(&mut guard, 3, &[2]), [Believed]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_reading_is_believed_and_one_after_an_error_is_not_the_second() {
        let mut guard = Guard::new(FLOOR);
        assert_eq!(judged(&mut guard, 9, &[1, 1, 2]), [HeldBack; 3]);
        guard.failed();
        assert_eq!(guard.due(), None);
        advance(FLOOR.hold).await;
        assert_eq!(judged(&mut guard, 9, &[1]), [HeldBack]);
        advance(FLOOR.hold).await;
        assert_eq!(guard.due(), Some(Instant::now()));
        guard.ask_again();
        guard.failed();
        assert_eq!(judged(&mut guard, 9, &[1]), [HeldBack], "begins anew");
        guard.ask_again();
        assert_eq!(judged(&mut guard, 9, &[2]), [Believed]);
        assert_eq!(judged(&mut guard, 2, &[2, 3, 9]), [Believed; 3]);
        assert_eq!(guard.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_that_is_whole_again_ends_the_doubt() {
        let mut guard = Guard::new(FLOOR);
        assert_eq!(judged(&mut guard, 9, &[1, 9]), [HeldBack, Believed]);
        assert_eq!(guard.due(), None);
        assert_eq!(judged(&mut guard, 9, &[1]), [HeldBack]);
    }
}
