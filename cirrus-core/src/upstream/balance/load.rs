//! What an endpoint has to do at the moment, and how fast it has been lately.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::Instant;

use super::chance;

/// How fast an endpoint's bad moment is forgotten: after this time a third is left of it.
const FORGET: Duration = Duration::from_secs(10);

/// What a failure counts as, at least: who fails fast must not look quick.
const FAILURE: Duration = Duration::from_secs(1);

/// With what share of its requests an endpoint begins that starts slowly, in thousandths.
const FIRST_SHARE: u32 = 100;

/// What times are counted from: one moment for all endpoints, so that theirs can be compared without a clock.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The share is the whole one.
const WHOLE: i64 = i64::MIN;

/// One endpoint's load. Kept only where the policy asks for it.
#[derive(Debug)]
pub(crate) struct Load {
    in_flight: AtomicUsize,
    /// The logarithm of the peak latency in nanoseconds, the bits of an `f64`, as if it had been noted at `EPOCH` to be what
    /// is left of it now. All of them sink alike: as long as nothing is noted it stays the same.
    peak: AtomicU64,
    /// When that was noted, in nanoseconds after `EPOCH`.
    noted: AtomicI64,
    /// From when on its share grows, in nanoseconds after `EPOCH`, or `WHOLE`.
    grows_since: AtomicI64,
    was_out: AtomicBool,
}

/// A request that an endpoint works on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    load: Arc<Load>,
    /// Of all endpoints of the cluster.
    total: Arc<AtomicUsize>,
}

// === impl Load ===

impl Load {
    /// `is_late`: others were there before it.
    pub(crate) fn new(is_late: bool) -> Self {
        let grows_since = if is_late { now() } else { WHOLE };
        Self {
            in_flight: AtomicUsize::new(0),
            peak: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            noted: AtomicI64::new(0),
            grows_since: AtomicI64::new(grows_since),
            was_out: AtomicBool::new(false),
        }
    }

    /// Requests it works on.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long a request would take as things stand: the peak of late, times those that are ahead of it. As a logarithm,
    /// off by as much for all endpoints.
    pub(super) fn cost(&self) -> f64 {
        let peak = f64::from_bits(self.peak.load(Ordering::Relaxed));
        match self.in_flight() {
            0 => peak,
            busy => peak + ((busy + 1) as f64).ln(),
        }
    }

    /// It answered, after this time.
    pub(crate) fn answered(&self, took: Duration) {
        let now = now();
        let (took, known) = (took.as_nanos() as f64, self.latency_at(now));
        // A peak counts at once; what is better only bit by bit, as the peak is forgotten.
        let latency = if took > known {
            took
        } else {
            let since = now - self.noted.load(Ordering::Relaxed);
            known + took * (1.0 - (-forgotten(since.max(0))).exp())
        };
        let peak = latency.ln() + forgotten(now);
        self.peak.store(peak.to_bits(), Ordering::Relaxed);
        self.noted.store(now, Ordering::Relaxed);
    }

    /// It did not answer.
    pub(crate) fn failed(&self, took: Duration) {
        self.answered(took.max(FAILURE));
    }

    /// Whether it is in or out: one that comes back starts slowly.
    pub(crate) fn seen(&self, is_in: bool) {
        if !is_in {
            // Asked for every choice: mostly it is known.
            if self.was_out.load(Ordering::Relaxed) {
                return;
            }
            self.was_out.store(true, Ordering::Relaxed);
        } else if self.was_out.load(Ordering::Relaxed) {
            self.was_out.store(false, Ordering::Relaxed);
            self.grows_since.store(now(), Ordering::Relaxed);
        }
    }

    /// Whether it takes this one, while its share grows to the whole within `time`.
    pub(super) fn takes(&self, time: Duration) -> bool {
        let since = self.grows_since.load(Ordering::Relaxed);
        if since == WHOLE {
            return true;
        }
        let grown = now().saturating_sub(since).max(0) as u64;
        let whole = time.as_nanos() as u64;
        if grown >= whole {
            self.grows_since.store(WHOLE, Ordering::Relaxed);
            return true;
        }
        let part = (u128::from(grown) * 1000 / u128::from(whole)) as u32;
        chance::permille(part.max(FIRST_SHARE))
    }

