//! What a connection waits for besides its client: time and the end of serving.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use crate::server::Drain;

/// One timer for all of a connection's waits, and the signals of draining.
///
/// Setting the timer costs nothing: it fires at the time it was first set to, and only then looks what it is set to now.
pub(super) struct Waits {
    drain: Drain,
    signal: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_draining: bool,
    until: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The time that was set is over.
    Late,
    /// Draining has begun.
    Draining,
    /// The time for draining is over.
    Over,
}

// === impl Waits ===

impl Waits {
    pub(super) fn new(drain: &Drain, first: Instant) -> Self {
        let begun = drain.clone();
        Self {
            drain: drain.clone(),
            signal: Box::pin(async move { begun.begun().await }),
            is_draining: false,
            until: None,
            timer: Box::pin(tokio::time::sleep_until(first)),
        }
    }

    /// [`Event::Late`] is due then.
    pub(super) fn until(&mut self, time: Instant) {
        self.until = Some(time);
        if time < self.timer.deadline() {
            self.timer.as_mut().reset(time);
        }
    }

    /// As long as it takes.
    pub(super) fn forever(&mut self) {
        self.until = None;
    }

    /// Draining has begun, as far as anybody has looked.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// The next thing that happens.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.signal.as_mut().poll(cx).is_ready() {
            if self.is_draining {
                return Poll::Ready(Event::Over);
            }
            self.is_draining = true;
            let over = self.drain.clone();
            self.signal = Box::pin(async move { over.over().await });
            return Poll::Ready(Event::Draining);
        }
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        while self.timer.as_mut().poll(cx).is_ready() {
            if until <= Instant::now() {
                self.until = None;
                return Poll::Ready(Event::Late);
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}
