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
mod scripts;

use std::cmp::Reverse;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::cache::buffer;
use cirrus_core::cache::epochs::{Era, Verdict};
use cirrus_core::cache::{
    CacheKey, CacheStore, Fill, Meta, Mode, Moment, ObjectId, Purge, Purged, Selection, StoreError,
    Stored, Variant,
};
use cirrus_core::{BoxError, Clock, SystemClock};
use http::HeaderMap;
use xxhash_rust::xxh3::xxh3_128;

use self::codec::{Record, checksum, decode_purge, encode_purge, encode_variant};
use self::fill::RedisFill;
use self::growing::{Growing, Object};
use self::ledger::{BUCKETS, Head, Ledger, Ledgers};
use self::link::Link;
use self::scripts::Scripts;

/// How long after it became useless an object is kept to be confirmed by its origin: 10 minutes.
const GRACE: Duration = Duration::from_secs(600);

/// The longest time that anything is kept: 30 days.
const MOST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest time for a purge, and for sending a whole object: 1 s at least.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Purges read from the log at once.
const AT_ONCE: u64 = 512;

/// All bodies of one URL have room for so many of the largest.
const BODIES: u64 = 4;

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

/// An object as Redis has it.
struct Found {
    record: Record,
    variant: String,
    body: Bytes,
}

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
        loop {
            match self.0.connect().await {
                Ok(()) => {
                    tracing::info!("the cache in Redis is connected");
                    self.0.link.lost().await;
                    tracing::warn!("the cache in Redis is lost: it is bypassed");
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "the cache in Redis is not to be reached");
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

// === impl Inner: the log ===

impl Inner {
    async fn connect(&self) -> Result<(), StoreError> {
        let connection = self.link.dial().await?;
        let joining = self.joining(&connection.run);
        let head: Values = connection.first(&joining).await?;
        let head = Head::read(&head).ok_or_else(|| unavailable("the log of purges is damaged"))?;
        self.ledgers.of(head);
        self.link.set(connection);
        Ok(())
    }

    fn joining<'a>(&'a self, run: &str) -> redis::ScriptInvocation<'a> {
        // As good as never the same twice.
        let random = foldhash::quality::RandomState::default().hash_one(self.clock.now());
        let mut joining = self.scripts.join.key(&self.log);
        joining.arg(run).arg(format!("{random:x}"));
        joining
    }

    /// Sets the log up again if it is gone.
    async fn join(&self) -> Result<Arc<Ledger>, StoreError> {
        let run = self.link.current()?.run.clone();
        let head: Values = self
            .link
            .script(&self.joining(&run), self.patience())
            .await?;
        let head = Head::read(&head).ok_or_else(|| unavailable("the log of purges is damaged"))?;
        self.follow(head).await
    }

    /// The ledger, once it has all purges up to `head`.
    async fn follow(&self, head: Head) -> Result<Arc<Ledger>, StoreError> {
        let ledger = self.ledgers.of(head);
        ledger.advance(head.clock);
        if ledger.applied() < head.logged {
            let _alone = self.ledgers.reading.lock().await;
            while ledger.applied() < head.logged {
                self.read_log(&ledger, head).await?;
            }
        }
        Ok(ledger)
    }

    /// Applies the next purges of the log.
    async fn read_log(&self, ledger: &Ledger, head: Head) -> Result<(), StoreError> {
        let next = ledger.applied() + 1;
        let from = next.max(head.oldest);
        let to = head.logged.min(from + AT_ONCE - 1);
        let mut command = redis::cmd("HMGET");
        command.arg(&self.log).arg("inc");
        for place in from..=to {
            command.arg(format!("p:{place}"));
        }
        let values: Values = self.link.command(&command, self.patience()).await?;
        let Some((incarnation, purges)) = values.split_first() else {
            return Err(unavailable("the log of purges is gone"));
        };
        if number(incarnation, 16) != Some(ledger.incarnation) {
            return Err(unavailable("the log of purges was replaced"));
        }
        for (place, logged) in (from..=to).zip(purges) {
            match logged.as_deref().and_then(logged_purge) {
                Some((clock, purge, at)) => {
                    // Some before it are not in the log any more.
                    if place > ledger.applied() + 1 {
                        ledger.forget(place - 1, clock);
                    }
                    ledger.apply(place, clock, &purge, at);
                }
                // It may have been of everything.
                None => ledger.forget(place, head.clock),
            }
        }
        Ok(())
    }

    /// `None` in another incarnation than is known.
    async fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let removed = match (&purge.what, purge.mode) {
            (Selection::Url(key), Mode::Hard) => Some((key, self.growing.remove_all(key))),
            _ => None,
        };
        let Some(ledger) = self.ledgers.current() else {
            return Err(unavailable("Redis is not connected"));
        };
        match removed {
            Some((key, growing)) => self.remove(&ledger, key, growing).await,
            None => self.log(&ledger, purge).await,
        }
    }

    async fn log(&self, ledger: &Ledger, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let mut script = self.scripts.log.key(&self.log);
        script
            .arg(format!("{:x}", ledger.incarnation))
            .arg(encode_purge(purge, self.clock.now()));
        let logged: Option<(u64, u64)> = self.link.script(&script, self.patience()).await?;
        let Some((clock, logged)) = logged else {
            return Ok(None);
        };
        let head = Head {
            incarnation: ledger.incarnation,
            clock,
            logged,
            oldest: 1,
        };
        self.follow(head).await?;
        Ok(Some(Purged::default()))
    }

    async fn remove(
        &self,
        ledger: &Ledger,
        key: &CacheKey,
        growing: u64,
    ) -> Result<Option<Purged>, StoreError> {
        let name = self.name(key);
        let mut script = self.scripts.remove.key(&self.log);
        script
            .key(&name.key)
            .arg(format!("{:x}", ledger.incarnation))
            .arg(name.mark());
        let removed: Option<(u64, u64)> = self.link.script(&script, self.patience()).await?;
        Ok(removed.map(|(clock, objects)| {
            ledger.note_removal(name.bucket, clock);
            ledger.advance(clock);
            Purged::counted(growing + objects)
        }))
    }

    fn patience(&self) -> Duration {
        self.timeout.max(PATIENCE)
    }
}