    /// Time takes the edge off a peak, or else an endpoint that was slow once would never be asked again.
    fn latency_at(&self, now: i64) -> f64 {
        let peak = f64::from_bits(self.peak.load(Ordering::Relaxed));
        (peak - forgotten(now)).exp()
    }
}

/// By how much a logarithm of a latency sinks in so many nanoseconds.
fn forgotten(nanos: i64) -> f64 {
    nanos as f64 / FORGET.as_nanos() as f64
}

/// Nanoseconds after `EPOCH`; less than none on a clock of a test that stands still since before.
fn now() -> i64 {
    let (now, epoch) = (Instant::now(), *EPOCH);
    match now.checked_duration_since(epoch) {
        Some(after) => after.as_nanos() as i64,
        None => -(epoch.saturating_duration_since(now).as_nanos() as i64),
    }
}

// === impl Busy ===

impl Busy {
    pub(crate) fn new(load: &Arc<Load>, total: &Arc<AtomicUsize>) -> Self {
        load.in_flight.fetch_add(1, Ordering::Relaxed);
        total.fetch_add(1, Ordering::Relaxed);
        Self {
            load: Arc::clone(load),
            total: Arc::clone(total),
        }
    }

    pub(crate) fn load(&self) -> &Load {
        &self.load
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(load: &Load) -> u64 {
        ((load.cost() - forgotten(now())).exp() / 1e6).round() as u64
    }

    #[tokio::test(start_paused = true)]
    async fn a_peak_counts_at_once_and_is_forgotten_in_time() {
        let load = Load::new(false);
        assert_eq!(millis(&load), 0);
        load.answered(Duration::from_millis(100));
        load.answered(Duration::from_millis(10));
        assert_eq!(millis(&load), 100);
        tokio::time::advance(FORGET).await;
        assert_eq!(millis(&load), 37);
        load.answered(Duration::from_millis(10));
        assert!((37..=43).contains(&millis(&load)), "{}", millis(&load));
        load.failed(Duration::from_millis(1));
        assert_eq!(millis(&load), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn costs_are_compared_whenever_they_were_noted() {
        let (old, new) = (Arc::new(Load::new(false)), Load::new(false));
        old.answered(Duration::from_millis(100));
        tokio::time::advance(FORGET / 2).await;
        // 61 are left of the 100.
        new.answered(Duration::from_millis(60));
        assert!(old.cost() > new.cost());
        new.answered(Duration::from_millis(62));
        assert!(old.cost() < new.cost());
        let _busy = Busy::new(&old, &Arc::default());
        assert!(old.cost() > new.cost());
        assert!(Load::new(false).cost() < new.cost());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_is_given_back() {
        let (load, total) = (Arc::new(Load::new(false)), Arc::default());
        load.answered(Duration::from_millis(10));
        let busy = (Busy::new(&load, &total), Busy::new(&load, &total));
        assert_eq!((load.in_flight(), millis(&load)), (2, 30));
        drop(busy);
        assert_eq!((load.in_flight(), total.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_grows_to_the_whole() {
        chance::seed(1);
        let time = Duration::from_secs(100);
        let share = |load: &Load| (0..10_000).filter(|_| load.takes(time)).count() / 100;
        let load = Load::new(true);
        assert!((8..=12).contains(&share(&load)), "{}", share(&load));
        tokio::time::advance(time / 2).await;
        assert!((48..=52).contains(&share(&load)), "{}", share(&load));
        tokio::time::advance(time / 2).await;
        assert_eq!(share(&load), 100);
        load.seen(false);
        load.seen(true);
        assert!(share(&load) < 15);
        assert_eq!(share(&Load::new(false)), 100);
    }
}
