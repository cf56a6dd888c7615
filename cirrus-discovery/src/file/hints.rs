//! Notices that something has happened to a file.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches the directory of a file: the file itself may be replaced by another one.
#[derive(Debug)]
pub(crate) struct Hints {
    directory: PathBuf,
    name: OsString,
    changed: Arc<Notify>,
    /// Ends its thread when dropped.
    watcher: Option<RecommendedWatcher>,
    active: bool,
}

// === impl Hints ===

impl Hints {
    /// None come before [`renew`](Self::renew).
    pub(crate) fn on(directory: &Path, name: &OsStr) -> Self {
        Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            changed: Arc::default(),
            watcher: None,
            active: false,
        }
    }

    /// Watches the directory that is there now (blocking): one that was replaced is another one.
    pub(crate) fn renew(&mut self) {
        let watched = self.watch();
        if let Err(error) = &watched {
            let directory = self.directory.display();
            tracing::debug!(%directory, %error, "no notifications");
        }
        self.active = watched.is_ok();
    }

    /// Whether notifications may be expected.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Waits until something has happened since this last resolved.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub(crate) async fn next(&self) {
        self.changed.notified().await;
    }

    fn watch(&mut self) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => none.insert(watcher(self.name.clone(), Arc::clone(&self.changed))?),
        };
        watcher.watch(&self.directory, RecursiveMode::NonRecursive)
    }
}

fn watcher(name: OsString, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| may_concern(&event, &name)) {
            changed.notify_one();
        }
    })
}

fn may_concern(event: &Event, name: &OsStr) -> bool {
    let of_the_file = || {
        event
            .paths
            .iter()
            .any(|path| path.file_name() == Some(name))
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => of_the_file(),
        // Our own reading is an event too, and must not lead to the next.
        EventKind::Access(_) => false,
        // Whatever comes, goes or is renamed may be a link on the way to the file.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RenameMode};

    use super::*;

    #[test]
    fn only_what_may_concern_the_file_is_a_hint() {
        let (close, open) = (AccessMode::Write, AccessMode::Any);
        let about = |kind, path: &str| {
            let event = Event::new(kind).add_path(PathBuf::from(path));
            may_concern(&event, OsStr::new("cirrus.toml"))
        };
        let written = [
            EventKind::Access(AccessKind::Close(close)),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        ];
        for kind in written {
            assert!(about(kind, "/etc/cirrus.toml"), "{kind:?}");
            assert!(!about(kind, "/etc/access.log"), "{kind:?}");
        }
        let moved = [
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
        ];
        for kind in moved {
            assert!(about(kind, "/etc/..data"), "{kind:?}");
        }
        let read = EventKind::Access(AccessKind::Open(open));
        assert!(!about(read, "/etc/cirrus.toml"));
    }

    #[test]
    fn dropped_hints_leave_no_thread_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut hints = Hints::on(directory.path(), OsStr::new("cirrus.toml"));
        hints.renew();
        assert!(hints.is_active());
        let thread = Arc::downgrade(&hints.changed);
        drop(hints);
        // The thread has the bell as long as it lives.
        let begun = tokio::time::Instant::now();
        while thread.upgrade().is_some() {
            assert!(begun.elapsed().as_secs() < 10, "the thread lives on");
            std::thread::yield_now();
        }
    }
}
