//! Names become addresses: asked for once for all workers, kept as long as their records allow, and longer if nobody
//! answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::race::interleave;
use crate::metrics::Counter;
use crate::server::Tasks;

/// Where answers come from.
pub(super) trait Lookup: Send + Sync + 'static {
    /// Asks for the addresses of a name. Called where it may read a file.
    fn lookup(&self, name: &Arc<str>) -> BoxFuture<'static, Result<Answer, NoAnswer>>;
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Why there are no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The name does not exist, or has no address; so says whoever must know.
    Missing {
        /// How long that holds.
        ttl: Option<Duration>,
    },
    /// Nobody answered, or not to the point.
    Failed(String),
}

/// A name has no addresses to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve `{name}`: {why}")]
pub(crate) struct Unresolved {
    name: Arc<str>,
    why: Arc<str>,
}

/// Answers, kept. One for all workers; each name has a lock of its own, held for no longer than a look takes.
pub(crate) struct Resolver {
    lookup: Arc<dyn Lookup>,
    /// Where lookups run: a worker may end before what it has asked for has come. By default wherever it is asked.
    home: Option<Handle>,
    tasks: Tasks,
    names: Mutex<HashMap<Arc<str>, Arc<Name>, RandomState>>,
    counts: Arc<Counts>,
}

/// What is counted about names.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) lookups: Counter,
    pub(crate) failures: Counter,
    pub(crate) stale: Counter,
}

/// What is known about one name.
struct Name {
    text: Arc<str>,
    state: Mutex<State>,
    settled: Notify,
}

struct State {
    answer: Option<Kept>,
    /// Why the last lookup brought nothing, and until when nobody need ask again.
    trouble: Option<(Unresolved, Instant)>,
    /// Failures in a row.
    failures: u32,
    /// A lookup is under way.
    asking: bool,
    used: Instant,
}

struct Kept {
    /// In the order in which they are to be tried.
    addresses: Arc<[IpAddr]>,
    /// From here on another lookup is worth while.
    refresh: Instant,
    until: Instant,
}

/// A lookup under way. Dropped unfinished, it has failed.
struct Asking {
    name: Arc<Name>,
    counts: Arc<Counts>,
    done: bool,
}

/// What a look at a name's state says.
enum Seen {
    Addresses(Arc<[IpAddr]>),
    Trouble(Unresolved),
    /// A lookup is under way. With a time: what is stale will do from then on.
    Nothing(Option<Instant>),
}

/// Shortest and longest times for which an answer is fresh.
const FRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Shortest and longest times for which a name is not asked for again that does not exist, or that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long an answer is of use when nobody gives a newer one (RFC 8767 §5).
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How long a request waits for a newer answer when a stale one is there.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long one lookup may take.
const LOOKUP: Duration = Duration::from_secs(10);

/// The most names that are kept.
const MAX_NAMES: usize = 10_000;

// === impl Resolver ===

