//! What every [`CacheStore`] must do, as tests.
//!
//! ```ignore
//! cirrus_core::testing::store_suite!(|| MemoryStore::sized(16 << 20));
//! // A store that is opened asynchronously:
//! cirrus_core::testing::store_suite!(async || RedisStore::emptied(URL));
//! ```
//!
//! The expression gives a store that is empty, shares nothing with the others, and has room for some 8 MiB; one of
//! less than 64 MiB is also tested with a body that does not fit. Everything is done within [`LIMIT`], or fails.

mod bodies;
mod purges;
mod variants;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;

pub use self::bodies::*;
pub use self::purges::*;
pub use self::variants::*;
use crate::body::Body;
use crate::cache::{
    ByteRange, CacheKey, CacheStore, Fill, Freshness, Meta, ObjectId, Scheme, Stored, Variant,
};
use crate::clock::{Clock, SystemClock};

/// The longest that one test may take: 60 s.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Expands to a module with one test for each thing that a store must do.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_suite {
    (async $make:expr) => {
        $crate::__store_suite!(@all { ($make)().await });
    };
    ($make:expr) => {
        $crate::__store_suite!(@all { ($make)() });
    };
    (@all $make:block) => {
        mod store_suite {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;
            $crate::__store_suite!(@each $make
                misses_what_was_never_stored
                gives_back_what_was_stored
                keeps_an_empty_body
                is_readable_while_it_grows
                failed_fill_is_an_error_to_its_readers
                dropped_fill_was_never_there
                wrong_length_is_never_stored
                ranges_are_what_they_name
                slow_reader_does_not_hold_up_a_fast_one
                body_that_outgrows_the_store_reaches_its_readers
                many_fills_at_once
                newest_variant_comes_first
                same_variant_is_replaced_and_others_stay
                only_the_end_of_a_fill_retires_the_variant_before
                refresh_changes_that_very_object
                refresh_of_what_is_gone_is_false
                different_urls_never_mix
                slices_never_mix
                purges_by_url
                purges_by_prefix
                purges_by_tag
                purges_by_host
                purges_all
                purge_concerns_fills_in_progress
                purge_spares_what_begins_after_it
                purge_concerns_what_was_asked_for_before_it
                finds_only_what_was_asked_for_since
                purge_cuts_no_reader
                revalidation_answers_a_soft_purge
            );
        }
    };
    (@each $make:block $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::store_suite::run(async { $crate::testing::store_suite::$case($make).await });
            }
        )*
    };
}

/// Runs one test on a runtime of its own.
///
/// # Panics
///
/// If the test fails, or takes longer than [`LIMIT`].
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let in_time = async { tokio::time::timeout(LIMIT, test).await };
    runtime.block_on(in_time).expect("the test ends in time");
}

fn key(host: &str, target: &'static str) -> CacheKey {
    CacheKey::new(Scheme::Https, host, &PathAndQuery::from_static(target))
}

/// Fresh for an hour.
fn fresh() -> Meta {
    let freshness = Freshness {
        received: SystemClock.now(),
        lifetime: Duration::from_secs(3600),
        ..Freshness::default()
    };
    Meta::new(StatusCode::OK, HeaderMap::new()).with_freshness(freshness)
}

fn is_fresh(stored: &Stored) -> bool {
    !stored
        .meta
        .freshness()
        .remaining(SystemClock.now())
        .is_zero()
}

fn vary(value: &'static str) -> Variant {
    Variant::new([(
        http::header::ACCEPT_LANGUAGE,
        Some(HeaderValue::from_static(value)),
    )])
}

fn header(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )])
}

/// `len` bytes, no two parts of which are the same.
fn content(len: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0_u64..)
        .flat_map(|n| (n ^ 0x00C1_AA05).to_be_bytes())
        .take(len)
        .collect();
    bytes.shrink_to_fit();
    bytes.into()
}

async fn begin(store: &impl CacheStore, key: &CacheKey, meta: Meta) -> Box<dyn Fill> {
    store
        .insert(key, meta)
        .await
        .expect("the store takes an object")
}

async fn write(fill: &mut Box<dyn Fill>, chunk: impl Into<Bytes>) {
    fill.write(chunk.into())
        .await
        .expect("the fill takes a chunk");
}

async fn end(fill: Box<dyn Fill>) {
    fill.finish(HeaderMap::new()).await.expect("the fill ends");
}

/// Stores a response.
async fn put(
    store: &impl CacheStore,
    key: &CacheKey,
    meta: Meta,
    body: impl Into<Bytes>,
) -> ObjectId {
    let mut fill = begin(store, key, meta).await;
    let id = fill.stored().id;
    write(&mut fill, body).await;
    end(fill).await;
    id
}

async fn find(store: &impl CacheStore, key: &CacheKey) -> Vec<Stored> {
    store.lookup(key).await.expect("the store can be asked")
}

async fn ids(store: &impl CacheStore, key: &CacheKey) -> Vec<ObjectId> {
    find(store, key)
        .await
        .iter()
        .map(|stored| stored.id)
        .collect()
}

async fn all(body: Body) -> Bytes {
    body.collect().await.expect("an unbroken body").to_bytes()
}

async fn read(stored: &Stored) -> Bytes {
    all(stored.body.read(ByteRange::ALL)).await
}
