//! What is stored.

use http::StatusCode;
use serde_json::{Value, json};

use super::State;
use super::answer::{Problem, json};
use super::purge::no_store;
use super::request::parameter;
use crate::body::Response;
use crate::cache::selection::key_of;
use crate::cache::{
    BodyState, CacheKey, CacheStore, LOOKUP_LIMIT, Selection, StoreError, Stored, within,
};
use crate::clock::Timestamp;

// === impl State ===

impl State {
    /// How much is stored, and how far the log of purges is read.
    pub(super) fn cache(&self) -> Result<Response, Problem> {
        let store = self.engine.store.as_ref().ok_or_else(no_store)?;
        let usage = store.usage().map(|usage| {
            json!({
                "objects": usage.objects,
                "bytes": usage.bytes,
                "capacity": usage.capacity,
                "evicted": usage.evicted,
            })
        });
        let purger = self.engine.purger.as_ref();
        let log = purger.and_then(|purger| purger.log()).map(|log| {
            json!({
                "position": log.position().map(|position| position.number),
                "log": log.position().map(|position| position.log.to_string()),
                "age": log.age().map(|age| age.as_secs_f64()),
                "fenced": log.is_fenced(),
            })
        });
        Ok(json(&json!({"usage": usage, "purge_log": log})))
    }

    /// Every variant of a URL, under all keys that the site's routes make of it. Those with header fields or cookies in
    /// them cannot be listed.
    pub(super) async fn lookup(&self, query: Option<&str>) -> Result<Response, Problem> {
        let store = self.engine.store.as_ref().ok_or_else(no_store)?;
        let url = parameter(query, "url")
            .ok_or_else(|| Problem::bad("which URL? `?url=https%3A%2F%2Fshop.example%2Fpage`"))?;
        let key = key_of(&url).map_err(|error| Problem::bad(format!("{url}: {error}")))?;
        let mut found = Vec::new();
        for what in self.engine.live.now().selections(&key) {
            if let Selection::Url(key) = what {
                found.extend(every(&**store, &key).await?);
            }
        }
        let now = self.engine.clock.now();
        let variants: Vec<_> = found.iter().map(|stored| variant(stored, now)).collect();
        Ok(json(
            &json!({"url": key.to_string(), "stored": !variants.is_empty(), "variants": variants}),
        ))
    }
}

/// In whichever place.
async fn every(store: &dyn CacheStore, key: &CacheKey) -> Result<Vec<Stored>, Problem> {
    let down = |error: StoreError| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let looking = within(LOOKUP_LIMIT, store.lookup(key));
    let mut found = looking.await.map_err(down)?;
    if !found.is_empty() {
        let looking = within(LOOKUP_LIMIT, store.lookup_rest(key, &found));
        let rest = looking.await.map_err(down)?;
        found.extend(rest);
    }
    Ok(found)
}

fn variant(stored: &Stored, now: Timestamp) -> Value {
    let (meta, freshness) = (&stored.meta, stored.meta.freshness());
    let vary = meta.vary.iter().map(|(name, value)| {
        let value = value.map(String::from_utf8_lossy);
        json!({"name": name, "value": value})
    });
    let tags: Vec<&str> = meta.tags.iter().collect();
    let (age, lifetime) = (freshness.age(now), freshness.lifetime);
    json!({
        "status": meta.status.as_u16(),
        "age": age.as_secs(),
        "lifetime": lifetime.as_secs(),
        // Negative once it is stale, as in `Cache-Status`.
        "ttl": lifetime.as_secs() as i64 - age.as_secs() as i64,
        "fresh": !freshness.no_cache && age < lifetime,
        "stale_while_revalidate": freshness.while_revalidate.as_secs(),
        "stale_if_error": freshness.if_error.as_secs(),
        "bytes": stored.body.size().or(meta.length),
        "complete": stored.body.state() == BodyState::Whole,
        "vary": vary.collect::<Vec<_>>(),
        "tags": tags,
    })
}
