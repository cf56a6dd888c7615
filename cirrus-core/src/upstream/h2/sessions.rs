//! The connections that one worker shares between requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::{fmt, io};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Gate, MutexGuard};
use tokio::time::Instant;

use super::session::{Lease, Session};
use crate::server::{Drain, Tasks};
use crate::upstream::pool::{Transport, Wire};

/// The shared connections of one worker, by transport.
pub(crate) struct Sessions {
    origins: Mutex<HashMap<Arc<Transport>, Arc<Origin>, RandomState>>,
    tasks: Tasks,
    drain: Drain,
}

/// The connections of one transport. One is opened at a time: whoever waits for it goes on it too.
#[derive(Default)]
pub(crate) struct Origin {
    known: Mutex<Known>,
    gate: Gate<()>,
}

#[derive(Default)]
struct Known {
    open: Vec<Arc<Session>>,
    /// When a connection last failed, and how.
    failed: Option<(Instant, io::ErrorKind, String)>,
    /// It chose HTTP/1.1 when it had the choice: its connections are not shared.
    http1: bool,
}

/// What a request that needs a connection does.
pub(crate) enum Turn<'a> {
    /// Goes on this one.
    Go(Lease),
    /// Opens one. With the gate, others wait for what comes of it.
    Open(Option<MutexGuard<'a, ()>>),
    /// The connection that it waited for has failed.
    Failed(io::Error),
}

// === impl Sessions ===

impl Sessions {
    /// None yet. They end when the time for draining is over.
    pub(crate) fn new(drain: Drain) -> Self {
        Self {
            origins: Mutex::default(),
            tasks: Tasks::default(),
            drain,
        }
    }

    /// The connections of a transport.
    pub(crate) fn of(&self, transport: &Arc<Transport>) -> Arc<Origin> {
        let mut origins = self.origins.lock();
        if let Some(origin) = origins.get(transport) {
            return Arc::clone(origin);
        }
        // Origins come and go: those that nobody has a connection to are forgotten.
        origins.retain(|_, origin| Arc::strong_count(origin) > 1 || !origin.is_empty());
        let origin = Arc::<Origin>::default();
        origins.insert(Arc::clone(transport), Arc::clone(&origin));
        origin
    }

    /// Speaks HTTP/2 on a fresh connection, and lets others on it.
    pub(crate) async fn open(
        &self,
        origin: &Arc<Origin>,
        transport: &Transport,
        wire: Box<Wire>,
    ) -> io::Result<Lease> {
        let (session, work) = Session::open(wire.io, transport.url.scheme()).await?;
        let lease = session.lease();
        origin.add(session);
        self.tasks
            .spawn(work.run(Arc::downgrade(origin), self.drain.clone()));
        Ok(lease)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("origins", &self.origins.lock().len())
            .finish()
    }
}

// === impl Origin ===

impl Origin {
    /// Room on a connection, or the turn to open one.
    ///
    /// # Cancel safety
    ///
    /// A dropped future, or a dropped turn, lets the next one open.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let asked = Instant::now();
        match self.look() {
            Some(turn) => return turn,
            None if self.known.lock().http1 => return Turn::Open(None),
            None => {}
        }
        let gate = self.gate.lock().await;
        if let Some(turn) = self.look() {
            return turn;
        }
        let known = self.known.lock();
        match &known.failed {
            Some((when, kind, message)) if *when >= asked => {
                Turn::Failed(io::Error::new(*kind, message.clone()))
            }
            _ if known.http1 => Turn::Open(None),
            _ => Turn::Open(Some(gate)),
        }
    }

    /// Room on a connection there is.
    fn look(&self) -> Option<Turn<'_>> {
        let mut known = self.known.lock();
        known.open.retain(|session| session.is_open());
        let session = known.open.iter().find(|session| session.has_room())?;
        Some(Turn::Go(session.lease()))
    }

    /// Tells those who wait that no connection came of it.
    pub(crate) fn failed(&self, error: &io::Error) {
        self.known.lock().failed = Some((Instant::now(), error.kind(), error.to_string()));
    }

    /// What the origin chose when it had the choice.
    pub(crate) fn chose_http1(&self, http1: bool) {
        self.known.lock().http1 = http1;
    }

    /// Lets requests on a connection.
    pub(super) fn add(&self, session: Arc<Session>) {
        self.known.lock().open.push(session);
    }

    /// No further requests for this connection.
    pub(super) fn forget(&self, session: &Arc<Session>) {
        let mut known = self.known.lock();
        known.open.retain(|one| !Arc::ptr_eq(one, session));
    }

    /// The same, unless a request has just come.
    pub(super) fn forget_idle(&self, session: &Arc<Session>) {
        let mut known = self.known.lock();
        if session.streams() == 0 {
            known.open.retain(|one| !Arc::ptr_eq(one, session));
        }
    }

    fn is_empty(&self) -> bool {
        self.known.lock().open.is_empty()
    }
}
