//! A store that cannot be asked, or takes too long, is left alone for a while: the cache fails open.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::store::StoreError;
use crate::clock::Timestamp;

/// How long a store that cannot be asked is left alone.
pub(super) const RESPITE: Duration = Duration::from_secs(1);

/// How long a look-up may take before the store counts as unavailable. A client waits for it, and the origin would have
/// answered by then.
pub(crate) const LOOKUP_LIMIT: Duration = Duration::from_millis(500);

/// The same for what changes the store: the beginning of an object, a refreshed header.
pub(super) const CHANGE_LIMIT: Duration = Duration::from_secs(1);

/// How long the answer to an unsafe request is held back until what it makes void is gone. After that the purge goes on
/// by itself.
pub(super) const PURGE_LIMIT: Duration = Duration::from_secs(2);

/// When the store was found to be unavailable, in milliseconds; zero: never. One for all routes and workers.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicU64);

/// A store's answer that is still to come.
pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store that took too long.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct Late(Duration);

/// Waits for a store, but not longer than `limit`. What is there at once, as everything in memory is, costs no timer.
pub(crate) async fn within<T>(limit: Duration, mut call: Call<'_, T>) -> Result<T, StoreError> {
    if let Some(done) = at_once(&mut call).await {
        return done;
    }
    let limit = patience(limit);
    // In a box: a timer makes a future large, and every look-up would make room for it.
    match Box::pin(timeout(limit, call)).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable(Late(limit).into())),
    }
}

/// Waits for a store, but not longer than `limit`; gives back what is not done by then, so that it may go on elsewhere.
pub(super) async fn until<T>(
    limit: Duration,
    mut call: Call<'_, T>,
) -> Result<Result<T, StoreError>, Call<'_, T>> {
    if let Some(done) = at_once(&mut call).await {
        return Ok(done);
    }
    match Box::pin(timeout(patience(limit), &mut call)).await {
        Ok(done) => Ok(done),
        Err(_) => Err(call),
    }
}

#[cfg(not(feature = "testing"))]
fn patience(limit: Duration) -> Duration {
    limit
}

/// As much more as the tests of this process want.
#[cfg(feature = "testing")]
fn patience(limit: Duration) -> Duration {
    limit * FACTOR.load(Ordering::Relaxed)
}

#[cfg(feature = "testing")]
static FACTOR: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);

/// From now on stores may take forty times as long, on a machine that is busy with other tests.
#[cfg(feature = "testing")]
pub(crate) fn wait_longer() {
    FACTOR.store(40, Ordering::Relaxed);
}

async fn at_once<T>(call: &mut Call<'_, T>) -> Option<Result<T, StoreError>> {
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

// === impl Outage ===

impl Outage {
    /// The store could not be asked. `true` for the first to notice in a while, who should say so.
    pub(super) fn begins(&self, now: Timestamp) -> bool {
        self.0.swap(now.as_millis(), Ordering::Relaxed) == 0
    }

    /// It has been tried so recently that it need not be tried again. When that is over, one request tries; the others
    /// go on as before until it has found that the store is [back](Self::ends).
    ///
    /// Mostly there was no outage, and nobody needs to know the time.
    pub(super) fn lasts(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let since = self.0.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let now = now().as_millis();
        // A clock that was set back must not keep a store shut out.
        let is_recent = since <= now && now - since < RESPITE.as_millis() as u64;
        let retry = || {
            self.0
                .compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed)
        };
        is_recent || retry().is_err()
    }

    /// The store has answered.
    pub(super) fn ends(&self) {
        // Read first: where nothing is to be changed, no other core is disturbed.
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_tries_again_when_the_respite_is_over() {
        let outage = Outage::default();
        let at = Timestamp::from_secs;
        assert!(!outage.lasts(|| at(100)));
        assert!(outage.begins(at(100)) && !outage.begins(at(100)));
        assert!(outage.lasts(|| at(100)));
        assert!(!outage.lasts(|| at(101)), "one tries");
        assert!(outage.lasts(|| at(101)), "the others do not");
        outage.ends();
        assert!(!outage.lasts(|| at(101)) && !outage.lasts(|| at(101)));
        assert!(!outage.lasts(|| at(50)));
    }

    #[test]
    fn a_clock_set_back_shuts_no_store_out() {
        let outage = Outage::default();
        outage.begins(Timestamp::from_secs(100));
        assert!(!outage.lasts(|| Timestamp::from_secs(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_unavailable() {
        let never: Call<'_, ()> = Box::pin(std::future::pending());
        let error = within(LOOKUP_LIMIT, never).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let slow: Call<'_, u8> = Box::pin(async {
            tokio::time::sleep(Duration::from_millis(499)).await;
            Ok(7)
        });
        assert_eq!(within(LOOKUP_LIMIT, slow).await.unwrap(), 7);
    }
}
