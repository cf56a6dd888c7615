//! How many connections one endpoint may have at a time, over all workers.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pool::{Pool, Transport, Wire};
use crate::error::{Error, Kind};
use crate::metrics::Cells;

/// How many connections an endpoint may have, and how long requests wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) max_connections: usize,
    pub(crate) max_pending: usize,
    pub(crate) wait: Duration,
}

/// The connections of one endpoint. Used only where there is a limit.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: AtomicUsize,
    /// Those of them that wait in a pool.
    idle: AtomicUsize,
    /// Requests that wait for one.
    pending: AtomicUsize,
    /// One has become idle, or has been closed.
    freed: Notify,
    /// Where idle ones may be found.
    pools: Mutex<Vec<Weak<Pool>>>,
}

/// Room for one connection; given back with it.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    idle: bool,
}

/// How a request comes by its connection.
#[derive(Debug)]
pub(crate) enum Entry {
    /// One that was idle.
    Pooled(Box<Wire>),
    /// There is room to open one.
    Room(Slot),
}

/// A request that waits; given up when dropped.
struct Pending<'a>(&'a AtomicUsize);

// === impl Slots ===

impl Slots {
    /// Whether a request would have to wait.
    pub(crate) fn is_full(&self, crowd: &Crowd) -> bool {
        let idle = self.idle.load(Ordering::Relaxed);
        self.open.load(Ordering::Relaxed).saturating_sub(idle) >= crowd.max_connections
    }

    /// Room for a connection or an idle one, as soon as there is either.
    ///
    /// # Errors
    ///
    /// [`Kind::Overload`] if too many wait already, or the wait is over.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves its place to the next.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        crowd: &Crowd,
        pool: &Arc<Pool>,
        transport: &Transport,
        cells: &Cells,
    ) -> Result<Entry, Error> {
        self.know(pool);
        if let Some(slot) = self.room(crowd, transport) {
            return Ok(Entry::Room(slot));
        }
        let refused = |why: &'static str| {
            cells.pool_rejections.add(1);
            Error::because(Kind::Overload, why).retry_after(Duration::from_secs(1))
        };
        let pending = Pending::new(&self.pending, crowd.max_pending);
        let _pending = pending.ok_or_else(|| refused("too many requests wait for a connection"))?;
        cells.pool_waits.add(1);
        self.in_time(crowd.wait, self.turn(crowd, pool, transport))
            .await
            .ok_or_else(|| refused("no connection became free in time"))
    }

    async fn in_time(&self, limit: Duration, turn: impl Future<Output = Entry>) -> Option<Entry> {
        tokio::time::timeout(limit, turn).await.ok()
    }

    async fn turn(self: &Arc<Self>, crowd: &Crowd, pool: &Pool, transport: &Transport) -> Entry {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Before the look: what is freed after it is heard.
            freed.as_mut().enable();
            if let Some(wire) = pool.take(transport, Instant::now()) {
                return Entry::Pooled(wire);
            }
            if let Some(slot) = self.room(crowd, transport) {
                return Entry::Room(slot);
            }
            freed.await;
        }
    }

    /// Room if there is any, or if an idle connection of any worker can make it.
    fn room(self: &Arc<Self>, crowd: &Crowd, transport: &Transport) -> Option<Slot> {
        loop {
            if let Some(slot) = self.take(crowd.max_connections) {
                return Some(slot);
            }
            if !self.evict(transport) {
                return None;
            }
        }
    }

    fn take(self: &Arc<Self>, most: usize) -> Option<Slot> {
        let one_more = |open: usize| (open < most).then_some(open + 1);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Slot {
            slots: Arc::clone(self),
            idle: false,
        })
    }

    fn evict(&self, transport: &Transport) -> bool {
        if self.idle.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools
            .iter()
            .filter_map(Weak::upgrade)
            .any(|pool| pool.evict(transport))
    }

    /// Notes where connections of this endpoint may become idle.
    fn know(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock();
        if !pools
            .iter()
            .any(|known| known.as_ptr() == Arc::as_ptr(pool))
        {
            pools.push(Arc::downgrade(pool));
        }
    }

    /// Tells the next in line that it is worth looking again.
    pub(crate) fn tell(&self) {
        self.freed.notify_one();
    }
}

// === impl Slot ===

impl Slot {
    /// The connection goes into a pool. Whoever puts it there [tells](Slots::tell) when it can be found.
    pub(crate) fn rest(&mut self) -> Arc<Slots> {
        self.idle = true;
        self.slots.idle.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.slots)
    }

    /// The connection is out of its pool.
    pub(crate) fn work(&mut self) {
        self.idle = false;
        self.slots.idle.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.idle {
            self.work();
        }
        self.slots.open.fetch_sub(1, Ordering::AcqRel);
        self.slots.tell();
    }
}

// === impl Pending ===

