//! What can be told of what is stored.

use super::report::Explanation;
use crate::cache::{CacheStore, LOOKUP_LIMIT, Lookup, within};
use crate::clock::Timestamp;

/// Looks into the store, which counts as no use of what is found there but what the store itself makes of a look-up.
pub(super) async fn look(
    explanation: &mut Explanation,
    store: Option<&dyn CacheStore>,
    lookup: &Lookup,
    now: Timestamp,
) {
    let Some(store) = store else {
        return;
    };
    let stored = match within(LOOKUP_LIMIT, store.lookup(&lookup.key)).await {
        Ok(stored) => stored,
        Err(error) => {
            explanation.verdict = format!("passed to the origin: {error}");
            return;
        }
    };
    let (variants, found) = lookup.judge(&stored, now);
    let miss = match variants.is_empty() {
        true => "nothing is stored: the origin is asked",
        false => {
            "what is stored is for other values of the fields named by Vary: the origin is asked"
        }
    };
    let what = found.map_or(miss, |place| variants[place].verdict);
    let is_hit = what.starts_with("served");
    explanation.verdict = match (is_hit, lookup.is_only_if_cached()) {
        (false, true) => {
            format!("504, for the request wants no more than the cache has; {what} otherwise")
        }
        _ => what.to_owned(),
    };
    explanation.stored = Some(variants);
}
