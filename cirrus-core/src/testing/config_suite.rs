//! What every [`ConfigSource`] must do, as tests.
//!
//! ```ignore
//! cirrus_core::testing::config_source_suite!(|| InBucket::emptied(URL));
//! // Something that is opened asynchronously:
//! cirrus_core::testing::config_source_suite!(async || InBucket::emptied(URL).await);
//! ```
//!
//! The expression gives a [`ConfigFixture`]: a source, and the means to change what it says. It is evaluated once for
//! each test, and shares nothing with the others. What the source is slow to notice, it must notice within [`LIMIT`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use crate::config::{Config, ConfigSource, Format, SiteConfig};
use crate::{BoxError, Updates};

/// The longest that a source may take to say something: 10 s.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A source, and the means to change what it says.
pub trait ConfigFixture {
    /// The source. Each one it gives says the same.
    fn source(&self) -> Arc<dyn ConfigSource>;

    /// Makes the source say what this TOML text says; always a good one. Comes before the first watch.
    fn put(&self, toml: &str) -> impl Future<Output = ()>;

    /// Puts something there that is no configuration. `false` if a source of this kind cannot hold such a thing; what
    /// is to be seen of it is not tested then.
    fn put_garbage(&self) -> impl Future<Output = bool>;
}

/// Expands to a module with one test for each thing that a configuration source must do.
#[doc(hidden)]
#[macro_export]
macro_rules! __config_source_suite {
    (async || $make:expr) => {
        $crate::__config_source_suite!(@all { async { $make }.await });
    };
    (|| $make:expr) => {
        $crate::__config_source_suite!(@all { $make });
    };
    (@all $make:block) => {
        mod config_source_suite {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;
            $crate::__config_source_suite!(@each $make
                present_configuration_comes_first
                change_follows
                last_of_several_changes_follows
                unchanged_sites_stay_the_same
                garbage_is_an_error_and_not_the_end
                garbage_at_the_start_is_mended
                late_watch_begins_with_the_present
                two_watches_are_independent
                dropped_watches_leave_room_for_others
            );
        }
    };
    (@each $make:block $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::config_suite::run(async { $crate::testing::config_suite::$case($make).await });
            }
        )*
    };
    ($make:expr) => {
        $crate::__config_source_suite!(@all { $make });
    };
}

const ONE: &str = r#"
    [[site]]
    hosts = ["one.example"]
    origin = [{ url = "http://127.0.0.1:3001" }]
"#;

const TWO: &str = r#"
    [[site]]
    hosts = ["one.example"]
    origin = [{ url = "http://127.0.0.1:3001" }]

    [[site]]
    hosts = ["two.example"]
    origin = [{ url = "http://127.0.0.1:3002", weight = 2 }]
"#;

/// The second site is another one, the first stays, and a third comes before both.
const THREE: &str = r#"
    [[site]]
    hosts = ["three.example"]
    origin = [{ url = "http://127.0.0.1:3003" }]

    [[site]]
    hosts = ["one.example"]
    origin = [{ url = "http://127.0.0.1:3001" }]

    [[site]]
    hosts = ["two.example"]
    origin = [{ url = "http://127.0.0.1:3002", weight = 7 }]
"#;

/// Runs one test on a runtime of its own.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

// === the behaviours ===

#[doc(hidden)]
pub async fn present_configuration_comes_first(fixture: impl ConfigFixture) {
    let mut updates = watch(&fixture, TWO).await;
    assert_eq!(first(&mut updates).await.site, sites(TWO));
}

#[doc(hidden)]
pub async fn change_follows(fixture: impl ConfigFixture) {
    let mut updates = watch(&fixture, ONE).await;
    first(&mut updates).await;
    for next in [TWO, THREE, ONE] {
        fixture.put(next).await;
        until(&mut updates, next).await;
    }
}

#[doc(hidden)]
pub async fn last_of_several_changes_follows(fixture: impl ConfigFixture) {
    let mut updates = watch(&fixture, ONE).await;
    first(&mut updates).await;
    for next in [TWO, ONE, TWO, THREE] {
        fixture.put(next).await;
    }
    until(&mut updates, THREE).await;
}

