//! The rules of HTTP caching as tests: the public HTTP cache test collection, through a real proxy with any store.
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
mod run;

use std::collections::HashMap;

pub use self::model::{Kind, Suite, Test};
use self::run::End;
use crate::cache::CacheStore;
use crate::clock::ManualClock;

/// Expands to a module with one test for each suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __cache_rules {
    (async $make:expr) => {
        $crate::__cache_rules!(@all { async $make });
    };
    (|$clock:ident| $make:expr) => {
        $crate::__cache_rules!(@all { async |$clock| $make });
    };
    (@all $make:block) => {
        mod cache_rules {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;
            $crate::__cache_rules!(@each $make
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
pub const EXCEPTIONS: &[(&str, &str)] = &[];

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

/// Runs a suite, each of its tests with a store of its own.
///
/// # Panics
///
/// With all that failed, if something failed that is no exception, or an exception did not fail.
pub async fn check<S: CacheStore>(suite: &str, store: impl AsyncFn(ManualClock) -> S) {
    let suite = self::suite(suite);
    let mut ends = HashMap::new();
    for test in suite.tests.iter().filter(|test| !test.browser_only) {
        ends.insert(test.id.as_str(), run::run(test, &store).await);
    }
    let wrong: Vec<_> = suite
        .tests
        .iter()
        .filter_map(|test| wrong(test, &ends))
        .collect();
    assert!(wrong.is_empty(), "{}:\n{}", suite.name, wrong.join("\n"));
}

fn wrong(test: &Test, ends: &HashMap<&str, End>) -> Option<String> {
    let end = ends.get(test.id.as_str())?;
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