// === impl Inner: objects ===

impl Inner {
    fn name(&self, key: &CacheKey) -> Name {
        let hash = xxh3_128(key.to_string().as_bytes());
        Name {
            key: format!("{}u:{hash:032x}", self.prefix),
            // Less than `BUCKETS`.
            bucket: u64::try_from(hash % u128::from(BUCKETS)).unwrap_or_default(),
        }
    }

    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        // Before Redis is asked: a fill that ends goes from here to there, and may be seen twice, but is never missed.
        let growing = self.growing.find(key);
        let name = self.name(key);
        let looking = self.look(key, &name);
        let (ledger, objects) = tokio::time::timeout(self.timeout, looking)
            .await
            .map_err(|_| unavailable("Redis did not answer in time"))??;
        let mut found: Vec<_> = growing
            .iter()
            .filter(|object| object.incarnation == ledger.incarnation)
            .filter_map(|object| {
                let verdict = ledger.judge_growing(&object.era, key, name.bucket, &object.meta);
                judged(verdict, object.stored())
            })
            .collect();
        for object in objects {
            let verdict = ledger.judge(&object.record.era, key, &object.record.meta);
            found.extend(judged(verdict, object.stored()?));
        }
        found.sort_by_key(|stored| Reverse(stored.id));
        found.dedup_by_key(|stored| stored.id);
        Ok(found)
    }

    /// What Redis has of this URL, and the ledger to judge it by.
    async fn look(
        &self,
        key: &CacheKey,
        name: &Name,
    ) -> Result<(Arc<Ledger>, Vec<Found>), StoreError> {
        let mut script = self.scripts.look.key(&self.log);
        script.key(&name.key).arg(name.mark());
        let (head, fields): (Values, Vec<Vec<u8>>) =
            self.link.script(&script, self.timeout).await?;
        let Some(log) = Head::read(&head) else {
            return Ok((self.join().await?, Vec::new()));
        };
        let ledger = self.follow(log).await?;
        if let Some(clock) = head.get(4).and_then(|mark| number(mark, 10)) {
            ledger.note_removal(name.bucket, clock);
        }
        let found = objects(fields, &key.to_string(), ledger.incarnation);
        Ok((ledger, found))
    }

    fn insert(self: &Arc<Self>, key: &CacheKey, mut meta: Meta) -> Result<RedisFill, StoreError> {
        self.link.current()?;
        let ledger = self.ledgers.current();
        let ledger = ledger.ok_or_else(|| unavailable("Redis is not connected"))?;
        if meta.length.is_some_and(|length| length > self.max_object) {
            return Err(StoreError::Full);
        }
        let born = match meta.asked.take() {
            Some(asked) => ledger.time_of(asked).ok_or(StoreError::Purged)?,
            None => ledger.now(),
        };
        let (writer, body) = buffer::growing(meta.length);
        let object = Object {
            id: self.next_id(),
            incarnation: ledger.incarnation,
            era: Era::restored(Moment(born), Moment(born)),
            meta: Arc::new(meta),
            body,
        };
        let bucket = self.name(key).bucket;
        let verdict = ledger.judge_growing(&object.era, key, bucket, &object.meta);
        if verdict == Verdict::Dead {
            return Err(StoreError::Purged);
        }
        self.growing.add(key, object.clone());
        Ok(RedisFill::new(
            Arc::clone(self),
            key.clone(),
            &object,
            writer,
        ))
    }

    /// The time, so that other edges' are in order with it; but always another one.
    fn next_id(&self) -> ObjectId {
        let now = self.clock.now().as_millis() << 16;
        let next = |last: u64| now.max(last + 1);
        let last = self
            .last_id
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        ObjectId(next(last.unwrap_or_else(|last| last)))
    }

    /// Stores an object that is whole. Without effect if it was purged, or something newer is there.
    async fn send(
        &self,
        key: &CacheKey,
        object: Object,
        body: Bytes,
        trailers: HeaderMap,
    ) -> Result<(), StoreError> {
        let name = self.name(key);
        let born = object.era.born();
        let (id, ttl) = (object.id, self.kept_for(&object.meta));
        let variant = variant_name(&object.meta.vary);
        let record = Record {
            id,
            incarnation: object.incarnation,
            era: object.era,
            key: key.to_string(),
            meta: Meta::clone(&object.meta),
            trailers,
            checksum: checksum(&body),
        };
        let mut script = self.scripts.put.key(&self.log);
        script
            .key(&name.key)
            .arg(format!("{:x}", record.incarnation))
            .arg(name.mark())
            .arg(born)
            .arg(id_name(id))
            .arg(variant)
            .arg(record.encode())
            .arg(&body[..])
            .arg(ttl)
            .arg(self.max_object.saturating_mul(BODIES));
        let answer: String = self.link.script(&script, self.patience()).await?;
        if answer != "stored" {
            tracing::debug!(?key, why = answer, "a response does not stay in Redis");
        }
        Ok(())
    }

    async fn refresh(
        &self,
        key: &CacheKey,
        id: ObjectId,
        mut meta: Meta,
    ) -> Result<bool, StoreError> {
        let name = self.name(key);
        let (ledger, objects) = self.look(key, &name).await?;
        let asked = match meta.asked.take() {
            Some(asked) => ledger.time_of(asked).unwrap_or(0),
            None => ledger.now(),
        };
        if let Some(mut object) = self.growing.get(key, id) {
            let verdict = ledger.judge_growing(&object.era, key, name.bucket, &object.meta);
            let renewed = ledger.renew(&object.era, key, &object.meta, asked);
            let (Some(era), false) = (renewed, verdict == Verdict::Dead) else {
                return Ok(false);
            };
            object.era = era;
            object.meta = Arc::new(meta);
            return Ok(self.growing.replace(key, object));
        }
        let Some(found) = objects.into_iter().find(|found| found.record.id == id) else {
            return Ok(false);
        };
        let Some(era) = ledger.renew(&found.record.era, key, &found.record.meta, asked) else {
            return Ok(false);
        };
        self.renew(&name, found, era, meta).await
    }

    async fn renew(
        &self,
        name: &Name,
        found: Found,
        era: Era,
        meta: Meta,
    ) -> Result<bool, StoreError> {
        let ttl = self.kept_for(&meta);
        let record = Record {
            era,
            meta,
            ..found.record
        };
        let mut script = self.scripts.renew.key(&self.log);
        script
            .key(&name.key)
            .arg(format!("{:x}", record.incarnation))
            .arg(id_name(record.id))
            .arg(found.variant)
            .arg(variant_name(&record.meta.vary))
            .arg(record.encode())
            .arg(ttl);
        self.link.script(&script, self.patience()).await
    }

    /// For how many milliseconds it is of use.
    fn kept_for(&self, meta: &Meta) -> u64 {
        let freshness = &meta.freshness;
        let stale = freshness.while_revalidate.max(freshness.if_error);
        let useful = freshness.remaining(self.clock.now()).saturating_add(stale);
        let kept = useful.saturating_add(GRACE).min(MOST_KEPT);
        u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)
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

