//! When to renew, and when to try again: arithmetic only.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use cirrus_core::Timestamp;
use serde::{Deserialize, Serialize};

/// When the authority would like a certificate to be renewed (RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// Seconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    /// When to ask again.
    pub(super) ask_at: u64,
}

/// The first pause after a failure; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// Let's Encrypt counts failures of an hour: more often than this is of no use.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// When a certificate is renewed that is valid from `begin` to `end`.
///
/// The same on every node. `name` spreads certificates that were issued together over a tenth of the time that is left.
pub(super) fn renew_at(
    name: &str,
    (begin, end): (Timestamp, Timestamp),
    before: Duration,
    window: Option<&Window>,
) -> Timestamp {
    if let Some(window) = window.filter(|window| window.start < window.end) {
        let span = Duration::from_secs(window.end - window.start);
        return Timestamp::from_secs(window.start).after(span.mul_f64(share(name)));
    }
    let left = before.min(end.since(begin) / 3);
    let early = left + left.mul_f64(share(name) / 10.0);
    begin.after(end.since(begin).saturating_sub(early))
}

/// The pause after `failures` in a row: exponential, a quarter of it spread by `name`.
pub(super) fn pause(name: &str, failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let pause = doubled.min(LONGEST_PAUSE);
    pause - pause.mul_f64(share(name) / 4.0)
}

/// A number of the name's own from 0 to 1.
#[expect(
    clippy::cast_precision_loss,
    reason = "which of the numbers it is does not matter"
)]
fn share(name: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (hasher.finish() >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;
    const MONTH: Duration = Duration::from_secs(30 * DAY);

    #[test]
    fn a_month_before_the_end_and_a_little_earlier() {
        let at = renew_at("a.example", life(0, 90 * DAY), MONTH, None);
        assert!(days(at) >= 57 && days(at) < 60, "{}", days(at));
    }

    #[test]
    fn short_ones_with_a_third_left() {
        let at = renew_at("a.example", life(0, 6 * DAY), MONTH, None);
        assert!(at > Timestamp::from_secs(3 * DAY) && at <= Timestamp::from_secs(4 * DAY));
    }

    #[test]
    fn the_authoritys_wish_goes_first() {
        let window = Window {
            start: 10 * DAY,
            end: 12 * DAY,
            ask_at: 0,
        };
        let at = renew_at("a.example", life(0, 90 * DAY), MONTH, Some(&window));
        assert!(days(at) >= 10 && days(at) < 12);
        let other = renew_at("b.example", life(0, 90 * DAY), MONTH, Some(&window));
        assert_ne!(at, other, "not all at once");
    }

    #[test]
    fn pauses_double_up_to_a_day() {
        let seconds: Vec<_> = (1..=14).map(|n| pause("a.example", n).as_secs()).collect();
        assert!(seconds[0] > 44 && seconds[0] <= 60, "{seconds:?}");
        for pair in seconds.windows(2) {
            assert!(pair[0] <= pair[1] && pair[1] <= 2 * pair[0] + 1);
        }
        assert!(seconds[13] <= DAY && seconds[13] > DAY / 2);
    }

    proptest! {
        #[test]
        fn always_within_the_validity(name in "[a-z]{1,8}", begin in 0..1u64 << 40, life in 1..1u64 << 33) {
            let (begin, end) = self::life(begin, begin + life);
            let at = renew_at(&name, (begin, end), MONTH, None);
            prop_assert!(begin <= at && at < end);
        }

        #[test]
        fn pauses_are_bounded(name in ".{0,8}", failures: u32) {
            prop_assert!(pause(&name, failures) <= LONGEST_PAUSE);
            prop_assert!(pause(&name, failures) >= FIRST_PAUSE / 2);
        }
    }

    fn life(begin: u64, end: u64) -> (Timestamp, Timestamp) {
        (Timestamp::from_secs(begin), Timestamp::from_secs(end))
    }

    fn days(at: Timestamp) -> u64 {
        at.as_secs() / DAY
    }
}
