use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::*;
use crate::cache::Purges;
use crate::cache::epochs::{Epochs, Era, Verdict};
use crate::cache::purger::{Doer, Outcome, Purger};
use crate::cache::tag::Tags;
use crate::cache::{
    CacheKey, CacheStore, Fill, Meta, Moment, ObjectId, Purged, Scheme, Selection, StoreError,
    Stored, buffer,
};
use crate::clock::{SystemClock, Timestamp};
use crate::server::{Drain, Tasks};

const GRACE: Duration = Duration::from_secs(30);

type Says = UnboundedSender<Result<LogUpdate, BoxError>>;

/// Objects that are there, or purged.
#[derive(Default)]
struct Shelf {
    epochs: Epochs,
    objects: Mutex<Vec<(CacheKey, Era, Moment)>>,
    is_broken: AtomicBool,
}

/// A log that says what the test says, to whoever follows it last.
#[derive(Default)]
struct Script {
    /// Each with where it goes on.
    followers: Mutex<Vec<(Option<u64>, Says)>>,
    kept: Mutex<Option<LogPosition>>,
}

struct World {
    shelf: Arc<Shelf>,
    log: Arc<Script>,
    fence: Arc<Fence>,
    purger: Purger,
    following: Following,
    drain: Drain,
}

fn at(number: u64) -> LogPosition {
    LogPosition::new("one", number)
}

fn key(path: &'static str) -> CacheKey {
    CacheKey::new(Scheme::Http, "a.example", &PathAndQuery::from_static(path))
}

fn url(path: &'static str) -> Purge {
    Purge::hard(Selection::Url(key(path)))
}

async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

// === impl World ===

impl World {
    /// With these stored already, and the log read up to 5.
    async fn with(stored: &[&'static str]) -> Self {
        let (shelf, log) = (Arc::new(Shelf::default()), Arc::new(Script::default()));
        for path in stored {
            shelf.put(path);
        }
        *log.kept.lock() = Some(at(5));
        let fence = Fence::around(Arc::<Shelf>::clone(&shelf));
        let doer = Doer::new(
            Arc::<Shelf>::clone(&shelf),
            Box::new(|key| vec![Selection::Url(key.clone())]),
            Arc::new(Purges::new(Arc::new(SystemClock))),
        );
        let (reader, following) = Reader::new(
            Arc::<Script>::clone(&log),
            Arc::clone(&fence),
            Arc::clone(&doer),
            Grace(GRACE),
        );
        let drain = Drain::default();
        Tasks::default().spawn(reader.run(drain.clone()));
        settle().await;
        Self {
            shelf,
            log,
            fence,
            purger: Purger::new(doer, Some(following.clone())),
            following,
            drain,
        }
    }

    async fn says(&self, update: LogUpdate) {
        self.log.says(Ok(update));
        settle().await;
    }

    async fn says_purge(&self, purge: Purge, number: u64) {
        let (purges, position) = (vec![purge], at(number));
        self.says(LogUpdate::Purges { purges, position }).await;
    }

    async fn finds_rest(&self, path: &'static str) -> bool {
        !self
            .fence
            .lookup_rest(&key(path), &[])
            .await
            .unwrap()
            .is_empty()
    }

    async fn finds(&self, path: &'static str) -> bool {
        !self.fence.lookup(&key(path)).await.unwrap().is_empty()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.drain.end();
    }
}

// === impl Script ===

impl Script {
    fn says(&self, update: Result<LogUpdate, BoxError>) {
        let followers = self.followers.lock();
        followers.last().unwrap().1.send(update).unwrap();
    }
}

#[async_trait]
impl PurgeLog for Script {
    async fn position(&self) -> Result<Option<LogPosition>, BoxError> {
        Ok(self.kept.lock().clone())
    }

    fn follow(&self, after: Option<LogPosition>) -> Updates<LogUpdate> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let after = after.map(|position| position.number);
        self.followers.lock().push((after, sender));
        let updates = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        updates.boxed()
    }

    async fn append(&self, _: &[Purge]) -> Result<LogPosition, BoxError> {
        Ok(at(6))
    }

    async fn applied(&self, position: &LogPosition) -> Result<(), BoxError> {
        *self.kept.lock() = Some(position.clone());
        Ok(())
    }
}

// === impl Shelf ===

impl Shelf {
    fn put(&self, path: &'static str) {
        self.put_asked(path, self.epochs.moment());
    }

    fn put_asked(&self, path: &'static str, asked: Moment) {
        let object = (key(path), self.epochs.begin_at(asked), asked);
        self.objects.lock().push(object);
    }
}