// === impl Object ===

impl Object {
    fn stored(&self) -> Stored {
        let body = Arc::new(self.body.clone());
        Stored::new(self.id, Arc::clone(&self.meta), body)
    }
}

// === impl Found ===

impl Found {
    fn stored(self) -> Result<Stored, StoreError> {
        let (mut writer, body) = buffer::growing(Some(self.body.len() as u64));
        writer.push(self.body)?;
        writer.finish(self.record.trailers)?;
        let meta = Arc::new(self.record.meta);
        Ok(Stored::new(self.record.id, meta, Arc::new(body)))
    }
}

fn judged(verdict: Verdict, mut stored: Stored) -> Option<Stored> {
    match verdict {
        Verdict::Live => Some(stored),
        Verdict::Soft(at) => {
            let mut meta = Meta::clone(&stored.meta);
            meta.freshness = meta.freshness.expired(at);
            stored.meta = Arc::new(meta);
            Some(stored)
        }
        Verdict::Dead => None,
    }
}

/// The objects in a URL's hash; what is not readable, not whole or of another time is not there.
fn objects(fields: Vec<Vec<u8>>, key: &str, incarnation: u64) -> Vec<Found> {
    let mut records = Vec::new();
    let mut bodies = std::collections::HashMap::new();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let Ok(name) = String::from_utf8(name) else {
            continue;
        };
        if let Some(name) = name.strip_prefix("m:") {
            records.extend(Record::decode(&value).map(|record| (name.to_owned(), record)));
        } else if let Some(name) = name.strip_prefix("b:") {
            bodies.insert(name.to_owned(), value);
        }
    }
    let found = records.into_iter().filter_map(|(name, record)| {
        let body = bodies.remove(&name)?;
        let (id, variant) = name.split_once(':')?;
        let is_it = record.key == key
            && record.incarnation == incarnation
            && id == id_name(record.id)
            && record.checksum == checksum(&body);
        is_it.then(|| Found {
            record,
            variant: variant.to_owned(),
            body: body.into(),
        })
    });
    found.collect()
}

fn logged_purge(value: &[u8]) -> Option<(u64, Purge, cirrus_core::Timestamp)> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let clock = std::str::from_utf8(&value[..space]).ok()?.parse().ok()?;
    let (purge, at) = decode_purge(&value[space + 1..]).ok()?;
    Some((clock, purge, at))
}

fn number(value: &Option<Vec<u8>>, radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(value.as_deref()?).ok()?;
    u64::from_str_radix(text, radix).ok()
}

/// So that the order of names is that of ids.
fn id_name(id: ObjectId) -> String {
    format!("{:016x}", id.0)
}

fn variant_name(variant: &Variant) -> String {
    format!("{:032x}", xxh3_128(&encode_variant(variant)))
}

fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(why.into())
}
