//! Counters that one worker writes and a scrape reads.

use crate::cache::CacheOutcome;
use crate::middleware::access::Reason;
use crate::upstream::RetryReason;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows. Nobody else writes the line it stands in, so adding costs no traffic between cores.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// What one worker counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Cells {
    pub(crate) accepted: Counter,
    pub(crate) closed: Counter,
    pub(crate) refused: Counter,
    pub(crate) client_refused: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) malformed: Counter,
    pub(crate) stalled: Counter,
    pub(crate) buffered: Counter,
    pub(crate) unbuffered: Counter,
    pub(crate) held_back: Counter,
    pub(crate) slow_bodies: Counter,
    pub(crate) worn: Counter,
    pub(crate) http2_floods: Counter,
    pub(crate) proxy_protocol_errors: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) handshake_failures: Counter,
    pub(crate) handshakes_begun: Counter,
    pub(crate) handshakes_ended: Counter,
    pub(crate) handshakes_refused: Counter,
    pub(crate) requests: Counter,
    pub(crate) finished: Counter,
    pub(crate) durations: Durations,
    pub(crate) upstream_durations: Durations,
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) pool_hits: Counter,
    pub(crate) stale_retries: Counter,
    /// By reason.
    pub(crate) retries: [Counter; RetryReason::COUNT],
    pub(crate) retry_budget_exhausted: Counter,
    pub(crate) mirrored: Counter,
    pub(crate) mirror_dropped: Counter,
    pub(crate) pool_waits: Counter,
    pub(crate) pool_rejections: Counter,
    pub(crate) ejections: Counter,
    pub(crate) upstream_streams: Counter,
    pub(crate) upstream_resets: Counter,
    pub(crate) tunnels: Counter,
    pub(crate) log_dropped: Counter,
    pub(crate) rate_limited: Counter,
    pub(crate) queued: Counter,
    pub(crate) unqueued: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) queue_timeouts: Counter,
    pub(crate) deadlines: Counter,
    pub(crate) bodies_too_large: Counter,
    pub(crate) compression_in: Counter,
    pub(crate) compression_out: Counter,
    pub(crate) peer_hits: Counter,
    pub(crate) peer_misses: Counter,
    pub(crate) peer_failures: Counter,
    pub(crate) peer_fallbacks: Counter,
    pub(crate) peer_requests: Counter,
    /// By reason.
    pub(crate) access_refused: [Counter; Reason::COUNT],
}

/// How long things took, in buckets.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

/// What one worker counts for one site.
#[derive(Debug, Default)]
#[repr(align(128))]
struct SiteShard {
    requests: [[Counter; CacheOutcome::COUNT]; CLASSES],
    bytes: Counter,
}

/// What is counted for one site.
#[derive(Debug)]
pub(crate) struct SiteCells {
    pub(crate) name: Arc<str>,
    shards: Box<[SiteShard]>,
}

/// 1xx to 5xx.
const CLASSES: usize = 5;

/// Upper bounds of the buckets, in seconds.
pub(crate) const BOUNDS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

// === impl Counter ===

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Durations ===

impl Durations {
    pub(crate) fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket].add(1);
        self.micros.add(duration.as_micros() as u64);
    }

    /// The sum in seconds, and how many fell into each bucket.
    pub(crate) fn read(&self) -> (f64, [u64; BOUNDS.len() + 1]) {
        (
            self.micros.get() as f64 / 1e6,
            std::array::from_fn(|bucket| self.buckets[bucket].get()),
        )
    }
}

// === impl SiteCells ===

impl SiteCells {
    pub(crate) fn new(name: Arc<str>, workers: usize) -> Self {
        Self {
            name,
            shards: (0..workers.max(1)).map(|_| SiteShard::default()).collect(),
        }
    }

    pub(crate) fn count(&self, worker: usize, status: StatusCode, cache: usize, bytes: u64) {
        let shard = &self.shards[worker % self.shards.len()];
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        shard.requests[class][cache].add(1);
        shard.bytes.add(bytes);
    }

    /// Requests by status class (1 to 5) and what the cache did; only those that happened.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        (0..CLASSES)
            .flat_map(move |class| {
                (0..CacheOutcome::COUNT).map(move |cache| {
                    let sum = self
                        .shards
                        .iter()
                        .map(|shard| shard.requests[class][cache].get())
                        .sum();
                    (class + 1, cache, sum)
                })
            })
            .filter(|&(_, _, sum)| sum > 0)
    }

    /// Bytes of response bodies sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let durations = Durations::default();
        for micros in [50, 100, 101, 900, 60_000_000] {
            durations.record(Duration::from_micros(micros));
        }
        let (sum, buckets) = durations.read();
        assert!((sum - 60.001_151).abs() < 1e-9, "{sum}");
        assert_eq!(
            (buckets[0], buckets[1], buckets[3], buckets[BOUNDS.len()]),
            (2, 1, 1, 1)
        );
    }

    #[test]
    fn sites_are_counted_over_all_workers() {
        let site = SiteCells::new("a".into(), 2);
        site.count(0, StatusCode::OK, 0, 10);
        site.count(1, StatusCode::OK, 0, 5);
        site.count(1, StatusCode::BAD_GATEWAY, 1, 1);
        assert_eq!(site.requests().collect::<Vec<_>>(), [(2, 0, 2), (5, 1, 1)]);
        assert_eq!(site.bytes(), 16);
    }
}
