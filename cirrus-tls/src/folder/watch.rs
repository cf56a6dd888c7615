//! Notices that a directory has changed.

use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Inner;

/// A notification is a hint: this long after the last reading the next one comes anyway.
const FULL_READ: Duration = Duration::from_secs(60);

/// Whoever writes two files is given this much quiet to finish, but not for ever.
const QUIET: Duration = Duration::from_millis(200);
const NEVER_QUIET: Duration = Duration::from_secs(2);

/// Reads the folder again whenever it may have changed.
pub(super) async fn run(folder: &Arc<Inner>) {
    let changed = Arc::new(Notify::new());
    let mut watcher = watcher(folder, &changed);
    loop {
        // Each time anew, because a directory that was replaced is another one; and before the reading, so that
        // nothing between the two is missed.
        if let Some(watcher) = &mut watcher {
            let _ = watcher.watch(&folder.path, RecursiveMode::NonRecursive);
        }
        reload(folder).await;
        if timeout(FULL_READ, changed.notified()).await.is_ok() {
            settle(&changed).await;
        }
    }
}

fn watcher(folder: &Inner, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let notice = move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, |event| is_change(&event.kind)) {
            changed.notify_one();
        }
    };
    notify::recommended_watcher(notice)
        .inspect_err(|error| {
            let path = folder.path.display();
            tracing::warn!(%path, %error, "cannot be watched: changes are noticed within a minute");
        })
        .ok()
}

/// Our own reading is an event too, and must not lead to the next.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

async fn reload(folder: &Arc<Inner>) {
    let inner = Arc::clone(folder);
    if let Err(error) = tokio::task::spawn_blocking(move || inner.reload()).await {
        let path = folder.path.display();
        tracing::error!(%path, %error, "reading the certificates failed; they stay as they are");
    }
}

async fn settle(changed: &Notify) {
    let quiet = async { while timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = timeout(NEVER_QUIET, quiet).await;
}
