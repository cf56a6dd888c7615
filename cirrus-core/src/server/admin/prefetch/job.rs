//! How far a job is.

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How many failures are told one by one.
const MOST_TOLD: usize = 100;

/// A list of URLs that is being fetched.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    total: usize,
    progress: Mutex<Progress>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Progress {
    done: usize,
    failed: usize,
    /// Of those that are done: what was stored already, and what is now.
    hits: usize,
    stored: usize,
    bytes: u64,
    failures: Vec<(String, String)>,
    has_ended: bool,
}

/// What came of one URL.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) bytes: u64,
    pub(super) is_hit: bool,
    pub(super) is_stored: bool,
}

// === impl Job ===

impl Job {
    pub(super) fn new(id: u64, total: usize) -> Self {
        Self {
            id,
            total,
            progress: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn note(&self, url: String, fetched: Result<Fetched, String>) {
        let mut progress = self.progress.lock();
        match fetched {
            Ok(fetched) => {
                progress.done += 1;
                progress.bytes += fetched.bytes;
                progress.hits += usize::from(fetched.is_hit);
                progress.stored += usize::from(fetched.is_stored);
            }
            Err(reason) => {
                progress.failed += 1;
                if progress.failures.len() < MOST_TOLD {
                    progress.failures.push((url, reason));
                }
            }
        }
    }

    pub(super) fn cancel(&self) {
        self.stop.cancel();
    }

    pub(super) async fn canceled(&self) {
        self.stop.cancelled().await;
    }

    pub(super) fn end(&self) {
        self.progress.lock().has_ended = true;
    }

    pub(super) fn is_running(&self) -> bool {
        !self.progress.lock().has_ended
    }

    /// How far it is, in numbers.
    pub(super) fn summary(&self) -> Value {
        let progress = self.progress.lock();
        let is_complete = progress.done + progress.failed == self.total;
        let state = match (progress.has_ended, is_complete) {
            (_, true) => "finished",
            (false, false) if !self.stop.is_cancelled() => "running",
            _ => "canceled",
        };
        json!({
            "id": self.id,
            "state": state,
            "total": self.total,
            "done": progress.done,
            "failed": progress.failed,
            "hits": progress.hits,
            "stored": progress.stored,
            "bytes": progress.bytes,
        })
    }

    /// The same, with what failed and why.
    pub(super) fn state(&self) -> Value {
        let mut state = self.summary();
        let progress = self.progress.lock();
        let failures = progress.failures.iter();
        state["failures"] = failures
            .map(|(url, reason)| json!({"url": url, "reason": reason}))
            .collect();
        state
    }
}
