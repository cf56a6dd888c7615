use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::cache::{BodyState, ByteRange};
use cirrus_core::cache::{Freshness, Mode, Scheme, Selection, Variant};
use cirrus_core::{Clock, SystemClock};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::MemoryStore;

/// A store that can be made to fail.
#[derive(Clone)]
struct Unsteady {
    store: MemoryStore,
    down: Arc<AtomicBool>,
    /// It never says that anything is kept.
    stuck: Arc<AtomicBool>,
}

impl Unsteady {
    fn new(store: MemoryStore) -> Self {
        let (down, stuck) = Default::default();
        Self { store, down, stuck }
    }

    fn set_stuck(&self) {
        self.stuck.store(true, Ordering::Relaxed);
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    fn ask(&self) -> Result<&MemoryStore, StoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("down".into()));
        }
        Ok(&self.store)
    }
}

struct UnsteadyFill(Unsteady, Box<dyn Fill>);

#[async_trait]
impl Fill for UnsteadyFill {
    fn stored(&self) -> Stored {
        self.1.stored()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.0.ask()?;
        self.1.write(chunk).await
    }

    async fn finish(self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError> {
        self.0.ask()?;
        if self.0.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.1.finish(trailers).await
    }
}

#[async_trait]
impl CacheStore for Unsteady {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.ask()?.lookup(key).await
    }

    fn moment(&self) -> Moment {
        self.store.moment()
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        let fill = self.ask()?.insert(key, meta).await?;
        Ok(Box::new(UnsteadyFill(self.clone(), fill)))
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        self.ask()?.refresh(key, id, meta).await
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.ask()?.purge(purge).await
    }
}

/// Stores something new whenever something is to be stored.
struct Overtaken(MemoryStore);

#[async_trait]
impl CacheStore for Overtaken {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.0.lookup(key).await
    }

    fn moment(&self) -> Moment {
        self.0.moment()
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        put(&self.0, meta.clone(), "new").await;
        self.0.insert(key, meta).await
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        self.0.refresh(key, id, meta).await
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.0.purge(purge).await
    }
}

fn key() -> CacheKey {
    CacheKey::new(
        Scheme::Https,
        "a.example",
        &PathAndQuery::from_static("/page"),
    )
}

fn url() -> Selection {
    Selection::Url(key())
}

fn meta() -> Meta {
    let mut freshness = Freshness::default();
    freshness.received = SystemClock.now();
    freshness.lifetime = Duration::from_secs(3600);
    Meta::new(StatusCode::OK, HeaderMap::new()).with_freshness(freshness)
}

fn language(value: &'static str) -> Variant {
    let name = http::header::ACCEPT_LANGUAGE;
    Variant::new([(name, Some(HeaderValue::from_static(value)))])
}

async fn put(store: &dyn CacheStore, meta: Meta, body: &'static str) -> ObjectId {
    let mut fill = store.insert(&key(), meta).await.unwrap();
    fill.write(body.into()).await.unwrap();
    let id = fill.stored().id;
    fill.finish(HeaderMap::new()).await.unwrap();
    id
}

async fn bodies(store: &dyn CacheStore) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    for stored in store.lookup(&key()).await.unwrap() {
        bodies.push(read(&stored).await);
    }
    bodies
}

async fn read(stored: &Stored) -> Bytes {
    let body = stored.body.read(ByteRange::ALL);
    body.collect().await.unwrap().to_bytes()
}

fn two() -> (MemoryStore, Unsteady, TieredStore) {
    two_with(Promote::Always)
}

fn two_with(promote: Promote) -> (MemoryStore, Unsteady, TieredStore) {
    let near = MemoryStore::sized(4 << 20);
    let far = Unsteady::new(MemoryStore::sized(256 << 20));
    let store = TieredStore::new(near.clone())
        .then(far.clone())
        .promote(promote)
        .build();
    (near, far, store)
}

/// Lets the background do what it can do at once, and so much time pass.
async fn maintained(store: &TieredStore, time: Duration) {
    let _ = tokio::time::timeout(time, store.maintain()).await;
}

