//! What the store has to do with the log of purges.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::Timestamp;
use cirrus_core::cache::{CacheKey, Mode, Purge, Purged, Selection, StoreError};

use super::codec::{decode_purge, encode_purge};
use super::ledger::{Head, Ledger};
use super::{Inner, Values, number, unavailable};

/// The longest time for a purge, and for sending a whole object: 1 s at least.
const PATIENCE: Duration = Duration::from_secs(1);

/// Purges read from the log at once.
const AT_ONCE: u64 = 512;

// === impl Inner ===

impl Inner {
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        let connection = self.link.dial().await?;
        let joining = self.joining(&connection.run);
        let head: Values = connection.first(&joining).await?;
        let head = Head::read(&head).ok_or_else(|| unavailable("the log of purges is damaged"))?;
        self.ledgers.of(head);
        self.link.set(connection);
        Ok(())
    }

    fn joining<'a>(&'a self, run: &str) -> redis::ScriptInvocation<'a> {
        // As good as never the same twice.
        let random = foldhash::quality::RandomState::default().hash_one(self.clock.now());
        let mut joining = self.scripts.join.key(&self.log);
        joining.arg(run).arg(format!("{random:x}"));
        joining
    }

    /// Sets the log up again if it is gone.
    pub(super) async fn join(&self) -> Result<Arc<Ledger>, StoreError> {
        let run = self.link.current()?.run.clone();
        let head: Values = self
            .link
            .script(&self.joining(&run), self.patience())
            .await?;
        let head = Head::read(&head).ok_or_else(|| unavailable("the log of purges is damaged"))?;
        self.follow(head).await
    }

    /// The ledger, once it has all purges up to `head`.
    pub(super) async fn follow(&self, head: Head) -> Result<Arc<Ledger>, StoreError> {
        let ledger = self.ledgers.of(head);
        ledger.advance(head.clock);
        if ledger.applied() < head.logged {
            let _alone = self.ledgers.reading.lock().await;
            while ledger.applied() < head.logged {
                self.read_log(&ledger, head).await?;
            }
        }
        Ok(ledger)
    }

    /// Applies the next purges of the log.
    async fn read_log(&self, ledger: &Ledger, head: Head) -> Result<(), StoreError> {
        let next = ledger.applied() + 1;
        let from = next.max(head.oldest);
        let to = head.logged.min(from + AT_ONCE - 1);
        let mut command = redis::cmd("HMGET");
        command.arg(&self.log).arg("inc");
        for place in from..=to {
            command.arg(format!("p:{place}"));
        }
        let values: Values = self.link.command(&command, self.patience()).await?;
        let Some((incarnation, purges)) = values.split_first() else {
            return Err(unavailable("the log of purges is gone"));
        };
        if number(incarnation, 16) != Some(ledger.incarnation) {
            return Err(unavailable("the log of purges was replaced"));
        }
        for (place, logged) in (from..=to).zip(purges) {
            match logged.as_deref().and_then(logged_purge) {
                Some((clock, purge, at)) => {
                    // Some before it are not in the log any more.
                    if place > ledger.applied() + 1 {
                        ledger.forget(place - 1, clock);
                    }
                    ledger.apply(place, clock, &purge, at);
                }
                // It may have been of everything.
                None => ledger.forget(place, head.clock),
            }
        }
        Ok(())
    }

    /// `None` in another incarnation than is known.
    pub(super) async fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let removed = match (&purge.what, purge.mode) {
            (Selection::Url(key), Mode::Hard) => Some((key, self.growing.remove_all(key))),
            _ => None,
        };
        let Some(ledger) = self.ledgers.current() else {
            return Err(unavailable("Redis is not connected"));
        };
        match removed {
            Some((key, growing)) => self.remove(&ledger, key, growing).await,
            None => self.log(&ledger, purge).await,
        }
    }

    async fn log(&self, ledger: &Ledger, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let mut script = self.scripts.log.key(&self.log);
        script
            .arg(format!("{:x}", ledger.incarnation))
            .arg(encode_purge(purge, self.clock.now()));
        let logged: Option<(u64, u64)> = self.link.script(&script, self.patience()).await?;
        let Some((clock, logged)) = logged else {
            return Ok(None);
        };
        let head = Head {
            incarnation: ledger.incarnation,
            clock,
            logged,
            oldest: 1,
        };
        self.follow(head).await?;
        Ok(Some(Purged::default()))
    }

    async fn remove(
        &self,
        ledger: &Ledger,
        key: &CacheKey,
        growing: u64,
    ) -> Result<Option<Purged>, StoreError> {
        let name = self.name(key);
        let mut script = self.scripts.remove.key(&self.log);
        script
            .key(&name.key)
            .arg(format!("{:x}", ledger.incarnation))
            .arg(name.mark());
        let removed: Option<(u64, u64)> = self.link.script(&script, self.patience()).await?;
        Ok(removed.map(|(clock, objects)| {
            ledger.note_removal(name.bucket, clock);
            ledger.advance(clock);
            Purged::counted(growing + objects)
        }))
    }

    pub(super) fn patience(&self) -> Duration {
        self.timeout.max(PATIENCE)
    }
}

fn logged_purge(value: &[u8]) -> Option<(u64, Purge, Timestamp)> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let clock = std::str::from_utf8(&value[..space]).ok()?.parse().ok()?;
    let (purge, at) = decode_purge(&value[space + 1..]).ok()?;
    Some((clock, purge, at))
}
