//! One watch on one prefix.

use std::time::Duration;

use bytes::Bytes;
use cirrus_core::BoxError;
use cirrus_core::discovery::{Endpoints, ServiceName};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::EtcdError;
use super::answer::{self, Kind, Line, Range, Told, read};
use super::client::{Client, Session};
use super::prefix::Prefix;
use crate::link::Lines;
use crate::pace::{Rest, about};
use crate::records::Records;
use crate::telling::{PACE, Telling};

/// One watch: what was read, and what was told of it since.
#[derive(Debug)]
pub(super) struct Watch {
    session: Session,
    prefix: Prefix,
    records: Records,
    /// Up to which `records` are true; 0 before anything was read.
    revision: u64,
    /// Whose revision that is.
    cluster: String,
    /// Tells of changes.
    changes: Option<Lines>,
    /// Whether they have begun.
    heard: bool,
    read_every: Duration,
    /// When everything is read again.
    due: Instant,
    /// Before this nobody is asked.
    not_before: Instant,
    rest: Rest,
    telling: Telling,
}

type Item = Result<Endpoints, BoxError>;

// === impl Watch ===

impl Watch {
    pub(super) fn new(client: &Client, name: ServiceName, prefix: Prefix) -> Self {
        let now = Instant::now();
        Self {
            session: client.session(prefix.addresses.clone()),
            prefix,
            records: Records::of(name),
            revision: 0,
            cluster: String::new(),
            changes: None,
            heard: false,
            read_every: client.read_every(),
            due: now,
            not_before: now,
            rest: Rest::default(),
            telling: Telling::default(),
        }
    }

    /// Waits for something to say.
    pub(super) async fn next(mut self) -> Option<(Item, Self)> {
        loop {
            if self.telling.is_due() {
                if let Some(item) = self.telling.say(&self.records) {
                    return Some((item, self));
                }
                continue;
            }
            if let Err(error) = self.step().await {
                self.failed();
                return Some((Err(error.into()), self));
            }
        }
    }

    async fn step(&mut self) -> Result<(), EtcdError> {
        if self.due <= Instant::now() {
            sleep_until(self.not_before).await;
            return self.read().await;
        }
        let until = self.telling.at().map_or(self.due, |at| at.min(self.due));
        let Some(changes) = &mut self.changes else {
            sleep_until(self.not_before).await;
            return self.begin().await;
        };
        match timeout_at(until, changes.next()).await {
            Err(_) => Ok(()),
            Ok(Ok(Some(line))) => self.hear(&line),
            Ok(Ok(None)) => self.lost("it was closed".to_owned()),
            Ok(Err(error)) => self.lost(error.to_string()),
        }
    }

    /// Reads everything: that is the truth.
    async fn read(&mut self) -> Result<(), EtcdError> {
        let question = answer::range(&self.prefix);
        let range: Range = self.session.ask("/v3/kv/range", &question).await?;
        if range.header.revision == 0 {
            return Err(EtcdError::Answer("it has no revision".into()));
        }
        let went_back = self.is_older(&range.header.cluster_id, range.header.revision);
        if went_back {
            tracing::warn!(
                prefix = self.prefix.text,
                "etcd has another state than before"
            );
        }
        let pairs = range.kvs.into_iter().map(|pair| (pair.key, pair.value));
        // What the watch did not tell, it may never tell.
        if self.records.replace(pairs) || went_back {
            self.changes = None;
        }
        self.revision = range.header.revision;
        self.cluster = range.header.cluster_id;
        self.rest = Rest::default();
        self.due = Instant::now() + about(self.read_every);
        self.telling.now();
        Ok(())
    }

    /// Begins to be told of what changes, from where it is known.
    async fn begin(&mut self) -> Result<(), EtcdError> {
        self.not_before = Instant::now() + PACE;
        let question = answer::watch(&self.prefix, self.revision + 1);
        self.heard = false;
        self.changes = Some(self.session.lines("/v3/watch", &question).await?);
        Ok(())
    }

    fn hear(&mut self, line: &Bytes) -> Result<(), EtcdError> {
        let line: Line = read(line)?;
        if let Some(error) = line.error {
            // A server that ends, or has lost the others: another one may do better.
            return self.lost(error.to_string());
        }
        let Some(told) = line.result else {
            return Err(EtcdError::Answer("neither a result nor an error".into()));
        };
        if told.canceled {
            return self.cancelled(&told);
        }
        self.heard = true;
        // From a revision that is still to come nothing would be told for as long as it takes.
        if told.created && self.is_older(&told.header.cluster_id, told.header.revision) {
            self.due = Instant::now();
        }
        self.apply(told);
        Ok(())
    }

    /// What was missed is gone from etcd too: everything is read again.
    fn cancelled(&mut self, told: &Told) -> Result<(), EtcdError> {
        self.changes = None;
        if told.compact_revision == 0 {
            let reason = format!("the watch is refused: {}", told.cancel_reason);
            return Err(EtcdError::Answer(reason));
        }
        self.due = Instant::now();
        Ok(())
    }

    fn apply(&mut self, told: Told) {
        let (known, mut is_new) = (self.revision, false);
        for event in told.events {
            let pair = event.kv;
            if pair.mod_revision <= known {
                continue;
            }
            self.revision = self.revision.max(pair.mod_revision);
            is_new |= match event.kind {
                Kind::Put => self.records.put(pair.key, pair.value),
                Kind::Delete => self.records.remove(&pair.key),
            };
        }
        if is_new {
            self.telling.soon();
        }
    }

    /// Another cluster's state, or one from before.
    fn is_older(&self, cluster: &str, revision: u64) -> bool {
        self.revision > 0 && (revision < self.revision || cluster != self.cluster)
    }

    /// The watch goes on at the next server, from where it is. One that has not begun is a failure: others may not either.
    fn lost(&mut self, why: String) -> Result<(), EtcdError> {
        tracing::debug!(why, prefix = self.prefix.text, "a watch on etcd is lost");
        self.changes = None;
        self.session.give_up();
        match self.heard {
            true => Ok(()),
            false => Err(EtcdError::Broken(why)),
        }
    }

    /// After a rest everything is read again: nobody knows what has happened meanwhile.
    fn failed(&mut self) {
        let now = Instant::now();
        (self.changes, self.due) = (None, now);
        self.telling.failed();
        self.not_before = self.rest.end();
    }
}
