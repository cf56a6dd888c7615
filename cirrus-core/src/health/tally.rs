//! What an endpoint answered lately, and how soon.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Buckets for each doubling, from a microsecond on; the last one also holds what takes longer.
const PER_DOUBLING: usize = 4;
const BUCKETS: usize = 27 * PER_DOUBLING;

/// Pieces that a window moves on by.
const PIECES: u32 = 10;

/// Counts since the beginning; what happened lately is the difference to what was noted earlier.
#[derive(Debug)]
pub(crate) struct Tally {
    failures: AtomicU32,
    buckets: [AtomicU32; BUCKETS],
    past: Mutex<VecDeque<(Instant, Box<Counts>)>>,
}

/// Requests of a time.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    failures: u32,
    buckets: [u32; BUCKETS],
}

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        Self {
            failures: AtomicU32::new(0),
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
            past: Mutex::default(),
        }
    }
}

impl Tally {
    /// A request is over, or its response has begun.
    pub(crate) fn record(&self, good: bool, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        if !good {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn now(&self) -> Counts {
        Counts {
            failures: self.failures.load(Ordering::Relaxed),
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
        }
    }

    /// What was counted in the last `window`, and moves it on. To be asked often: the window begins where it was asked.
    pub(crate) fn lately(&self, window: Duration) -> Counts {
        let (now, counts) = (Instant::now(), self.now());
        let mut past = self.past.lock();
        while past.get(1).is_some_and(|(at, _)| now - *at >= window) {
            past.pop_front();
        }
        let recent = counts.minus(past.front().map(|(_, counts)| &**counts));
        if past
            .back()
            .is_none_or(|(at, _)| now - *at >= window / PIECES)
        {
            past.push_back((now, Box::new(counts)));
        }
        recent
    }
}

// === impl Counts ===

impl Counts {
    fn minus(&self, before: Option<&Self>) -> Self {
        let Some(before) = before else {
            return self.clone();
        };
        Self {
            failures: self.failures.wrapping_sub(before.failures),
            buckets: std::array::from_fn(|index| {
                self.buckets[index].wrapping_sub(before.buckets[index])
            }),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.buckets.iter().map(|&count| u64::from(count)).sum()
    }

    pub(crate) fn failures(&self) -> u64 {
        u64::from(self.failures)
    }

    /// The share of failures in percent; 0 without requests.
    pub(crate) fn error_rate(&self) -> f64 {
        match self.requests() {
            0 => 0.0,
            requests => 100.0 * self.failures() as f64 / requests as f64,
        }
    }

    /// How soon this share of the requests, in percent, was answered; `None` without requests.
    pub(crate) fn percentile(&self, percent: u8) -> Option<Duration> {
        let requests = self.requests();
        let rank = (requests * u64::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            let count = u64::from(count);
            if below + count >= rank {
                let part = (rank - below) as f64 / count as f64;
                let micros = edge(index) + (edge(index + 1) - edge(index)) * part;
                return Some(Duration::from_secs_f64(micros / 1e6));
            }
            below += count;
        }
        None
    }
}

/// Which bucket a time falls into.
fn bucket(took: Duration) -> usize {
    let micros = took.as_secs_f64() * 1e6;
    let place = micros.max(1.0).log2() * PER_DOUBLING as f64;
    (place as usize).min(BUCKETS - 1)
}

/// Where a bucket begins, in microseconds.
fn edge(bucket: usize) -> f64 {
    (bucket as f64 / PER_DOUBLING as f64).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_forgotten() {
        let tally = Tally::default();
        assert_eq!(tally.lately(WINDOW).requests(), 0);
        for _ in 0..5 {
            tally.record(false, Duration::from_millis(1));
        }
        for second in 1..=20 {
            tokio::time::advance(Duration::from_secs(1)).await;
            let lately = tally.lately(WINDOW);
            let expected = if second <= 10 { 5 } else { 0 };
            assert_eq!(lately.requests(), expected, "after {second} s");
            assert_eq!(lately.failures(), expected);
        }
    }

    #[tokio::test]
    async fn percentiles_are_near() {
        let tally = Tally::default();
        tally.lately(WINDOW);
        for millis in 1..=100 {
            tally.record(true, Duration::from_millis(millis));
        }
        let lately = tally.lately(WINDOW);
        for (percent, millis) in [(50, 50.0), (90, 90.0), (99, 99.0)] {
            let found = lately.percentile(percent).unwrap().as_secs_f64() * 1e3;
            assert!((found - millis).abs() < millis * 0.1, "p{percent}: {found}");
        }
        assert_eq!(Tally::default().lately(WINDOW).percentile(50), None);
    }

    proptest! {
        #[test]
        fn every_time_is_within_its_bucket(micros in 1u64..100_000_000) {
            let bucket = bucket(Duration::from_micros(micros));
            let micros = micros as f64;
            prop_assert!(edge(bucket) <= micros * 1.000_001 && micros <= edge(bucket + 1) * 1.000_001);
        }
    }
}
