//! What is known about one endpoint.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::tally::Tally;
use super::watch::Watch;

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ejection {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How long it gets no requests then.
    pub(crate) time: Duration,
    /// What `time` grows to, when it is ejected again and again.
    pub(crate) longest: Duration,
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It could not be reached.
    Failures,
    /// Gateway errors in a row.
    GatewayErrors,
    /// Its share of good answers.
    SuccessRate,
    /// Its median.
    Latency,
}

/// One endpoint's record. What requests read is in atomics that only failures write, in this order: what every choice reads
/// comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Passive {
    /// Milliseconds until checks may say otherwise; 0 while they say that it is up.
    barred: AtomicU64,
    /// Milliseconds after `since`; 0 while the endpoint is in.
    out_until: AtomicU64,
    /// While it has proved nothing since its time out: until when no further request goes to it.
    trial_until: AtomicU64,
    failures: AtomicU32,
    gateway_errors: AtomicU32,
    since: Instant,
    in_flight: AtomicU32,
    /// Made where somebody wants to know.
    tally: OnceLock<Box<Tally>>,
    /// By the names that its cluster has for them.
    watches: Mutex<Vec<(Arc<str>, Arc<Watch>)>>,
    last: Mutex<Option<Round>>,
}

/// One ejection.
#[derive(Clone, Copy, Debug)]
struct Round {
    cause: Cause,
    /// How many there were, each soon after the last.
    rounds: u32,
    /// After `since`.
    end: Duration,
}

/// Between two requests to an endpoint that has yet to prove that it is back.
const TRIAL: Duration = Duration::from_secs(1);

// === impl Cause ===

impl Cause {
    pub(crate) const COUNT: usize = 4;
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Failures,
        Self::GatewayErrors,
        Self::SuccessRate,
        Self::Latency,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::GatewayErrors => "gateway_errors",
            Self::SuccessRate => "success_rate",
            Self::Latency => "latency",
        }
    }
}

// === impl Passive ===

