//! One watch on one key.

use cirrus_core::BoxError;
use cirrus_core::discovery::{Endpoints, ServiceName};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::RedisError;
use super::key::Key;
use super::link::{Client, Session};
use crate::address::Address;
use crate::pace::{Rest, about};
use crate::records::Records;
use crate::telling::{PACE, Telling};

/// One watch. A hint says when to read; what is read is the truth.
#[derive(Debug)]
pub(super) struct Watch {
    client: Client,
    addresses: Vec<Address>,
    key: String,
    records: Records,
    session: Option<Session>,
    /// When it is read, hint or not.
    due: Instant,
    /// When it is read because of a hint.
    hinted: Option<Instant>,
    last_read: Option<Instant>,
    /// Before this nobody is connected to.
    not_before: Instant,
    rest: Rest,
    telling: Telling,
}

type Item = Result<Endpoints, BoxError>;

// === impl Watch ===

impl Watch {
    pub(super) fn new(client: Client, name: ServiceName, key: Key) -> Self {
        let now = Instant::now();
        let addresses = match key.addresses.is_empty() {
            true => client.addresses().to_vec(),
            false => key.addresses,
        };
        Self {
            client,
            addresses,
            key: key.text,
            records: Records::of(name),
            session: None,
            due: now,
            hinted: None,
            last_read: None,
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

    async fn step(&mut self) -> Result<(), RedisError> {
        // Taken out: what breaks off in the middle is never used again.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect().await?,
        };
        let now = Instant::now();
        let is_whole = self.due <= now;
        if is_whole || self.hinted.is_some_and(|at| at <= now) {
            self.session = self.read(session, is_whole).await?;
            return Ok(());
        }
        let times = [Some(self.due), self.hinted, self.telling.at()];
        let until = times.into_iter().flatten().min().unwrap_or(self.due);
        match timeout_at(until, session.hint()).await {
            Err(_) => {}
            Ok(true) => self.hinted(),
            // Redis is gone, or was: connecting again tells.
            Ok(false) => return Ok(()),
        }
        self.session = Some(session);
        Ok(())
    }

    async fn connect(&mut self) -> Result<Session, RedisError> {
        sleep_until(self.not_before).await;
        self.not_before = Instant::now() + PACE;
        let session = self.client.session(&self.addresses, &self.key).await?;
        // What has happened meanwhile nobody tells.
        self.due = Instant::now();
        Ok(session)
    }

    /// Reads everything. `None` if it is somewhere else by now.
    async fn read(
        &mut self,
        mut session: Session,
        is_whole: bool,
    ) -> Result<Option<Session>, RedisError> {
        if is_whole && self.has_moved(&session).await {
            return Ok(None);
        }
        let at = session.at.clone();
        let asked = async {
            if is_whole {
                session.is_told().await?;
            }
            session.read(&self.key).await
        };
        let Some(records) = self.client.within(&at, asked).await? else {
            return Ok(None);
        };
        let now = Instant::now();
        (self.hinted, self.last_read) = (None, Some(now));
        self.rest = Rest::default();
        let is_new = self.records.replace(records);
        if is_whole {
            self.due = now + about(self.client.read_every());
            self.telling.now();
        } else if is_new {
            self.telling.soon();
        }
        Ok(Some(session))
    }

    /// A master that was cut off from the others believes that it still is one: Sentinels know better.
    async fn has_moved(&self, session: &Session) -> bool {
        let master = self.client.master(&self.addresses).await;
        master.is_some_and(|master| master != session.at)
    }

    /// It is read at once, unless it was a moment ago. Many hints are one.
    fn hinted(&mut self) {
        let now = Instant::now();
        let earliest = self.last_read.map_or(now, |last| last + PACE);
        self.hinted.get_or_insert(earliest.max(now));
    }

    fn failed(&mut self) {
        (self.session, self.hinted) = (None, None);
        self.telling.failed();
        self.not_before = self.rest.end();
    }
}