impl<'a> Pending<'a> {
    fn new(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |pending: usize| (pending < most).then_some(pending + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(count))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::net::UnixStream;

    use super::*;
    use crate::upstream::pool::{Io, Keep};

    /// One endpoint, and the pools of two workers.
    struct World {
        slots: Arc<Slots>,
        crowd: Crowd,
        transport: Arc<Transport>,
        pools: [Arc<Pool>; 2],
        cells: Cells,
    }

    impl World {
        fn new(max_connections: usize, max_pending: usize) -> Self {
            Self {
                slots: Arc::default(),
                crowd: Crowd {
                    max_connections,
                    max_pending,
                    wait: Duration::from_secs(1),
                },
                transport: Arc::new(Transport {
                    url: "http://a".parse().unwrap(),
                    sni: None,
                    tls: None,
                    introduction: None,
                    protocol: crate::config::OriginProtocol::Http1,
                    owner: None,
                }),
                pools: Default::default(),
                cells: Cells::default(),
            }
        }

        async fn enter(&self, worker: usize) -> Result<Entry, Error> {
            self.slots
                .enter(
                    &self.crowd,
                    &self.pools[worker],
                    &self.transport,
                    &self.cells,
                )
                .await
        }

        async fn room(&self, worker: usize) -> Slot {
            match self.enter(worker).await.unwrap() {
                Entry::Room(slot) => slot,
                Entry::Pooled(wire) => panic!("{wire:?}"),
            }
        }

        /// A connection that has carried a request goes home; the origin's end of it.
        fn put(&self, worker: usize, slot: Slot) -> UnixStream {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let wire = Wire::new(Io::Unix(ours)).within(Some(slot));
            self.pools[worker]
                .home(&self.transport, Keep::default())
                .put(wire, Instant::now());
            theirs
        }

        fn counts(&self) -> (u64, u64) {
            (
                self.cells.pool_waits.get(),
                self.cells.pool_rejections.get(),
            )
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_waits_for_its_time_and_is_refused() {
        let world = World::new(2, 10);
        let _held = (world.room(0).await, world.room(1).await);
        assert!(world.slots.is_full(&world.crowd));
        let began = Instant::now();
        let refused = world.enter(0).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.status().as_u16()),
            (Kind::Overload, 503)
        );
        assert_eq!(began.elapsed(), world.crowd.wait);
        assert_eq!(world.counts(), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_wait_are_refused_at_once() {
        let world = World::new(1, 2);
        let _held = world.room(0).await;
        let began = Instant::now();
        let all = futures_util::future::join_all((0..5).map(|_| async {
            let refused = world.enter(0).await.is_err();
            (refused, began.elapsed())
        }));
        let took: Vec<_> = all
            .await
            .into_iter()
            .map(|(_, took)| took.as_secs())
            .collect();
        assert_eq!(took, [1, 1, 0, 0, 0]);
        assert_eq!(world.counts(), (2, 5));
        let again = world.enter(0).await.unwrap_err();
        assert_eq!(
            again.kind(),
            Kind::Overload,
            "the places in the queue are free again"
        );
        assert_eq!(world.counts(), (3, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_makes_room_for_the_next() {
        let world = World::new(1, 10);
        let held = world.room(0).await;
        let close = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(held);
        };
        let began = Instant::now();
        let (slot, ()) = tokio::join!(world.room(1), close);
        assert_eq!(began.elapsed().as_millis(), 300);
        drop(slot);
        assert!(!world.slots.is_full(&world.crowd));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_comes_home_goes_to_who_waits() {
        let world = World::new(1, 10);
        let held = world.room(0).await;
        let home = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.put(0, held)
        };
        let (entry, _origin) = tokio::join!(world.enter(0), home);
        assert!(matches!(entry, Ok(Entry::Pooled(_))), "{entry:?}");
        assert!(world.slots.is_full(&world.crowd), "it is in use");
    }

    #[tokio::test(start_paused = true)]
    async fn another_workers_idle_connection_makes_room() {
        let world = World::new(1, 10);
        let held = world.room(0).await;
        let _origin = world.put(0, held);
        assert!(!world.slots.is_full(&world.crowd), "idle is not busy");
        let slot = world.room(1).await;
        assert_eq!((world.pools[0].len(), world.counts()), (0, (0, 0)));
        // The same when the other one is still waiting.
        let home = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.put(1, slot)
        };
        let (_slot, _origin) = tokio::join!(world.room(0), home);
        assert_eq!((world.pools[1].len(), world.counts()), (0, (1, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_its_turn_to_the_next() {
        let world = World::new(1, 10);
        let held = world.room(0).await;
        let (mut first, mut second) = (Box::pin(world.enter(0)), Box::pin(world.enter(1)));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        // It is the first one's turn; but that has gone.
        drop(held);
        drop(first);
        let began = Instant::now();
        assert!(second.await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