impl Passive {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            failures: AtomicU32::new(0),
            gateway_errors: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
            trial_until: AtomicU64::new(0),
            barred: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            tally: OnceLock::new(),
            watches: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// How long it stays out, as far as that is known; `None` while it may be asked.
    pub(crate) fn out_for(&self) -> Option<Duration> {
        let barred = match self.barred.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        };
        barred.or_else(|| self.ejected_for())
    }

    /// How long its ejection lasts, or until it is tried again.
    pub(crate) fn ejected_for(&self) -> Option<Duration> {
        let until = match self.out_until.load(Ordering::Relaxed) {
            0 => return None,
            until => until.max(self.trial_until.load(Ordering::Relaxed)),
        };
        Duration::from_millis(until)
            .checked_sub(self.since.elapsed())
            .filter(|left| !left.is_zero())
    }

    /// A request goes to it: after its time out, the only one for a while.
    pub(crate) fn chosen(&self) {
        if self.out_until.load(Ordering::Relaxed) != 0 && self.ejected_for().is_none() {
            let until = self.millis(TRIAL);
            self.trial_until.store(until, Ordering::Relaxed);
        }
    }

    /// It answered.
    pub(crate) fn succeeded(&self) {
        // Written only after a failure: the happy path stays a read of a line that nobody writes.
        if self.failures.load(Ordering::Relaxed) != 0
            || self.gateway_errors.load(Ordering::Relaxed) != 0
            || self.out_until.load(Ordering::Relaxed) != 0
        {
            self.failures.store(0, Ordering::Relaxed);
            self.gateway_errors.store(0, Ordering::Relaxed);
            self.trial_until.store(0, Ordering::Relaxed);
            // Whoever answers can be reached. Any other reason is not refuted by one answer.
            let cause = self.last.lock().as_ref().map(|last| last.cause);
            if cause == Some(Cause::Failures) || !self.is_out() {
                self.out_until.store(0, Ordering::Relaxed);
            }
        }
    }

    /// It could not be reached. `true` if that ejects it now.
    pub(crate) fn failed(&self, rules: Ejection) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // After the time out a single failure ejects it again: it has proved nothing yet.
        if failures < rules.failures || self.is_out() {
            return false;
        }
        self.eject(rules, Cause::Failures);
        true
    }

    /// It answered that what is behind it does not, or broke off. `true` if there were so many in a row.
    pub(crate) fn gateway_error(&self, most: u32) -> bool {
        let errors = self.gateway_errors.fetch_add(1, Ordering::Relaxed) + 1;
        let on_trial = self.out_until.load(Ordering::Relaxed) != 0;
        (errors >= most || on_trial) && !self.is_out()
    }

    /// Whether its time out lasts, whatever came of a trial.
    fn is_out(&self) -> bool {
        let until = self.out_until.load(Ordering::Relaxed);
        until != 0 && Duration::from_millis(until) > self.since.elapsed()
    }

    /// Leaves it out for a while, each time for longer unless it was well for long. Gives for how long.
    pub(crate) fn eject(&self, rules: Ejection, cause: Cause) -> Duration {
        let mut last = self.last.lock();
        let now = self.since.elapsed();
        let rounds = match *last {
            Some(last) if now <= last.end + rules.longest => last.rounds + 1,
            _ => 1,
        };
        let longest = rules.longest.max(rules.time);
        let time = rules.time.saturating_mul(rounds).min(longest);
        let end = now + time;
        *last = Some(Round { cause, rounds, end });
        self.out_until.store(self.millis(time), Ordering::Relaxed);
        self.gateway_errors.store(0, Ordering::Relaxed);
        time
    }

    /// Why it was ejected last, if it is out for that.
    pub(crate) fn cause(&self) -> Option<Cause> {
        let last = self.last.lock().as_ref().map(|last| last.cause);
        last.filter(|_| self.ejected_for().is_some())
    }

    /// Checks and indicators say whether it may be asked. `true` if they said otherwise before.
    pub(crate) fn bar(&self, again_in: Option<Duration>) -> bool {
        let millis = again_in.map_or(0, |wait| {
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
        });
        let before = self.barred.swap(millis, Ordering::Relaxed);
        (before == 0) != (millis == 0)
    }

    pub(crate) fn is_barred(&self) -> bool {
        self.barred.load(Ordering::Relaxed) != 0
    }

    /// What it answered, for those who want to know.
    pub(crate) fn tally(&self) -> &Tally {
        self.tally.get_or_init(Box::default)
    }

    /// A request goes to it.
    pub(crate) fn begins(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request to it is over.
    pub(crate) fn ends(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The looks after it, by the names of its cluster.
    pub(crate) fn watches(&self) -> Vec<(Arc<str>, Arc<Watch>)> {
        self.watches.lock().clone()
    }

    pub(super) fn set_watches(&self, watches: Vec<(Arc<str>, Arc<Watch>)>) {
        *self.watches.lock() = watches;
    }

    /// So long after now, in milliseconds after `since`.
    fn millis(&self, later: Duration) -> u64 {
        let at = self.since.elapsed() + later;
        u64::try_from(at.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Ejection = Ejection {
        failures: 3,
        time: Duration::from_secs(10),
        longest: Duration::from_secs(25),
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
        tokio::time::advance(RULES.time * 2).await;
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

    #[tokio::test(start_paused = true)]
    async fn each_ejection_soon_after_the_last_is_longer() {
        let health = Passive::new();
        for secs in [10, 20, 25, 25] {
            let time = health.eject(RULES, Cause::Latency);
            assert_eq!(time, Duration::from_secs(secs));
            tokio::time::advance(time + RULES.longest).await;
            health.succeeded();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            health.eject(RULES, Cause::Latency),
            RULES.time,
            "it was well for long"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_time_out_one_request_at_a_time_tries_it() {
        let health = Passive::new();
        health.eject(RULES, Cause::Failures);
        tokio::time::advance(RULES.time).await;
        assert_eq!(health.out_for(), None);
        health.chosen();
        assert_eq!(health.out_for(), Some(TRIAL), "one is on its way");
        tokio::time::advance(TRIAL).await;
        assert_eq!(health.out_for(), None, "nothing came of it: another one");
        health.chosen();
        health.succeeded();
        assert_eq!(health.out_for(), None);
        health.chosen();
        assert_eq!(health.out_for(), None, "it is back");
    }

    #[tokio::test(start_paused = true)]
    async fn gateway_errors_count_in_a_row() {
        let health = Passive::new();
        assert!(!health.gateway_error(2));
        health.succeeded();
        assert!(!health.gateway_error(2));
        assert!(health.gateway_error(2));
        health.eject(RULES, Cause::GatewayErrors);
        assert_eq!(health.cause(), Some(Cause::GatewayErrors));
        assert!(!health.gateway_error(2), "it is out already");
        tokio::time::advance(RULES.time).await;
        assert!(health.gateway_error(2), "on trial one is enough");
    }
}