impl Resolver {
    /// One that keeps what `lookup` answers. Lookups run on the runtime of whoever makes it, if there is one.
    pub(super) fn new(lookup: impl Lookup) -> Self {
        Self {
            lookup: Arc::new(lookup),
            home: Handle::try_current().ok(),
            tasks: Tasks::default(),
            names: Mutex::default(),
            counts: Arc::default(),
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The addresses of a name, in the order in which they are to be tried; never an empty list.
    ///
    /// # Cancel safety
    ///
    /// The lookup goes on for others when the future is dropped.
    pub(super) async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        let name = self.name(name);
        let patience = Instant::now() + PATIENCE;
        loop {
            let mut settled = std::pin::pin!(name.settled.notified());
            // Before the look: what is settled after it is heard.
            settled.as_mut().enable();
            let (seen, ask) = name.look(patience, &self.counts);
            if ask {
                self.ask(&name);
            }
            match seen {
                Seen::Addresses(addresses) => return Ok(addresses),
                Seen::Trouble(trouble) => return Err(trouble),
                Seen::Nothing(None) => settled.await,
                Seen::Nothing(Some(until)) => {
                    // Late or not: the next look knows.
                    let _ = tokio::time::timeout_at(until, settled).await;
                }
            }
        }
    }

    /// This address of a name could be connected to: its family is tried first until the next answer comes.
    pub(super) fn worked(&self, name: &str, address: IpAddr) {
        let known = self.names.lock().get(name).cloned();
        let Some(known) = known else { return };
        let mut state = known.state.lock();
        if let Some(kept) = &mut state.answer
            && kept
                .addresses
                .first()
                .is_some_and(|first| first.is_ipv6() != address.is_ipv6())
        {
            kept.addresses = interleave(&kept.addresses, address.is_ipv6()).into();
        }
    }

    fn name(&self, text: &str) -> Arc<Name> {
        let mut names = self.names.lock();
        if let Some(known) = names.get(text) {
            return Arc::clone(known);
        }
        if names.len() >= MAX_NAMES {
            forget_oldest(&mut names);
        }
        let text: Arc<str> = text.into();
        let name = Arc::new(Name::new(Arc::clone(&text)));
        names.insert(text, Arc::clone(&name));
        name
    }

    /// Asks in the background; whoever waits for the name hears of it.
    fn ask(&self, name: &Arc<Name>) {
        self.counts.lookups.add(1);
        let asking = Asking {
            name: Arc::clone(name),
            counts: Arc::clone(&self.counts),
            done: false,
        };
        let lookup = Arc::clone(&self.lookup);
        let work = async move {
            let answer = lookup.lookup(&asking.name.text);
            let answer = tokio::time::timeout(LOOKUP, answer).await;
            asking.done(answer.unwrap_or_else(|_| Err(failed("no answer in time"))));
        };
        match &self.home {
            Some(home) => self.tasks.spawn_on(home, work),
            None => self.tasks.spawn(work),
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("names", &self.names.lock().len())
            .finish_non_exhaustive()
    }
}

fn failed(why: &str) -> NoAnswer {
    NoAnswer::Failed(why.to_owned())
}

/// An eighth at a time, so that the search for them is rare.
fn forget_oldest(names: &mut HashMap<Arc<str>, Arc<Name>, RandomState>) {
    let mut all: Vec<(Instant, Arc<str>)> = names
        .values()
        .map(|name| (name.state.lock().used, Arc::clone(&name.text)))
        .collect();
    all.sort_unstable();
    for (_, text) in &all[..all.len().div_ceil(8)] {
        names.remove(text);
    }
}

// === impl Name ===

impl Name {
    fn new(text: Arc<str>) -> Self {
        Self {
            text,
            state: Mutex::new(State {
                answer: None,
                trouble: None,
                failures: 0,
                asking: false,
                used: Instant::now(),
            }),
            settled: Notify::new(),
        }
    }

    /// What is known now, and whether the caller has to ask.
    fn look(&self, patience: Instant, counts: &Counts) -> (Seen, bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.used = now;
        let ask = !state.asking && state.is_due(now);
        state.asking |= ask;
        (state.see(now, patience, counts), ask)
    }

    fn settle(&self, answer: Result<Answer, NoAnswer>, counts: &Counts) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.asking = false;
        match answer {
            Ok(answer) if !answer.addresses.is_empty() => state.keep(&answer, now),
            Ok(Answer { ttl, .. }) => self.missing(&mut state, Some(ttl), now),
            Err(NoAnswer::Missing { ttl }) => self.missing(&mut state, ttl, now),
            Err(NoAnswer::Failed(why)) => {
                counts.failures.add(1);
                self.failed(&mut state, &why, now);
            }
        }
        drop(state);
        self.settled.notify_waiters();
    }

    fn missing(&self, state: &mut State, ttl: Option<Duration>, now: Instant) {
        let wait = ttl.unwrap_or(RETRY.0).clamp(RETRY.0, RETRY.1);
        state.answer = None;
        state.failures = 0;
        state.trouble = Some((self.unresolved("there is no such name"), now + wait));
    }

    fn failed(&self, state: &mut State, why: &str, now: Instant) {
        if state.failures == 0 && state.answer.is_some() {
            tracing::warn!(name = %self.text, why, "cannot be resolved; its last addresses stay in use");
        }
        let wait = RETRY
            .0
            .saturating_mul(1 << state.failures.min(16))
            .min(RETRY.1);
        state.failures += 1;
        state.trouble = Some((self.unresolved(why), now + wait));
    }

    fn unresolved(&self, why: &str) -> Unresolved {
        Unresolved {
            name: Arc::clone(&self.text),
            why: why.into(),
        }
    }
}

// === impl State ===

impl State {
    fn is_due(&self, now: Instant) -> bool {
        match (&self.trouble, &self.answer) {
            (Some((_, until)), _) => now >= *until,
            (None, Some(kept)) => now >= kept.refresh,
            (None, None) => true,
        }
    }

    fn see(&self, now: Instant, patience: Instant, counts: &Counts) -> Seen {
        if let Some(kept) = self.answer.as_ref().filter(|kept| now < kept.until + STALE) {
            let fresh = now < kept.until;
            // Somebody has asked in vain, or waits in vain.
            if !fresh && self.trouble.is_none() && now < patience {
                return Seen::Nothing(Some(patience));
            }
            counts.stale.add(u64::from(!fresh));
            return Seen::Addresses(Arc::clone(&kept.addresses));
        }
        match &self.trouble {
            Some((trouble, until)) if now < *until => Seen::Trouble(trouble.clone()),
            _ => Seen::Nothing(None),
        }
    }

    fn keep(&mut self, answer: &Answer, now: Instant) {
        let ttl = answer.ttl.clamp(FRESH.0, FRESH.1);
        self.failures = 0;
        self.trouble = None;
        self.answer = Some(Kept {
            addresses: interleave(&answer.addresses, true).into(),
            refresh: now + ttl.mul_f64(0.9),
            until: now + ttl,
        });
    }
}

// === impl Asking ===

impl Asking {
    fn done(mut self, answer: Result<Answer, NoAnswer>) {
        self.done = true;
        self.name.settle(answer, &self.counts);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.done {
            self.name
                .settle(Err(failed("the lookup was given up")), &self.counts);
        }
    }
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
mod tests;
