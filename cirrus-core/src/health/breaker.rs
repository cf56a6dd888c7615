//! A cluster's circuit breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::BreakerConfig;
use crate::error::{Error, Kind};

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// In percent.
    pub(crate) error_rate: Option<u8>,
    open: Duration,
    half_open: u32,
    max_requests: Option<usize>,
}

/// Closed lets every request through, open none, half open a few to see.
#[derive(Debug)]
pub(crate) struct Breaker {
    pub(crate) limits: Limits,
    /// Its cluster's, for the log.
    name: Arc<str>,
    in_flight: AtomicUsize,
    /// The happy path reads this and no more.
    is_closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Since then; `None`: since the beginning.
    Closed(Option<Instant>),
    Open {
        until: Instant,
    },
    HalfOpen {
        good: u32,
        out: u32,
    },
}

/// A request that was let through. Dropped untold it counts neither way.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Arc<Breaker>,
    on_trial: bool,
}

// === impl Limits ===

impl Limits {
    pub(crate) fn of(config: &BreakerConfig) -> Self {
        Self {
            error_rate: config.error_rate,
            open: config.open.as_duration(),
            half_open: config.half_open,
            max_requests: config.max_requests.map(|most| most as usize),
        }
    }
}

// === impl Breaker ===

impl Breaker {
    pub(crate) fn new(name: Arc<str>, limits: Limits) -> Self {
        Self {
            limits,
            name,
            in_flight: AtomicUsize::new(0),
            is_closed: AtomicBool::new(true),
            state: Mutex::new(State::Closed(None)),
        }
    }

    /// As a word.
    pub(crate) fn state(&self) -> &'static str {
        match *self.state.lock() {
            State::Closed(_) => "closed",
            State::Open { until } if Instant::now() < until => "open",
            State::Open { .. } | State::HalfOpen { .. } => "half_open",
        }
    }

    /// Lets a request through.
    ///
    /// # Errors
    ///
    /// [`Kind::Overload`] while it is open, or with too many requests at a time.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Pass, Error> {
        let others = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // From here on it is counted, and given back when dropped.
        let mut pass = Pass {
            breaker: Arc::clone(self),
            on_trial: false,
        };
        if self.limits.max_requests.is_some_and(|most| others >= most) {
            let error = Error::because(Kind::Overload, "too many requests to the cluster");
            return Err(error.retry_after(Duration::from_secs(1)));
        }
        if !self.is_closed.load(Ordering::Relaxed) {
            match self.trial() {
                Ok(on_trial) => pass.on_trial = on_trial,
                Err(wait) => {
                    let error = Error::because(Kind::Overload, "the circuit breaker is open");
                    return Err(error.retry_after(wait));
                }
            }
        }
        Ok(pass)
    }

    /// Whether it is let through to see; how long it is not otherwise.
    fn trial(&self) -> Result<bool, Duration> {
        let (now, mut state) = (Instant::now(), self.state.lock());
        match &mut *state {
            State::Closed(_) => Ok(false),
            State::Open { until } if now < *until => Err(*until - now),
            State::Open { .. } => {
                *state = State::HalfOpen { good: 0, out: 1 };
                Ok(true)
            }
            State::HalfOpen { good, out } if *good + *out < self.limits.half_open => {
                *out += 1;
                Ok(true)
            }
            State::HalfOpen { .. } => Err(Duration::from_secs(1)),
        }
    }

    /// Opens if too much of what was answered lately is wrong. `true` if it opens now.
    pub(crate) fn judge(&self, error_rate: f64, window: Duration) -> bool {
        let Some(most) = self.limits.error_rate else {
            return false;
        };
        let (now, mut state) = (Instant::now(), self.state.lock());
        let State::Closed(since) = *state else {
            return false;
        };
        // What made it open is not held against it twice.
        let is_new = since.is_some_and(|since| now - since < window);
        if is_new || error_rate < f64::from(most) {
            return false;
        }
        self.open(&mut state);
        true
    }

    fn open(&self, state: &mut State) {
        let until = Instant::now() + self.limits.open;
        *state = State::Open { until };
        self.is_closed.store(false, Ordering::Relaxed);
    }

    fn tell(&self, good: bool) {
        let mut state = self.state.lock();
        let State::HalfOpen { good: seen, out } = &mut *state else {
            return;
        };
        *out = out.saturating_sub(1);
        if !good {
            self.open(&mut state);
            tracing::warn!(cluster = %self.name, "the circuit breaker is open again");
            return;
        }
        *seen += 1;
        if *seen >= self.limits.half_open {
            *state = State::Closed(Some(Instant::now()));
            self.is_closed.store(true, Ordering::Relaxed);
            tracing::info!(cluster = %self.name, "the circuit breaker is closed");
        }
    }
}

// === impl Pass ===

impl Pass {
    /// It was answered, or not.
    pub(crate) fn told(&mut self, good: bool) {
        if std::mem::take(&mut self.on_trial) {
            self.breaker.tell(good);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.breaker.in_flight.fetch_sub(1, Ordering::Relaxed);
        // Nothing came of it: another one may see.
        if self.on_trial
            && let State::HalfOpen { out, .. } = &mut *self.breaker.state.lock()
        {
            *out = out.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn breaker(text: &str) -> Arc<Breaker> {
        Arc::new(Breaker::new(
            "a".into(),
            Limits::of(&toml::from_str(text).unwrap()),
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn opens_tries_and_closes() {
        let breaker = breaker("error_rate = 50\nopen = '5s'\nhalf_open = 2");
        assert!(!breaker.judge(49.0, WINDOW));
        assert!(breaker.enter().is_ok());
        assert!(breaker.judge(50.0, WINDOW));
        assert!(!breaker.judge(50.0, WINDOW), "it is open already");
        let refused = breaker.enter().unwrap_err();
        assert_eq!(refused.wait(), Some(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(breaker.state(), "half_open");
        let (mut one, mut two) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        assert!(breaker.enter().is_err(), "two are enough to see");
        one.told(true);
        assert!(breaker.enter().is_err());
        two.told(true);
        assert_eq!(breaker.state(), "closed");
        assert!(breaker.enter().is_ok());
        assert!(!breaker.judge(90.0, WINDOW), "that was before");
        tokio::time::advance(WINDOW).await;
        assert!(breaker.judge(90.0, WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_on_trial_opens_it_again() {
        let breaker = breaker("error_rate = 50\nopen = '5s'\nhalf_open = 2");
        breaker.judge(50.0, WINDOW);
        tokio::time::advance(Duration::from_secs(5)).await;
        let (one, mut two) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        drop(one);
        assert!(breaker.enter().is_ok(), "what was dropped leaves its place");
        two.told(false);
        assert_eq!(breaker.state(), "open");
        assert!(breaker.enter().is_err());
    }

    #[tokio::test]
    async fn so_many_at_a_time() {
        let breaker = breaker("max_requests = 1");
        let pass = breaker.enter().unwrap();
        assert!(breaker.enter().is_err());
        assert!(breaker.enter().is_err());
        drop(pass);
        assert!(breaker.enter().is_ok());
    }
}