const SOON: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_in_every_tier() {
    let (near, far, store) = two();
    put(&store, meta(), "x").await;
    assert_eq!(bodies(&near).await, ["x"]);
    assert_eq!(bodies(&far).await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_far_away_comes_near() {
    let (near, far, store) = two();
    put(&far, meta().with_vary(language("de")), "hallo").await;
    put(&far, meta().with_vary(language("en")), "hello").await;
    assert_eq!(bodies(&store).await, ["hello", "hallo"]);
    assert!(bodies(&near).await.is_empty(), "only in the background");
    maintained(&store, SOON).await;
    assert_eq!(bodies(&near).await, ["hello", "hallo"], "in the same order");
    assert_eq!(store.lookup(&key()).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_the_second_hit_if_so_wanted() {
    let (near, far, store) = two_with(Promote::SecondHit);
    put(&far, meta(), "x").await;
    for copies in [0, 1] {
        bodies(&store).await;
        maintained(&store, SOON).await;
        assert_eq!(bodies(&near).await.len(), copies);
    }
}

#[tokio::test(start_paused = true)]
async fn never_if_so_wanted_or_too_large() {
    let (near, far, store) = two_with(Promote::Never);
    put(&far, meta(), "x").await;
    bodies(&store).await;
    maintained(&store, SOON).await;
    assert!(bodies(&near).await.is_empty());

    let store = TieredStore::new(near.clone())
        .then(far)
        .max_promoted(0)
        .build();
    bodies(&store).await;
    maintained(&store, SOON).await;
    assert!(bodies(&near).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_copy_under_way_does_not_undo_a_purge() {
    for mode in [Mode::Hard, Mode::Soft] {
        let (near, far, store) = two();
        put(&far, meta(), "x").await;
        assert_eq!(bodies(&store).await, ["x"]);
        let mut purge = Purge::hard(url());
        purge.mode = mode;
        store.purge(&purge).await.unwrap();
        maintained(&store, SOON).await;
        let is_fresh = |stored: &Stored| {
            !stored
                .meta
                .freshness()
                .remaining(SystemClock.now())
                .is_zero()
        };
        for store in [&near as &dyn CacheStore, &far, &store] {
            let found = store.lookup(&key()).await.unwrap();
            assert!(!found.iter().any(is_fresh), "{mode:?}");
            assert!(found.is_empty() || mode == Mode::Soft);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn news_from_before_a_soft_purge_do_not_make_a_later_copy_fresh() {
    let (near, far, store) = two();
    let old = place::outer(1, put(&far, meta(), "x").await);
    let asked = store.moment();
    store.purge(&Purge::soft(url())).await.unwrap();
    store.lookup(&key()).await.unwrap();
    maintained(&store, SOON).await;
    assert_eq!(bodies(&near).await, ["x"], "copied, stale as it was");
    let news = meta().with_asked(asked);
    assert!(store.refresh(&key(), old, news).await.unwrap());
    for store in [&near as &dyn CacheStore, &far, &store] {
        let found = store.lookup(&key()).await.unwrap().remove(0);
        assert!(
            found
                .meta
                .freshness()
                .remaining(SystemClock.now())
                .is_zero()
        );
    }
}

/// A near tier into which the same is stored by somebody else between a copy's look and its beginning.
#[tokio::test(start_paused = true)]
async fn a_copy_that_began_behind_something_new_is_given_up() {
    let (near, far, _) = two();
    let store = TieredStore::new(Overtaken(near.clone()))
        .then(far.clone())
        .build();
    put(&far, meta(), "old").await;
    assert_eq!(bodies(&store).await, ["old"]);
    maintained(&store, SOON).await;
    assert_eq!(bodies(&near).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_does_not_replace_what_came_meanwhile() {
    let (near, far, store) = two();
    put(&far, meta(), "old").await;
    bodies(&store).await;
    put(&near, meta(), "new").await;
    maintained(&store, SOON).await;
    assert_eq!(bodies(&near).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_failed_shuts_the_tier_out_until_it_was_repeated() {
    let (near, far, store) = two();
    put(&store, meta(), "x").await;
    far.set_down(true);
    assert!(store.purge(&Purge::hard(url())).await.is_err());
    assert!(bodies(&near).await.is_empty(), "the others are purged");
    far.set_down(false);
    assert_eq!(bodies(&far).await, ["x"]);
    assert!(bodies(&store).await.is_empty(), "but nobody sees it");
    assert!(
        store
            .purge(&Purge::hard(Selection::Tag("t".into())))
            .await
            .is_err()
    );
    maintained(&store, tier::RESPITE + SOON).await;
    assert!(bodies(&far).await.is_empty(), "repeated");
    put(&store, meta(), "y").await;
    assert_eq!(bodies(&far).await, ["y"], "and open again");
    assert!(store.purge(&Purge::hard(url())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_disturbs_nobody() {
    let (near, far, store) = two();
    let mut fill = store.insert(&key(), meta()).await.unwrap();
    let reading = fill.stored().body.read(ByteRange::ALL);
    fill.write("be".into()).await.unwrap();
    far.set_down(true);
    fill.write("fore".into()).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
    assert_eq!(reading.collect().await.unwrap().to_bytes(), "before");
    assert_eq!(bodies(&near).await, ["before"]);
    assert_eq!(bodies(&store).await, ["before"]);
    // Left alone for a while, and then tried again.
    far.set_down(false);
    put(&store, meta(), "meanwhile").await;
    assert!(bodies(&far).await.is_empty());
    tokio::time::advance(tier::RESPITE).await;
    put(&store, meta(), "after").await;
    assert_eq!(bodies(&far).await, ["after"]);
}

#[tokio::test(start_paused = true)]
async fn with_no_tier_left_the_store_is_unavailable() {
    let far = Unsteady::new(MemoryStore::sized(1 << 20));
    let store = TieredStore::new(far.clone()).build();
    far.set_down(true);
    for _ in 0..2 {
        let looked = store.lookup(&key()).await;
        assert!(matches!(looked, Err(StoreError::Unavailable(_))));
        let inserted = store.insert(&key(), meta()).await;
        assert!(matches!(inserted, Err(StoreError::Unavailable(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outgrows_the_near_tier_is_read_from_the_far_one() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 256;
    let (near, far, store) = two();
    let mut fill = store.insert(&key(), meta()).await.unwrap();
    // Neither of them is read while the body is filled: nobody waits for them.
    let first = fill.stored().body.read(ByteRange::ALL);
    let found = store.lookup(&key()).await.unwrap().remove(0);
    let second = found.body.read(ByteRange {
        start: 10,
        end: None,
    });
    let mut third = fill.stored().body.read(ByteRange::ALL);
    let mut begun = 0;
    for n in 0..CHUNKS {
        fill.write(vec![n as u8; CHUNK].into()).await.unwrap();
        if n < 4 {
            let frame = third.frame().await.unwrap().unwrap();
            begun += frame.into_data().unwrap().len();
        }
    }
    fill.finish(HeaderMap::new()).await.unwrap();
    assert!(bodies(&near).await.is_empty());
    let expected: Vec<u8> = (0..CHUNKS).flat_map(|n| vec![n as u8; CHUNK]).collect();
    assert!(bodies(&far).await == [expected.as_slice()]);
    assert!(first.collect().await.unwrap().to_bytes() == expected);
    assert!(second.collect().await.unwrap().to_bytes() == expected[10..]);
    assert!(third.collect().await.unwrap().to_bytes() == expected[begun..]);
    assert_eq!(found.body.state(), BodyState::Whole);
    assert!(store.0.spares.is_empty(), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_copy_waits_for_no_reader_and_its_readers_go_on_with_what_it_is_copied_from() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 64;
    let (near, far, store) = two();
    let mut fill = far.insert(&key(), meta()).await.unwrap();
    for n in 0..CHUNKS {
        fill.write(vec![n as u8; CHUNK].into()).await.unwrap();
    }
    fill.finish(HeaderMap::new()).await.unwrap();
    let source = far.lookup(&key()).await.unwrap().remove(0);

    let part = fill::Part::new(0, near.insert(&key(), meta()).await.unwrap());
    let body = Some(Arc::clone(&source.body));
    let mut copy = TieredFill::new(&store.0, &key(), vec![part], Vec::new(), body);
    let found = store.lookup(&key()).await.unwrap().remove(0);
    let reading = found.body.read(ByteRange::ALL);
    let copying = async {
        for n in 0..CHUNKS {
            copy.write(vec![n as u8; CHUNK].into()).await?;
        }
        Ok(())
    };
    // Too large for the near tier, and its one reader does not read.
    let copied = tokio::time::timeout(SOON, copying).await;
    assert!(matches!(copied, Ok(Err(StoreError::Full))), "{copied:?}");
    assert!(reading.collect().await.unwrap().to_bytes() == read(&source).await);
    assert!(store.0.spares.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_is_given_up_while_it_ends_leaves_nothing_behind() {
    let far = Unsteady::new(MemoryStore::sized(4 << 20));
    let store = TieredStore::new(MemoryStore::sized(4 << 20))
        .then(far.clone())
        .build();
    let fill = store.insert(&key(), meta()).await.unwrap();
    assert!(!store.0.spares.is_empty());
    far.set_stuck();
    let ending = tokio::time::timeout(SOON, fill.finish(HeaderMap::new())).await;
    assert!(ending.is_err());
    assert!(store.0.spares.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_old_response_does_not_outlive_the_new_one_in_a_tier_that_refused_it() {
    let (near, far, store) = two();
    put(&store, meta(), "old").await;
    let mut fill = store
        .insert(&key(), meta().with_length(Some(2 << 20)))
        .await
        .unwrap();
    fill.write(vec![7; 2 << 20].into()).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
    assert!(
        bodies(&near).await.is_empty(),
        "too large, and the old one is gone"
    );
    assert_eq!(bodies(&far).await[0].len(), 2 << 20);
    assert_eq!(bodies(&store).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_variants_are_found_behind_the_near_ones() {
    let (near, far, store) = two();
    put(&near, meta().with_vary(language("de")), "hallo").await;
    put(&far, meta().with_vary(language("de")), "alt").await;
    put(&far, meta().with_vary(language("en")), "hello").await;
    let found = store.lookup(&key()).await.unwrap();
    assert_eq!(found.len(), 1);
    let rest = store.lookup_rest(&key(), &found).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(read(&rest[0]).await, "hello");
    assert!(store.lookup_rest(&key(), &rest).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_concerns_every_copy() {
    let (near, far, store) = two();
    let mut old = meta();
    old.headers = HeaderMap::from_iter([(
        HeaderName::from_static("etag"),
        HeaderValue::from_static("\"1\""),
    )])
    .into();
    let id = put(&store, old.clone(), "x").await;
    let mut new = old;
    let mut freshness = new.freshness();
    freshness.lifetime = Duration::from_secs(9);
    new.set_freshness(freshness);
    assert!(store.refresh(&key(), id, new.clone()).await.unwrap());
    for store in [&near as &dyn CacheStore, &far] {
        let found = store.lookup(&key()).await.unwrap();
        assert_eq!(found[0].meta.freshness(), new.freshness());
    }
    // Found far away, by another id.
    near.purge(&Purge::hard(url())).await.unwrap();
    let id = store.lookup(&key()).await.unwrap()[0].id;
    freshness.lifetime = Duration::from_secs(8);
    new.set_freshness(freshness);
    assert!(store.refresh(&key(), id, new.clone()).await.unwrap());
    let found = far.lookup(&key()).await.unwrap();
    assert_eq!(found[0].meta.freshness(), new.freshness());
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_a_purge_is_refused() {
    let (near, far, store) = two();
    let asked = store.moment();
    // By somebody who shares the far tier.
    far.purge(&Purge::hard(url())).await.unwrap();
    let refused = store.insert(&key(), meta().with_asked(asked)).await;
    assert!(matches!(refused, Err(StoreError::Purged)));
    assert!(bodies(&near).await.is_empty());
    let asked = store.moment();
    put(&store, meta().with_asked(asked), "x").await;
    assert_eq!(bodies(&store).await, ["x"]);
}

/// The tiers' clocks are apart, as those of a disk that outlived a restart are.
#[tokio::test(start_paused = true)]
async fn what_is_older_than_a_moment_is_left_out_of_every_tier_and_not_copied() {
    let (near, far, store) = two();
    let nothing = || Purge::hard(Selection::Tag("of nobody".into()));
    for _ in 0..9 {
        far.purge(&nothing()).await.unwrap();
    }
    put(&far, meta().with_asked(far.moment()), "old").await;
    store.purge(&nothing()).await.unwrap();
    let since = store.moment();
    let found = store.lookup_since(&key(), since).await.unwrap();
    assert!(found.is_empty());
    maintained(&store, SOON).await;
    assert!(bodies(&near).await.is_empty(), "as new as it would look");
    put(&store, meta().with_asked(since), "new").await;
    near.purge(&Purge::hard(url())).await.unwrap();
    let found = store.lookup_since(&key(), since).await.unwrap();
    assert_eq!(read(&found[0]).await, "new");
    assert_eq!(inner(found[0].id).0, 1);
}
