//! The rules of HTTP caching as tests: the public HTTP cache test collection, and what it leaves out in the same format
//! (`ours`), through a real proxy with any store.
//!
//! ```ignore
//! cirrus_core::testing::cache_rules!(|clock| MemoryStore::builder().clock(Arc::new(clock)).build());
//! // A store that is opened asynchronously:
//! cirrus_core::testing::cache_rules!(async |clock| RedisStore::emptied(URL, clock).await);
//! ```
//!
//! The expression gets the proxy's clock and gives an empty store. Where the collection waits, the clock is moved on.
//! Every required test must pass, and every optimal one; what does not is listed in [`EXCEPTIONS`] with its reason, and
//! must go on failing to stay there. Where the collection only asks how a cache behaves, nothing is asserted.

mod model;
mod origin;
mod program;
mod run;

use std::collections::HashMap;

pub use self::model::{Kind, Suite, Test};
pub use self::program::check_program;
use self::run::End;
use crate::cache::CacheStore;
use crate::clock::ManualClock;

/// Expands to a module with one test for each suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __cache_rules {
    (async |$clock:ident| $make:expr) => {
        $crate::__cache_rules!(@all { async |$clock| $make });
    };
    (|$clock:ident| $make:expr) => {
        $crate::__cache_rules!(@all { async |$clock| $make });
    };
    (@all $make:block) => {
        mod cache_rules {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;
            $crate::__cache_rules!(@each $make
                ours_age ours_targeted ours_fields ours_defaults ours_strip ours_ttl ours_override ours_head
                age_parse auth cc_freshness cc_parse cc_request cc_response conditional_inm conditional_lm expires
                expires_parse headers heuristic invalidation method other partial pragma stale status
                surrogate_control update304 updatehead vary vary_parse
            );
        }
    };
    (@each $make:block $($suite:ident)*) => {
        $(
            #[test]
            fn $suite() {
                let suite = stringify!($suite);
                $crate::testing::store_suite::run($crate::testing::cache_rules::check(suite, $make));
            }
        )*
        #[test]
        fn no_suite_is_left_out() {
            let run = [$(stringify!($suite)),*];
            for suite in $crate::testing::cache_rules::names() {
                assert!(run.contains(&suite), "{suite}");
            }
        }
    };
}

/// Tests that do not pass, and why that is right.
///
/// Those about `Age` and `ETag` are older than RFC 9111, which says the opposite; later versions of the collection do too.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    ("age-parse-nonnumeric", AGE),
    ("age-parse-negative", AGE),
    ("age-parse-float", AGE),
    ("age-parse-parameter", AGE),
    ("age-parse-numeric-parameter", AGE),
    ("age-parse-prefix-twoline", AGES),
    ("age-parse-dup-0", AGES),
    ("age-parse-dup-0-twoline", AGES),
    ("age-parse-dup-old", AGES),
    (
        "304-etag-update-response-ETag",
        "a 304 with another strong validator is about another response and updates nothing (RFC 9111 §4.3.4): the \
         stored one is fetched anew",
    ),
    (
        "conditional-lm-fresh-no-lm",
        "the stored `Date` is later than the condition: the client may have something older (RFC 9111 §4.3.2)",
    ),
    (
        "headers-store-Transfer-Encoding",
        "with a transfer coding that nobody knows, nobody knows where the message ends (RFC 9112 §6.1): 502",
    ),
    (
        "method-POST",
        "what answers a POST is never stored: few origins mean `Content-Location` and freshness that way",
    ),
    (
        "vary-normalise-lang-order",
        "many origins take the first of languages that are wanted alike",
    ),
    (
        "vary-normalise-lang-select",
        "negotiation is the origin's: it alone knows what else it has",
    ),
    (
        "vary-normalise-space",
        "in a field whose syntax is not known, a space may mean something",
    ),
    ("partial-store-partial-reuse-partial", PARTS),
    ("partial-store-partial-reuse-partial-byterange", PARTS),
    ("partial-store-partial-reuse-partial-absent", PARTS),
    ("partial-store-partial-reuse-partial-suffix", PARTS),
    ("partial-store-partial-complete", PARTS),
];

