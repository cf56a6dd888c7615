//! The store with the log of purges before it, if there is one.

use std::sync::Arc;
use std::time::Duration;

use super::supervise::{Drain, Tasks};
use crate::cache::log::{Fence, Grace, Reader};
use crate::cache::purger::{Doer, Purger};
use crate::cache::{CacheKey, CacheStore, PurgeLog, Purges};
use crate::config::Live;

/// How long a start waits for the purges that were missed. Afterwards what was stored before stays unused until then.
const CATCH_UP: Duration = Duration::from_secs(10);

/// The grace of a log that a program gives without a configuration of its own for it.
const GRACE: Duration = Duration::from_secs(10);

/// What the engine needs of it.
pub(super) struct Purging {
    pub(super) store: Option<Arc<dyn CacheStore>>,
    pub(super) purger: Option<Purger>,
}

/// Begins to follow the log, and waits until what was missed is done.
pub(super) async fn begin(
    store: Option<Arc<dyn CacheStore>>,
    log: Option<Arc<dyn PurgeLog>>,
    live: &Arc<Live>,
    purges: &Arc<Purges>,
    tasks: &Tasks,
    background: &Drain,
) -> Purging {
    let Some(store) = store else {
        return Purging {
            store: None,
            purger: None,
        };
    };
    let known = Arc::clone(live);
    let meaning = move |key: &CacheKey| known.now().selections(key);
    let doer = Doer::new(Arc::clone(&store), Box::new(meaning), Arc::clone(purges));
    let Some(log) = log else {
        // Nothing tells what this edge had purged before it was started.
        purges.begin_anew();
        let purger = Some(Purger::new(doer, None));
        return Purging {
            store: Some(store),
            purger,
        };
    };
    let fence = Fence::around(store);
    let config = Arc::clone(&live.now().config);
    let grace = config.cache.purge_log.as_ref();
    let grace = Grace(grace.map_or(GRACE, |log| log.grace.as_duration()));
    let (reader, following) = Reader::new(log, Arc::clone(&fence), Arc::clone(&doer), grace);
    tasks.spawn(reader.run(background.clone()));
    if !following.caught_up(CATCH_UP).await {
        tracing::warn!(
            "the purge log is not read to its end yet; what is stored is not used until it is"
        );
    }
    Purging {
        store: Some(fence),
        purger: Some(Purger::new(doer, Some(following))),
    }
}
