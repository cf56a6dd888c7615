//! What a cluster may be asked beyond what clients ask: retries must not make a bad time worse.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Over how long requests and retries are compared.
const WINDOW: Duration = Duration::from_secs(10);

/// How many of the last responses' times are known.
const TIMES: usize = 256;

/// With fewer than these nothing is said about them.
const ENOUGH: usize = 32;

/// See the module. Written only by routes that send requests again.
#[derive(Debug)]
pub(crate) struct Ledger {
    requests: AtomicU64,
    marks: Mutex<Marks>,
    times: Mutex<Times>,
}

/// How much may be sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) percent: u64,
    pub(crate) per_second: u64,
}

/// What was counted up to the beginnings of the last windows.
#[derive(Debug)]
struct Marks {
    older: Mark,
    newer: Mark,
    retries: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    requests: u64,
    retries: u64,
}

#[derive(Debug, Default)]
struct Times {
    last: Vec<Duration>,
    next: usize,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new() -> Self {
        let first = Mark {
            at: Instant::now(),
            requests: 0,
            retries: 0,
        };
        Self {
            requests: AtomicU64::new(0),
            marks: Mutex::new(Marks {
                older: first,
                newer: first,
                retries: 0,
            }),
            times: Mutex::default(),
        }
    }

    /// A client's request.
    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// One more than the client asked for; `false` if the budget is used up.
    pub(super) fn again(&self, budget: Budget) -> bool {
        let mut marks = self.marks.lock();
        let now = Instant::now();
        let requests = self.requests.load(Ordering::Relaxed);
        let since = marks.since(now, requests);
        let elapsed = now.saturating_duration_since(since.at);
        // After a quiet time the mark is old: what was asked since counts as if it had come evenly.
        let span = elapsed.clamp(WINDOW, 2 * WINDOW);
        let recent = span.as_secs_f64() / elapsed.max(span).as_secs_f64();
        let asked = (requests - since.requests) as f64 * recent;
        let floor = budget.per_second as f64 * span.as_secs_f64();
        let most = asked * budget.percent as f64 / 100.0 + floor;
        if (marks.retries - since.retries) as f64 + 1.0 > most {
            return false;
        }
        marks.retries += 1;
        true
    }

    /// A response's header came after this time.
    pub(super) fn took(&self, time: Duration) {
        let mut times = self.times.lock();
        if times.last.len() < TIMES {
            times.last.push(time);
        } else {
            let next = times.next;
            times.last[next] = time;
        }
        times.next = (times.next + 1) % TIMES;
    }

    /// Within which time so many percent of the last responses came; `None` while too little is known.
    pub(super) fn percentile(&self, percent: u8) -> Option<Duration> {
        let mut times = self.times.lock().last.clone();
        if times.len() < ENOUGH {
            return None;
        }
        let place = (times.len() - 1) * usize::from(percent) / 100;
        let (_, &mut time, _) = times.select_nth_unstable(place);
        Some(time)
    }
}

// === impl Marks ===

impl Marks {
    /// The mark to count from: one window old at least, as far as there is one, and two at most while there are retries.
    fn since(&mut self, now: Instant, requests: u64) -> Mark {
        if now.saturating_duration_since(self.newer.at) >= WINDOW {
            let mark = Mark {
                at: now,
                requests,
                retries: self.retries,
            };
            self.older = std::mem::replace(&mut self.newer, mark);
        }
        self.older
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        percent: 20,
        per_second: 0,
    };

    fn granted(ledger: &Ledger, budget: Budget, asks: usize) -> usize {
        (0..asks).filter(|_| ledger.again(budget)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_requests_and_no_more() {
        let ledger = Ledger::new();
        for _ in 0..100 {
            ledger.asked();
        }
        assert_eq!(granted(&ledger, BUDGET, 100), 20);
        // In the long run as well, with every request failing.
        let mut retries = 0;
        for _ in 0..10_000 {
            ledger.asked();
            retries += granted(&ledger, BUDGET, 3);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!((1600..=2400).contains(&retries), "{retries}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_may_always_be_sent_again() {
        let ledger = Ledger::new();
        let budget = Budget {
            per_second: 3,
            ..BUDGET
        };
        assert_eq!(granted(&ledger, budget, 100), 30);
        tokio::time::advance(WINDOW * 3).await;
        granted(&ledger, budget, 1);
        tokio::time::advance(WINDOW).await;
        assert!(granted(&ledger, budget, 100) >= 20);
    }

    #[test]
    fn percentiles_are_those_of_the_last_responses() {
        let ledger = Ledger::new();
        assert_eq!(ledger.percentile(95), None);
        for millis in 0..1000 {
            ledger.took(Duration::from_millis(millis % 100));
        }
        let p95 = ledger.percentile(95).unwrap().as_millis();
        assert!((90..=97).contains(&p95), "{p95}");
    }
}