const AGE: &str = "an `Age` that is no number is ignored (RFC 9111 §5.1)";
const AGES: &str = "of several `Age`s the first counts (RFC 9111 §5.1)";
const PARTS: &str = "partial responses are not stored as such";

/// The suites, by name.
const SUITES: &[(&str, &str)] = &[
    ("age_parse", include_str!("collection/age-parse.json")),
    ("auth", include_str!("collection/auth.json")),
    ("cc_freshness", include_str!("collection/cc-freshness.json")),
    ("cc_parse", include_str!("collection/cc-parse.json")),
    ("cc_request", include_str!("collection/cc-request.json")),
    ("cc_response", include_str!("collection/cc-response.json")),
    (
        "conditional_inm",
        include_str!("collection/conditional-inm.json"),
    ),
    (
        "conditional_lm",
        include_str!("collection/conditional-lm.json"),
    ),
    ("expires", include_str!("collection/expires.json")),
    (
        "expires_parse",
        include_str!("collection/expires-parse.json"),
    ),
    ("headers", include_str!("collection/headers.json")),
    ("heuristic", include_str!("collection/heuristic.json")),
    ("invalidation", include_str!("collection/invalidation.json")),
    ("method", include_str!("collection/method.json")),
    ("other", include_str!("collection/other.json")),
    ("partial", include_str!("collection/partial.json")),
    ("pragma", include_str!("collection/pragma.json")),
    ("stale", include_str!("collection/stale.json")),
    ("status", include_str!("collection/status.json")),
    (
        "surrogate_control",
        include_str!("collection/surrogate-control.json"),
    ),
    ("update304", include_str!("collection/update304.json")),
    ("updatehead", include_str!("collection/updatehead.json")),
    ("vary", include_str!("collection/vary.json")),
    ("vary_parse", include_str!("collection/vary-parse.json")),
    ("ours_age", include_str!("ours/age.json")),
    ("ours_targeted", include_str!("ours/targeted.json")),
    ("ours_fields", include_str!("ours/fields.json")),
    ("ours_defaults", include_str!("ours/defaults.json")),
    ("ours_strip", include_str!("ours/strip.json")),
    ("ours_ttl", include_str!("ours/ttl.json")),
    ("ours_override", include_str!("ours/override.json")),
    ("ours_head", include_str!("ours/head.json")),
];

/// The names of all suites.
pub fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|(name, _)| *name)
}

/// The suite of this name.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn suite(name: &str) -> Suite {
    let found = SUITES.iter().find(|(other, _)| *other == name);
    let (_, text) = found.expect("a suite of that name");
    serde_json::from_str(text).expect("the collection's format")
}

/// Runs a suite, each of its tests with a store of its own. From then on every proxy of the process waits longer for
/// stores than it should: a rule says nothing about how fast they are.
///
/// # Panics
///
/// With all that failed, if something failed that is no exception, or an exception did not fail.
pub async fn check<S: CacheStore>(suite: &str, store: impl AsyncFn(ManualClock) -> S) {
    crate::cache::wait_longer();
    let suite = self::suite(suite);
    let mut ends = HashMap::new();
    for test in suite.tests.iter().filter(|test| !test.browser_only) {
        ends.insert(
            test.id.as_str(),
            run::run(test, suite.cache.as_deref(), &store).await,
        );
    }
    let wrong: Vec<_> = suite
        .tests
        .iter()
        .filter_map(|test| wrong(test, ends.get(test.id.as_str())?))
        .collect();
    assert!(wrong.is_empty(), "{}:\n{}", suite.name, wrong.join("\n"));
}

fn wrong(test: &Test, end: &End) -> Option<String> {
    let exception = EXCEPTIONS.iter().find(|(id, _)| *id == test.id);
    match (end, exception) {
        (End::Passed, Some(_)) => Some(format!("{}: passes and is no exception", test.id)),
        (End::Passed, None) | (_, Some(_)) => None,
        (End::Unprepared(why) | End::Failed(why), None) if test.kind != Kind::Check => Some(
            format!("{} ({:?}): {why} [{}]", test.id, test.kind, test.name),
        ),
        _ => None,
    }
}
