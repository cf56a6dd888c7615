//! A try that is given up because its time is over.

use std::io;

use tokio::time::Instant;

use super::cluster::Backend;
use super::forward::{Forward, Tries};
use crate::error::{Error, Kind};
use crate::middleware::Context;

/// Held while an endpoint is waited for. Whoever gives a try up drops what waits: dropped too late, it was the
/// endpoint's fault, and it is told here because nobody is left to tell it.
#[derive(Debug)]
#[must_use]
pub(super) struct Overdue<'a> {
    forward: &'a Forward,
    cx: &'a Context,
    backend: &'a Backend,
    tries: &'a mut Tries,
    waits: Waits,
    due: Instant,
}

/// What for.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Connection,
    Response { since: Instant },
}

// === impl Overdue ===

impl<'a> Overdue<'a> {
    /// For a connection. `None` if the try has no time of its own.
    pub(super) fn connecting(
        forward: &'a Forward,
        cx: &'a Context,
        backend: &'a Backend,
        tries: &'a mut Tries,
    ) -> Option<Self> {
        cx.due.map(|due| Self {
            forward,
            cx,
            backend,
            tries,
            waits: Waits::Connection,
            due,
        })
    }

    /// For a response. `None` if the try has no time of its own.
    pub(super) fn exchanging(
        forward: &'a Forward,
        cx: &'a Context,
        backend: &'a Backend,
        tries: &'a mut Tries,
    ) -> Option<Self> {
        Self::connecting(forward, cx, backend, tries).map(|mut overdue| {
            let since = Instant::now();
            overdue.waits = Waits::Response { since };
            overdue
        })
    }

    /// What was waited for is there, or will never be: either way somebody knows.
    pub(super) fn over(this: Option<Self>) {
        std::mem::forget(this);
    }
}

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        // A client that leaves, or a quicker endpoint, does so before.
        if Instant::now() < self.due {
            return;
        }
        self.tries.overdue();
        match self.waits {
            Waits::Connection => {
                let late = io::Error::from(io::ErrorKind::TimedOut);
                drop(self.forward.failed(self.cx, self.backend, late));
            }
            Waits::Response { since } => {
                let late = Error::because(Kind::Deadline, "no response within per_try_timeout");
                let (cluster, checks) = (self.forward.cluster(), &self.cx.worker.engine.checks);
                cluster.broke(self.backend, &late, since.elapsed(), checks);
            }
        }
    }
}
