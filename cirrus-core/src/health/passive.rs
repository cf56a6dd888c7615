//! Health learned from the traffic itself.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ejection {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How long it gets no requests then.
    pub(crate) time: Duration,
}

/// One endpoint's record of failures in a row.
#[derive(Debug)]
pub(crate) struct Passive {
    since: Instant,
    failures: AtomicU32,
    /// Milliseconds after `since`; 0 while the endpoint is in.
    out_until: AtomicU64,
}

// === impl Passive ===

impl Passive {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            failures: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
        }
    }

    /// How long it stays out; `None` while it may be asked.
    pub(crate) fn out_for(&self) -> Option<Duration> {
        match self.out_until.load(Ordering::Relaxed) {
            0 => None,
            until => Duration::from_millis(until)
                .checked_sub(self.since.elapsed())
                .filter(|left| !left.is_zero()),
        }
    }

    /// It answered.
    pub(crate) fn succeeded(&self) {
        // Written only after a failure: the happy path stays a read of a line that nobody writes.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.out_until.store(0, Ordering::Relaxed);
        }
    }

    /// It could not be reached. `true` if that ejects it now.
    pub(crate) fn failed(&self, rules: Ejection) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // After the time out a single failure ejects it again: it has proved nothing yet.
        if failures < rules.failures || self.out_for().is_some() {
            return false;
        }
        let until = self.since.elapsed() + rules.time;
        self.out_until.store(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX).max(1),
            Ordering::Relaxed,
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Ejection = Ejection {
        failures: 3,
        time: Duration::from_secs(10),
    };

    #[tokio::test(start_paused = true)]
    async fn ejects_after_failures_in_a_row_and_lets_it_back_in() {
        let health = Passive::new();
        assert!(!health.failed(RULES));
        assert!(!health.failed(RULES));
        assert_eq!(health.out_for(), None);
        assert!(health.failed(RULES));
        assert_eq!(health.out_for(), Some(RULES.time));
        tokio::time::advance(RULES.time).await;
        assert_eq!(health.out_for(), None);
        assert!(
            health.failed(RULES),
            "one more failure after its return ejects it again"
        );
        health.succeeded();
        assert_eq!(health.out_for(), None);
        assert!(!health.failed(RULES), "a success wipes the slate");
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_in_between_starts_the_count_again() {
        let health = Passive::new();
        for _ in 0..10 {
            assert!(!health.failed(RULES));
            assert!(!health.failed(RULES));
            health.succeeded();
        }
    }
}
