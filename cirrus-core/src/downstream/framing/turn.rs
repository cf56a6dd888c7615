//! What the guard of a connection and the requests on it tell each other.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;
use http::{Request, StatusCode, Version, header};
use http_body::Body;

/// What the guard of a connection and the requests on it tell each other.
#[derive(Debug, Default)]
pub(in crate::downstream) struct Turn {
    next: AtomicU8,
    guard: AtomicWaker,
    refused: AtomicBool,
}

/// What comes behind a request for an upgrade.
pub(super) enum Next {
    /// The engine has not answered yet.
    Undecided,
    /// Another request.
    Request,
    /// Another protocol.
    Tunnel,
}

const UNDECIDED: u8 = 0;
const REQUEST: u8 = 1;
const TUNNEL: u8 = 2;

// === impl Turn ===

impl Turn {
    /// Whether the guard waits for the answer to this request; it tells by the same signs.
    pub(in crate::downstream) fn is_awaited<B: Body>(request: &Request<B>) -> bool {
        request.version() == Version::HTTP_11
            && request.headers().contains_key(header::UPGRADE)
            && request.body().is_end_stream()
    }

    /// A request for an upgrade has been answered.
    pub(in crate::downstream) fn decide(&self, status: StatusCode) {
        let next = match status {
            StatusCode::SWITCHING_PROTOCOLS => TUNNEL,
            _ => REQUEST,
        };
        self.next.store(next, Ordering::Release);
        self.guard.wake();
    }

    /// Whether something was refused.
    pub(in crate::downstream) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// A request for an upgrade is on its way to the engine.
    pub(super) fn wait(&self) {
        self.next.store(UNDECIDED, Ordering::Relaxed);
    }

    /// What was decided; wakes the caller when nothing was yet.
    pub(super) fn next(&self, cx: &Context<'_>) -> Next {
        self.guard.register(cx.waker());
        match self.next.load(Ordering::Acquire) {
            REQUEST => Next::Request,
            TUNNEL => Next::Tunnel,
            _ => Next::Undecided,
        }
    }
}
