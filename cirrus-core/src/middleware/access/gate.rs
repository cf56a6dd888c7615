//! Slow checks of passwords, beside the workers and never too many of them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::error::{Error, Kind};

/// How many checks may wait; one more is refused.
const WAITING: usize = 128;

/// What a client is told to wait when too many others do.
const SOON: Duration = Duration::from_secs(1);

/// Room for work that keeps a core busy: cores are the machine's, so there is one gate for all routes.
static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Gate::new(2 * cores, WAITING)
});

#[derive(Clone, Debug)]
pub(super) struct Gate {
    running: Arc<Semaphore>,
    /// Those that run and those that wait.
    room: Arc<Semaphore>,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(running: usize, waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running)),
            room: Arc::new(Semaphore::new(running + waiting)),
        }
    }

    /// The one of the process.
    pub(super) fn shared() -> &'static Self {
        &GATE
    }

    /// Works beside the worker, in turn. `known` is asked once the turn has come, since the answer may have been found
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// 503 if too many are waiting already.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it gives its place back; dropped later, the work goes on and keeps its place to its end.
    pub(super) async fn work(
        &self,
        known: impl Fn() -> bool,
        work: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, Error> {
        let full =
            || Error::because(Kind::Overload, "too many passwords to check").retry_after(SOON);
        let place = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| full())?;
        let turn = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| full())?;
        if known() {
            return Ok(true);
        }
        let job = tokio::task::spawn_blocking(move || {
            let right = work();
            drop((turn, place));
            right
        });
        job.await
            .map_err(|error| Error::because(Kind::Internal, error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn never_more_at_once_than_allowed() {
        let gate = Gate::new(2, 100);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..20).map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            gate.work(
                || false,
                move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    true
                },
            )
        });
        assert!(join_all(jobs).await.into_iter().all(|right| right.unwrap()));
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_queue_has_an_end_and_the_answer_is_looked_for_again() {
        let gate = Gate::new(1, 1);
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let found = AtomicBool::new(false);
        let first = gate.work(|| false, move || hold.recv().is_ok());
        let second = gate.work(
            || found.load(Ordering::SeqCst),
            || unreachable!("known by then"),
        );
        let third = async {
            tokio::task::yield_now().await;
            let refused = gate.work(|| false, || true).await.unwrap_err();
            assert_eq!(
                (refused.status().as_u16(), refused.wait()),
                (503, Some(SOON))
            );
            found.store(true, Ordering::SeqCst);
            release.send(()).unwrap();
        };
        let (first, second, ()) = tokio::join!(first, second, third);
        assert!(first.unwrap() && second.unwrap());
        assert!(
            gate.work(|| false, || true).await.unwrap(),
            "places are given back"
        );
    }
}
