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
    /// The signal and the timer have been polled, and neither was ready: they wake whoever waits.
    is_armed: bool,
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
            is_armed: false,
        }
    }

    /// [`Event::Late`] is due then.
    pub(super) fn until(&mut self, time: Instant) {
        self.until = Some(time);
        if time < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(time);
            self.is_armed = false;
        }
    }

    /// Whatever happens will wake the connection without another look: that would cost more than the rest of a wait.
    ///
    /// Draining is asked for all the same: its signal may have woken the connection in the middle of a request, where
    /// nobody looked.
    pub(super) fn is_armed(&self) -> bool {
        self.is_armed && !self.drain.has_begun()
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
            self.is_armed = false;
            let over = self.drain.clone();
            self.signal = Box::pin(async move { over.over().await });
            return Poll::Ready(Event::Draining);
        }
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        self.is_armed = false;
        while self.timer.as_mut().poll(cx).is_ready() {
            if until <= Instant::now() {
                self.until = None;
                return Poll::Ready(Event::Late);
            }
            self.timer.as_mut().reset(until);
        }
        self.is_armed = true;
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_signal_that_nobody_looked_at_is_not_lost() {
        let drain = Drain::default();
        let late = Instant::now() + Duration::from_secs(60);
        let mut waits = Waits::new(&drain, late);
        waits.until(late);
        let is_pending = poll_fn(|cx| Poll::Ready(waits.poll(cx).is_pending())).await;
        assert!(is_pending);
        assert!(waits.is_armed());
        drain.begin();
        assert!(!waits.is_armed());
        assert_eq!(poll_fn(|cx| waits.poll(cx)).await, Event::Draining);
    }
}
