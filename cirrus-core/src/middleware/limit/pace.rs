//! The arithmetic of the generic cell rate algorithm (GCRA), in integers.
//!
//! For each key one moment is kept, its theoretical arrival time: when it would be idle if it asked at exactly its rate.
//! How far that lies ahead is the key's debt; a request adds one interval to it, and is refused if the debt would then be
//! more than the burst.

use std::time::Duration;

use crate::config::Rate;

/// Steps in one interval between two requests. What is finer is lost, the rate in the long run is exact.
pub(super) const STEPS: u64 = 64;

/// Bits of a moment in a bucket; moments come round again after 2^34 intervals.
pub(super) const TIME_BITS: u32 = 40;

const TIME: u64 = (1 << TIME_BITS) - 1;

/// By how much two threads may differ in what time it is.
const SKEW: Duration = Duration::from_secs(60);

/// A rate and a burst. Time is counted in steps, [`STEPS`] to an interval, from any beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) rate: Rate,
    /// Steps in a nanosecond, as a fraction of 2^64.
    factor: u64,
    /// The most debt, in steps.
    burst: u64,
    /// What lies further ahead than this is long past: moments come round again.
    ahead: u64,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(rate: Rate, burst: u32) -> Self {
        let (count, period) = (u128::from(rate.count()), rate.period().as_nanos());
        // At most a million in a second: far below one step in a nanosecond.
        let factor = ((u128::from(STEPS) * count) << 64) / period;
        let mut pace = Self {
            rate,
            factor: u64::try_from(factor).unwrap_or(u64::MAX),
            burst: u64::from(burst.max(1)) * STEPS,
            ahead: 0,
        };
        pace.ahead = (pace.burst + pace.steps(SKEW)).min(TIME / 2);
        pace
    }

    pub(super) fn steps(&self, time: Duration) -> u64 {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (steps, half) = (u128::from(nanos) * u128::from(self.factor), 1 << 63);
        // To the nearest: the factor is cut off, so the whole ones are always a little less.
        ((steps + half) >> 64) as u64
    }

    /// How far a kept moment lies ahead of now; negative if it is past.
    pub(super) fn debt(&self, kept: u64, now: u64) -> i64 {
        let ahead = kept.wrapping_sub(now) & TIME;
        if ahead <= self.ahead {
            ahead as i64
        } else {
            ahead as i64 - (1 << TIME_BITS)
        }
    }

    /// The moment to keep after one more request of a key with this debt, or how many steps it is too early.
    pub(super) fn after(&self, debt: i64, now: u64) -> Result<u64, u64> {
        let after = debt.max(0) as u64 + STEPS;
        match after.checked_sub(self.burst) {
            None | Some(0) => Ok(now.wrapping_add(after) & TIME),
            Some(early) => Err(early),
        }
    }

    pub(super) fn duration(&self, steps: u64) -> Duration {
        let count = u128::from(self.rate.count()) * u128::from(STEPS);
        let nanos = (u128::from(steps) * self.rate.period().as_nanos()).div_ceil(count);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_a_part_of_the_interval() {
        for rate in ["1/d", "7/h", "10/m", "100/s", "1000000/s"] {
            let rate: Rate = rate.parse().unwrap();
            let pace = Pace::new(rate, 1);
            let interval = rate.period() / rate.count();
            // The factor is cut off, by less than a step in a day.
            let day = Duration::from_secs(86_400);
            let exact = u128::from(STEPS) * day.as_nanos() / interval.as_nanos();
            assert!(u128::from(pace.steps(day)).abs_diff(exact) <= 1, "{rate}");
            assert!(pace.duration(STEPS) - interval <= Duration::from_nanos(1));
        }
    }

    #[test]
    fn moments_come_round_again() {
        let pace = Pace::new("100/s".parse().unwrap(), 10);
        let now = TIME - 10;
        let kept = pace.after(0, now).unwrap();
        assert!(kept < now, "it has come round");
        assert_eq!(pace.debt(kept, now), STEPS as i64);
        assert_eq!(pace.debt(kept, (now + 1000) & TIME), STEPS as i64 - 1000);
        // Nobody owes as much as half of all time: that is the past.
        assert!(pace.debt(0, TIME / 2 + 10) < 0);
    }
}
