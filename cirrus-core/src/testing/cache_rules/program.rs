//! The whole table through one program that runs by itself.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::model::Test;
use super::origin::{self, Desk};
use super::run::{ALL, End, run_at, site};
use super::{names, suite, wrong};
use crate::clock::SystemClock;
use crate::testing::RunningOrigin;

/// How many tests run at the same time; some wait for seconds.
const AT_ONCE: usize = 256;

/// How often a test is tried again: a busy machine may have spoilt its times.
const AGAIN: u32 = 2;

/// A test with an origin of its own.
struct Case {
    test: Test,
    host: String,
    cache: String,
    desk: Arc<Desk>,
    origin: RunningOrigin,
}

/// Runs every test of every suite through one program. `start` is given the sites that its configuration needs, each
/// with the URL of an origin, and gives where the program listens, and what keeps it running.
///
/// # Panics
///
/// With all that failed, as [`check`](super::check).
pub async fn check_program<G>(start: impl AsyncFnOnce(&str) -> (SocketAddr, G)) {
    let cases = cases().await;
    let sites: String = cases.iter().map(Case::site).collect();
    let (address, _running) = start(&sites).await;
    let ends = stream::iter(&cases).map(|case| async move {
        let end = case.run(address, &case.host).await;
        (case, end)
    });
    let ends: Vec<_> = ends.buffer_unordered(AT_ONCE).collect().await;
    let mut failed = Vec::new();
    for (case, end) in ends {
        if let Some(why) = case.settle(address, end).await {
            failed.push(why);
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for suite in names().map(suite) {
        let cache = suite.cache.as_deref().unwrap_or(ALL);
        for test in suite.tests.into_iter().filter(|test| !test.browser_only) {
            let desk = Arc::new(Desk::new(&test, SystemClock));
            cases.push(Case {
                test,
                host: format!("t{}.example", cases.len()),
                cache: cache.to_owned(),
                origin: origin::run(Arc::clone(&desk)).await,
                desk,
            });
        }
    }
    cases
}

// === impl Case ===

impl Case {
    fn site(&self) -> String {
        let hosts = format!("\"{0}\", \"*.{0}\"", self.host);
        site(&hosts, &self.origin.url(), &self.cache)
    }

    async fn run(&self, address: SocketAddr, host: &str) -> End {
        run_at(&self.test, &self.desk, address, host).await
    }

    /// What is wrong, and stays wrong at other hosts, of which the cache has nothing yet.
    async fn settle(&self, address: SocketAddr, end: End) -> Option<String> {
        let mut why = wrong(&self.test, &end)?;
        for attempt in 0..AGAIN {
            let host = format!("again-{attempt}.{}", self.host);
            why = wrong(&self.test, &self.run(address, &host).await)?;
        }
        Some(why)
    }
}