#[async_trait]
impl CacheStore for Shelf {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        let objects = self.objects.lock();
        let live = objects.iter().filter(|(known, era, _)| {
            known == key && self.epochs.check(era, known, &Tags::default()) != Verdict::Dead
        });
        let stored = live.map(|(_, _, asked)| {
            let meta = Meta::new(StatusCode::OK, HeaderMap::new()).with_asked(*asked);
            let (_, body) = buffer::growing(None);
            Stored::new(ObjectId(1), Arc::new(meta), Arc::new(body))
        });
        Ok(stored.collect())
    }

    async fn lookup_rest(&self, key: &CacheKey, _: &[Stored]) -> Result<Vec<Stored>, StoreError> {
        self.lookup(key).await
    }

    fn moment(&self) -> Moment {
        self.epochs.moment()
    }

    async fn insert(&self, _: &CacheKey, _: Meta) -> Result<Box<dyn Fill>, StoreError> {
        Err(StoreError::Full)
    }

    async fn refresh(&self, _: &CacheKey, _: ObjectId, _: Meta) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("broken".into()));
        }
        self.epochs.record(purge, Timestamp::default());
        Ok(Purged::default())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_gap_is_not_found_until_the_log_is_read() {
    let world = World::with(&["/old", "/purged"]).await;
    // Asked for before the fence closed, answered after it.
    world.shelf.put_asked("/late", Moment(0));
    world.shelf.put("/new");
    assert!(!world.finds("/old").await && !world.finds("/purged").await);
    assert!(!world.finds("/late").await);
    assert!(world.finds("/new").await && !world.finds_rest("/old").await);
    assert_eq!(world.log.followers.lock()[0].0, Some(5));
    world.says_purge(url("/purged"), 6).await;
    assert!(!world.finds("/old").await, "there may be more");
    world.says(LogUpdate::Current).await;
    assert!(world.finds("/old").await && world.finds("/late").await);
    assert!(world.finds_rest("/old").await);
    assert!(world.finds("/new").await && !world.finds("/purged").await);
    assert_eq!(*world.log.kept.lock(), Some(at(6)));
    assert!(world.following.caught_up(Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_reach_back_drops_everything() {
    let world = World::with(&["/old"]).await;
    world.says(LogUpdate::Lost(at(90))).await;
    world.says(LogUpdate::Current).await;
    world.shelf.put("/new");
    assert!(!world.finds("/old").await && world.finds("/new").await);
    assert_eq!(*world.log.kept.lock(), Some(at(90)));
}

#[tokio::test(start_paused = true)]
async fn silence_closes_the_fence_after_its_grace() {
    let world = World::with(&["/old"]).await;
    world.says(LogUpdate::Current).await;
    tokio::time::sleep(GRACE / 2).await;
    world.says(LogUpdate::Current).await;
    tokio::time::sleep(GRACE - Duration::from_secs(1)).await;
    assert!(world.finds("/old").await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!world.finds("/old").await);
    world.says(LogUpdate::Current).await;
    assert!(world.finds("/old").await);
}

#[tokio::test(start_paused = true)]
async fn failures_close_the_fence_after_its_grace_and_reading_goes_on_where_it_was() {
    let world = World::with(&["/old"]).await;
    world.says_purge(url("/x"), 6).await;
    world.says(LogUpdate::Current).await;
    let broken = Arc::clone(&world.log);
    let ended = tokio::time::Instant::now() + GRACE + Duration::from_secs(60);
    while tokio::time::Instant::now() < ended {
        broken.says(Err("unreachable".into()));
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert!(!world.finds("/old").await);
    let after = world.log.followers.lock().last().unwrap().0;
    assert_eq!(after, Some(6));
    world.says(LogUpdate::Current).await;
    assert!(world.finds("/old").await);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_fails_is_not_passed_over() {
    let world = World::with(&["/old", "/purged"]).await;
    world.says(LogUpdate::Current).await;
    world.shelf.is_broken.store(true, Ordering::Relaxed);
    world.says_purge(url("/purged"), 6).await;
    assert!(!world.finds("/purged").await && !world.finds("/old").await);
    assert_eq!(*world.log.kept.lock(), Some(at(5)));
    world.shelf.is_broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let after = world.log.followers.lock().last().unwrap().0;
    assert_eq!(after, Some(5), "it asks for it again");
    world.says_purge(url("/purged"), 6).await;
    world.says(LogUpdate::Current).await;
    assert!(!world.finds("/purged").await && world.finds("/old").await);
}

#[tokio::test(start_paused = true)]
async fn whoever_appends_hears_when_it_is_done_here() {
    let world = World::with(&["/old"]).await;
    world.says(LogUpdate::Current).await;
    let purges = [url("/old")];
    let (outcomes, ()) = tokio::join!(world.purger.purge(&purges, "test"), async {
        settle().await;
        world.says_purge(url("/old"), 6).await;
    });
    assert_eq!(outcomes.unwrap(), [Outcome::Logged]);
    assert!(!world.finds("/old").await);
    *world.log.kept.lock() = None;
    let late = World::with(&[]).await;
    let outcomes = late.purger.purge(&purges, "test").await.unwrap();
    assert_eq!(outcomes, [Outcome::Pending]);
}
