//! A store that several edges share.
//!
//! Under the prefix, `cirrus:cache:` by default, there is
//!
//! | key | type | what |
//! |---|---|---|
//! | `log` | hash | `inc`: the incarnation; `run`: the server's run; `clk`: the number of the last purge; `cnt`, `low`: the last and the first logged purge; `p:N`: a logged purge; `u:N`: the last removal of a URL whose hash has the remainder N |
//! | `u:HASH` | hash | one URL; `m:ID:VARIANT`: the metadata of an object, `b:ID:VARIANT`: its body |
//!
//! Keys of URLs expire once nothing in them is of use any more. Any key may vanish at any time, by eviction or by
//! hand: a URL's is a miss then, and without the log, or with that of another run of the server, everything stored
//! before is void, because nobody can tell any more what was purged.
//!
//! A purge by tag, prefix, host or of everything gets a number and goes to the log ([`ledger`]); an object has the
//! number of the last purge before its origin was asked. A URL is removed at once, and its mark `u:N` keeps out what
//! was asked for before. So no fill can undo a purge, whichever edge makes either of them.

mod codec;
mod fill;
mod growing;
mod ledger;
mod link;
mod objects;
mod purges;
mod scripts;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::cache::{
    CacheKey, CacheStore, Fill, Meta, Moment, ObjectId, Purge, Purged, StoreError, Stored,
};
use cirrus_core::{BoxError, Clock, SystemClock};

use self::growing::Growing;
use self::ledger::{Head, Ledgers};
use self::link::Link;
use self::scripts::Scripts;

/// How often a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Keeps small responses in Redis, where other edges find them too.
///
/// Meant to be the farthest tier of a [`TieredStore`](crate::TieredStore). It connects in
/// [`maintain`](CacheStore::maintain), and again whenever the connection is lost; until then, and while Redis does not
/// answer in time, it is [`StoreError::Unavailable`]. Clones are the same store.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

/// Makes a [`RedisStore`].
#[must_use]
pub struct RedisStoreBuilder {
    client: redis::Client,
    prefix: String,
    max_object: u64,
    timeout: Duration,
    concurrency: usize,
    clock: Arc<dyn Clock>,
}

struct Inner {
    link: Link,
    ledgers: Ledgers,
    growing: Growing,
    scripts: Scripts,
    prefix: String,
    log: String,
    max_object: u64,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    last_id: AtomicU64,
}

/// What a URL is called in Redis.
struct Name {
    key: String,
    bucket: u64,
}

/// Values of the log's hash as Redis gives them.
type Values = Vec<Option<Vec<u8>>>;

// === impl RedisStore ===

impl RedisStore {
    /// Uses the server at `url`: `redis://user:password@host:6379/0`, or `rediss://` with TLS.
    ///
    /// # Errors
    ///
    /// That is no such URL.
    pub fn builder(url: &str) -> Result<RedisStoreBuilder, BoxError> {
        Ok(RedisStoreBuilder {
            client: redis::Client::open(url)?,
            prefix: "cirrus:cache:".into(),
            max_object: 1 << 20,
            timeout: Duration::from_millis(100),
            concurrency: 256,
            clock: Arc::new(SystemClock),
        })
    }

    /// Connects now rather than in the background.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn connect(&self) -> Result<(), StoreError> {
        self.0.connect().await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.0.prefix)
            .field("is_up", &self.0.link.is_up())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CacheStore for RedisStore {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.0.lookup(key).await
    }

    async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        self.0.lookup_since(key, moment).await
    }

    fn moment(&self) -> Moment {
        let ledger = self.0.ledgers.current();
        ledger.map_or_else(Moment::default, |ledger| ledger.moment())
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        Ok(Box::new(self.0.insert(key, meta)?))
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        self.0.refresh(key, id, meta).await
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        // Once more if everything was lost meanwhile: it is all the same then, but others must know.
        match self.0.purge(purge).await? {
            Some(purged) => Ok(purged),
            None => {
                self.0.join().await?;
                let purged = self.0.purge(purge).await?;
                purged.ok_or_else(|| unavailable("the log of purges does not stay"))
            }
        }
    }

    async fn maintain(&self) {
        let mut told = false;
        loop {
            match self.0.connect().await {
                Ok(()) => {
                    tracing::info!("the cache in Redis is connected");
                    self.0.link.lost().await;
                    tracing::warn!("the cache in Redis is lost: it is bypassed");
                    told = true;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    // Once, not twice a second.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(error, "the cache in Redis is not to be reached");
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

// === impl RedisStoreBuilder ===

impl RedisStoreBuilder {
    /// What the names of all keys begin with: `cirrus:cache:` by default. Stores with the same one are one store.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Keeps no body larger than this: 1 MiB by default.
    pub fn max_object(mut self, bytes: u64) -> Self {
        self.max_object = bytes;
        self
    }

    /// The longest time for a look-up: 100 ms by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Most calls at the same time: 256 by default. Others wait, within their time.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// Takes the time from `clock`.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The store, not yet connected.
    #[must_use]
    pub fn build(self) -> RedisStore {
        RedisStore(Arc::new(Inner {
            link: Link::new(self.client, self.concurrency),
            ledgers: Ledgers::default(),
            growing: Growing::default(),
            scripts: Scripts::new(),
            log: format!("{}log", self.prefix),
            prefix: self.prefix,
            max_object: self.max_object,
            timeout: self.timeout,
            clock: self.clock,
            last_id: AtomicU64::new(0),
        }))
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("max_object", &self.max_object)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

// === impl Name ===

impl Name {
    /// The field of the log with the last removal of URLs like this one.
    fn mark(&self) -> String {
        format!("u:{}", self.bucket)
    }
}

// === impl Head ===

impl Head {
    /// From the log's first four fields; `None` if it is gone or damaged.
    fn read(values: &[Option<Vec<u8>>]) -> Option<Self> {
        let [incarnation, clock, logged, oldest, ..] = values else {
            return None;
        };
        Some(Self {
            incarnation: number(incarnation, 16)?,
            clock: number(clock, 10)?,
            logged: number(logged, 10)?,
            oldest: number(oldest, 10)?,
        })
    }
}

fn number(value: &Option<Vec<u8>>, radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(value.as_deref()?).ok()?;
    u64::from_str_radix(text, radix).ok()
}

fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(why.into())
}
