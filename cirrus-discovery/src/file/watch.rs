//! One watch on a file: the stream itself looks, so that nothing is left when it is dropped.

use std::time::Duration;

use cirrus_core::config::Config;
use cirrus_core::{BoxError, Updates};
use futures_util::stream;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::File;
use super::hints::Hints;
use super::reader::Reader;

/// A notification is a hint: this long after the last look the next one comes anyway.
const FULL_READ: Duration = Duration::from_secs(30);

/// The same where there are no notifications.
const POLL: Duration = Duration::from_secs(2);

/// A file that has not changed for this long is written to its end …
const REST: Duration = Duration::from_millis(100);

/// … but one that never comes to rest is read nevertheless, after so many of them.
const RESTLESS: usize = 20;

/// What a stream takes along from one item to the next.
struct Watch {
    reader: Reader,
    hints: Hints,
    /// Something may have happened that nobody has looked at: at the beginning everything.
    due: bool,
}

type Item = Result<Config, BoxError>;

/// Begins when the stream is polled first.
pub(super) fn begin(file: File) -> Updates<Config> {
    let watch = Watch::on(file);
    Box::pin(stream::unfold(Some(watch), |watch| async {
        match watch?.next().await {
            Ok((item, watch)) => Some((item, Some(watch))),
            // The thread that had the watch has panicked or is gone. The engine begins another after a while.
            Err(error) => Some((Err(error.into()), None)),
        }
    }))
}

// === impl Watch ===

impl Watch {
    fn on(file: File) -> Self {
        let name = file.absolute.file_name().unwrap_or_default();
        Self {
            hints: Hints::on(file.directory(), name),
            reader: Reader::of(file),
            due: true,
        }
    }

    /// The next item, as soon as there is one.
    async fn next(mut self) -> Result<(Item, Self), JoinError> {
        loop {
            if !std::mem::take(&mut self.due) {
                self.wake().await;
                self = self.rest().await?;
            }
            let item;
            (self, item) = self.look().await?;
            if let Some(item) = item {
                return Ok((item, self));
            }
        }
    }

    async fn wake(&self) {
        let longest = if self.hints.is_active() {
            FULL_READ
        } else {
            POLL
        };
        let _ = timeout(longest, self.hints.next()).await;
    }

    /// Gives whoever writes the time to finish.
    async fn rest(mut self) -> Result<Self, JoinError> {
        let (mut before, mut now);
        (self, before) = self.blocking(|watch| watch.reader.stamp()).await?;
        for _ in 0..RESTLESS {
            sleep(REST).await;
            (self, now) = self.blocking(|watch| watch.reader.stamp()).await?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(self)
    }

    async fn look(self) -> Result<(Self, Option<Item>), JoinError> {
        self.blocking(|watch| {
            // Before the reading, so that nothing between the two is missed.
            watch.hints.renew();
            watch.reader.look()
        })
        .await
    }

    /// File systems may hang, and parsing takes its time: neither may hold up whoever polls.
    async fn blocking<T: Send + 'static>(
        mut self,
        work: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Result<(Self, T), JoinError> {
        let done = spawn_blocking(move || {
            let result = work(&mut self);
            (self, result)
        });
        done.await
    }
}