#[doc(hidden)]
pub async fn unchanged_sites_stay_the_same(fixture: impl ConfigFixture) {
    let mut updates = watch(&fixture, TWO).await;
    let before = first(&mut updates).await;
    fixture.put(THREE).await;
    let after = until(&mut updates, THREE).await;
    let (unchanged, changed) = (&after.site[1], &after.site[2]);
    assert!(
        Arc::ptr_eq(unchanged, &before.site[0]) || *unchanged == before.site[0],
        "one.example has not changed, but {unchanged:?} is not {:?}",
        before.site[0]
    );
    assert!(
        !Arc::ptr_eq(changed, &before.site[1]),
        "two.example has changed, but is the same `Arc`"
    );
    assert_eq!(
        before.site,
        sites(TWO),
        "what was given is changed by nobody"
    );
}

#[doc(hidden)]
pub async fn garbage_is_an_error_and_not_the_end(fixture: impl ConfigFixture) {
    let mut updates = watch(&fixture, TWO).await;
    first(&mut updates).await;
    if fixture.put_garbage().await {
        error(&mut updates).await;
        fixture.put(THREE).await;
        until(&mut updates, THREE).await;
    }
}

#[doc(hidden)]
pub async fn garbage_at_the_start_is_mended(fixture: impl ConfigFixture) {
    fixture.put(ONE).await;
    if fixture.put_garbage().await {
        let mut updates = fixture.source().watch();
        let item = next(&mut updates).await;
        assert!(item.is_err(), "garbage first is an error, not {item:?}");
        fixture.put(TWO).await;
        until(&mut updates, TWO).await;
    }
}

#[doc(hidden)]
pub async fn late_watch_begins_with_the_present(fixture: impl ConfigFixture) {
    let mut updates = watch(&fixture, ONE).await;
    first(&mut updates).await;
    fixture.put(TWO).await;
    until(&mut updates, TWO).await;
    let mut late = fixture.source().watch();
    assert_eq!(first(&mut late).await.site, sites(TWO));
}

#[doc(hidden)]
pub async fn two_watches_are_independent(fixture: impl ConfigFixture) {
    fixture.put(ONE).await;
    let source = fixture.source();
    let (mut here, mut there) = (source.watch(), source.watch());
    first(&mut here).await;
    first(&mut there).await;
    fixture.put(TWO).await;
    until(&mut here, TWO).await;
    until(&mut there, TWO).await;
    drop(here);
    fixture.put(THREE).await;
    until(&mut there, THREE).await;
}

#[doc(hidden)]
pub async fn dropped_watches_leave_room_for_others(fixture: impl ConfigFixture) {
    fixture.put(ONE).await;
    let source = fixture.source();
    for _ in 0..200 {
        first(&mut source.watch()).await;
    }
    let mut updates = source.watch();
    first(&mut updates).await;
    fixture.put(TWO).await;
    until(&mut updates, TWO).await;
}

// === what they have in common ===

async fn watch(fixture: &impl ConfigFixture, toml: &str) -> Updates<Config> {
    fixture.put(toml).await;
    fixture.source().watch()
}

async fn next(updates: &mut Updates<Config>) -> Result<Config, BoxError> {
    let item = timeout(LIMIT, updates.next()).await;
    item.expect("the source says something in time")
        .expect("the watch does not end")
}

async fn first(updates: &mut Updates<Config>) -> Config {
    next(updates).await.expect("the present configuration")
}

/// Waits for these sites. On the way there a source may repeat itself, or notice less than the whole.
async fn until(updates: &mut Updates<Config>, toml: &str) -> Config {
    let wanted = sites(toml);
    let found = async {
        loop {
            match next(updates).await {
                Ok(config) if config.site == wanted => break config,
                Ok(_) | Err(_) => {}
            }
        }
    };
    let found = timeout(LIMIT, found).await;
    found.expect("the configuration that was put arrives in time")
}

async fn error(updates: &mut Updates<Config>) -> BoxError {
    let found = async {
        loop {
            if let Err(error) = next(updates).await {
                break error;
            }
        }
    };
    let found = timeout(LIMIT, found).await;
    found.expect("garbage is an error")
}

fn sites(toml: &str) -> Vec<Arc<SiteConfig>> {
    let parsed = Config::parse(toml, Format::Toml);
    parsed.expect("a good configuration").0.site
}
