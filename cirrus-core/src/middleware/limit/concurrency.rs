//! How many requests are served at the same time, and how many wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;

use crate::body::{Request, Response};
use crate::config::ConcurrencyConfig;
use crate::error::{Error, Kind};
use crate::metrics::Cells;
use crate::middleware::{Context, Handler};

/// What those who are turned away are told to wait.
const COME_BACK: Duration = Duration::from_secs(1);

/// Lets so many requests in, each until its response's last byte; some more wait in a queue.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLayer {
    gate: Arc<Gate>,
}

/// See [`ConcurrencyLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Concurrency<H> {
    inner: H,
    gate: Arc<Gate>,
}

/// The places of one limit, shared by all workers. First come, first served.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    wait: Duration,
}

/// A place in the queue; given back when the request has left it, whichever way.
struct Queued<'a> {
    gate: &'a Gate,
    cells: &'a Cells,
}

// === impl ConcurrencyLayer ===

impl ConcurrencyLayer {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

impl<H> Layer<H> for ConcurrencyLayer {
    type Service = Concurrency<H>;

    fn layer(&self, inner: H) -> Concurrency<H> {
        Concurrency {
            inner,
            gate: Arc::clone(&self.gate),
        }
    }
}

// === impl Concurrency ===

impl<H: Handler> Handler for Concurrency<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let place = self.gate.enter(&cx.worker.cells).await?;
        // The context lives until the response's last byte.
        cx.places.push(Arc::new(place));
        self.inner.handle(cx, request).await
    }
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(config: &ConcurrencyConfig) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.requests as usize)),
            waiting: AtomicUsize::new(0),
            queue: config.queue as usize,
            wait: config.wait.as_duration(),
        }
    }

    /// # Cancel safety
    ///
    /// Dropped while it waits, it leaves the queue.
    async fn enter(&self, cells: &Cells) -> Result<OwnedSemaphorePermit, Error> {
        // Fails while somebody waits: nobody is overtaken.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let queued = Queued::join(self, cells).ok_or_else(|| {
            cells.queue_full.add(1);
            turned_away("the queue is full")
        })?;
        let turn = Arc::clone(&self.places).acquire_owned();
        let turn = tokio::time::timeout(self.wait, turn).await;
        drop(queued);
        match turn {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it.
            Ok(Err(closed)) => Err(Error::because(Kind::Internal, closed)),
            Err(_) => {
                cells.queue_timeouts.add(1);
                Err(turned_away("its turn did not come in time"))
            }
        }
    }
}

fn turned_away(why: &'static str) -> Error {
    Error::because(Kind::Overload, why).retry_after(COME_BACK)
}

// === impl Queued ===

impl<'a> Queued<'a> {
    fn join(gate: &'a Gate, cells: &'a Cells) -> Option<Self> {
        let one_more = |waiting| (waiting < gate.queue).then_some(waiting + 1);
        gate.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        cells.queued.add(1);
        Some(Self { gate, cells })
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.cells.unqueued.add(1);
        self.gate.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::config::Period;

    fn gate(requests: u32, queue: u32) -> Gate {
        let wait = Period::secs(5);
        Gate::new(&ConcurrencyConfig {
            requests,
            queue,
            wait,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_served_in_the_order_they_came() {
        let (gate, cells) = (gate(1, 2), Cells::default());
        let first = gate.enter(&cells).await.unwrap();
        let mut second = Box::pin(gate.enter(&cells));
        let mut third = Box::pin(gate.enter(&cells));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        let full = gate.enter(&cells).await.unwrap_err();
        assert_eq!(
            (full.kind(), full.wait()),
            (Kind::Overload, Some(COME_BACK))
        );
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        // The place is the second's already: nobody who comes now gets before it.
        let fourth = gate.enter(&cells).await;
        assert!(fourth.is_err());
        drop(second.await.unwrap());
        drop(third.await.unwrap());
        assert_eq!((cells.queued.get(), cells.unqueued.get()), (2, 2));
        assert_eq!((cells.queue_full.get(), cells.queue_timeouts.get()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (gate, cells) = (gate(1, 1), Cells::default());
        let _first = gate.enter(&cells).await.unwrap();
        let began = tokio::time::Instant::now();
        let late = gate.enter(&cells).await.unwrap_err();
        assert_eq!(
            (late.kind(), began.elapsed().as_secs()),
            (Kind::Overload, 5)
        );
        assert_eq!(cells.queue_timeouts.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_the_queue_makes_room() {
        let (gate, cells) = (gate(1, 1), Cells::default());
        let first = gate.enter(&cells).await.unwrap();
        let mut gone = Box::pin(gate.enter(&cells));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(gate.enter(&cells).await.is_err());
        drop(gone);
        let mut waits = Box::pin(gate.enter(&cells));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waits.await.is_ok());
    }
}
