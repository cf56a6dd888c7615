//! Objects, in Redis and on their way there.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::cache::buffer;
use cirrus_core::cache::epochs::{Era, Verdict};
use cirrus_core::cache::{CacheKey, Meta, Moment, ObjectId, StoreError, Stored, Variant};
use http::HeaderMap;
use xxhash_rust::xxh3::xxh3_128;

use super::codec::{Record, checksum, encode_variant};
use super::fill::RedisFill;
use super::growing::Object;
use super::ledger::{BUCKETS, Head, Ledger};
use super::{Inner, Name, Values, number, unavailable};

/// How long after it became useless an object is kept to be confirmed by its origin: 10 minutes.
const GRACE: Duration = Duration::from_secs(600);

/// The longest time that anything is kept: 30 days.
const MOST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// All bodies of one URL have room for so many of the largest.
const BODIES: u64 = 4;

/// An object as Redis has it.
struct Found {
    record: Record,
    variant: String,
    body: Bytes,
}

// === impl Inner ===

impl Inner {
    pub(super) fn name(&self, key: &CacheKey) -> Name {
        let hash = xxh3_128(key.to_string().as_bytes());
        Name {
            key: format!("{}u:{hash:032x}", self.prefix),
            // Less than `BUCKETS`.
            bucket: u64::try_from(hash % u128::from(BUCKETS)).unwrap_or_default(),
        }
    }

    pub(super) async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        let found = self.find(key).await?;
        Ok(found.into_iter().map(|(stored, _)| stored).collect())
    }

    pub(super) async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut found = self.find(key).await?;
        found.retain(|(_, asked)| *asked >= moment);
        Ok(found.into_iter().map(|(stored, _)| stored).collect())
    }

    /// What there is, and when the origin was asked for it: [`Meta::asked`] is not what Redis has.
    async fn find(&self, key: &CacheKey) -> Result<Vec<(Stored, Moment)>, StoreError> {
        // Before Redis is asked: a fill that ends goes from here to there, and may be seen twice, but is never missed.
        let growing = self.growing.find(key);
        let name = self.name(key);
        let looking = self.look(key, &name);
        let (ledger, objects) = tokio::time::timeout(self.timeout, looking)
            .await
            .map_err(|_| unavailable("Redis did not answer in time"))??;
        let mut found = Vec::with_capacity(growing.len() + objects.len());
        for object in &growing {
            if object.incarnation != ledger.incarnation {
                continue;
            }
            let verdict = ledger.judge_growing(&object.era, key, name.bucket, &object.meta);
            let asked = ledger.moment_of(object.era.born());
            found.extend(judged(verdict, object.stored()).map(|stored| (stored, asked)));
        }
        for object in objects {
            let verdict = ledger.judge(&object.record.era, key, &object.record.meta);
            let asked = ledger.moment_of(object.record.era.born());
            found.extend(judged(verdict, object.stored()?).map(|stored| (stored, asked)));
        }
        found.sort_by_key(|(stored, _)| Reverse(stored.id));
        found.dedup_by_key(|(stored, _)| stored.id);
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

    pub(super) fn insert(
        self: &Arc<Self>,
        key: &CacheKey,
        mut meta: Meta,
    ) -> Result<RedisFill, StoreError> {
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
            era: Era::restored(born, born),
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
    pub(super) async fn send(
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

    pub(super) async fn refresh(
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
        let freshness = meta.freshness();
        let stale = freshness.while_revalidate.max(freshness.if_error);
        let useful = freshness.remaining(self.clock.now()).saturating_add(stale);
        let kept = useful.saturating_add(GRACE).min(MOST_KEPT);
        u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)
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

fn judged(verdict: Verdict, stored: Stored) -> Option<Stored> {
    match verdict {
        Verdict::Live => Some(stored),
        Verdict::Soft(at) => Some(stored.expired(at)),
        Verdict::Dead => None,
    }
}

/// The objects in a URL's hash; what is not readable, not whole or of another time is not there.
fn objects(fields: Vec<Vec<u8>>, key: &str, incarnation: u64) -> Vec<Found> {
    let mut records = Vec::new();
    let mut bodies = HashMap::new();
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

/// So that the order of names is that of ids.
fn id_name(id: ObjectId) -> String {
    format!("{:016x}", id.0)
}

fn variant_name(variant: &Variant) -> String {
    format!("{:032x}", xxh3_128(&encode_variant(variant)))
}
