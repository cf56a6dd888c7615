//! What an [`Acme`] is made of.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use cirrus_core::{BoxError, Clock, SystemClock};
use tokio::sync::{Semaphore, mpsc, watch};

use super::account::Member;
use super::http::Http;
use super::manage::Seen;
use super::on_demand::OnDemand;
use super::orders::Orders;
use super::provider::{Acme, Inner};
use super::served::Served;
use super::settings::{Authority, Challenge, Renewal, Wanted};
use super::store::CertStore;

/// Takes the parts of an [`Acme`].
#[must_use]
pub struct AcmeBuilder {
    store: Arc<dyn CertStore>,
    authorities: Vec<Authority>,
    contact: Vec<String>,
    wanted: Vec<Wanted>,
    on_demand: Option<OnDemand>,
    challenge: Challenge,
    renewal: Renewal,
    capacity: usize,
    clock: Arc<dyn Clock>,
}

/// Names waiting to be ordered on demand.
const MAX_ASKS: usize = 256;

/// Answers to challenges that are read at the same time.
const MAX_ANSWERS: usize = 32;

// === impl AcmeBuilder ===

impl AcmeBuilder {
    pub(super) fn new(store: Arc<dyn CertStore>) -> Self {
        Self {
            store,
            authorities: Vec::new(),
            contact: Vec::new(),
            wanted: Vec::new(),
            on_demand: None,
            challenge: Challenge::default(),
            renewal: Renewal::default(),
            capacity: 10_000,
            clock: Arc::new(SystemClock),
        }
    }

    /// Asks this authority, after those before it. By default nobody is asked, and what is in the store is served.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authorities.push(authority);
        self
    }

    /// Where authorities may write to: `mailto:` URLs.
    pub fn contact(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.contact = urls.into_iter().map(Into::into).collect();
        self
    }

    /// Obtains and renews this one.
    pub fn want(mut self, wanted: Wanted) -> Self {
        if !wanted.names.is_empty() {
            self.wanted.push(wanted);
        }
        self
    }

    /// Obtains certificates for names when they are first asked for.
    pub fn on_demand(mut self, on_demand: OnDemand) -> Self {
        self.on_demand = Some(on_demand);
        self
    }

    /// Shows control like this over names that nobody has written down and an operator orders. By default by HTTP-01.
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = challenge;
        self
    }

    /// Renews like this.
    pub fn renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    /// As many parsed certificates are kept in memory, and a few more. Default: 10,000.
    pub fn capacity(mut self, certificates: usize) -> Self {
        self.capacity = certificates;
        self
    }

    /// With another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// The roots of an authority cannot be read, or those of the system.
    pub fn build(self) -> Result<Acme, BoxError> {
        let served = Arc::new(Served::new(Arc::clone(&self.store), self.capacity));
        let members = self.authorities.into_iter().map(|authority| {
            let http = Http::new(authority.roots.as_deref(), Arc::clone(&self.clock));
            let http = http.map_err(|error| format!("{}: {error}", authority.name))?;
            Ok(Member::new(authority, http))
        });
        let orders = Orders {
            store: Arc::clone(&self.store),
            served: Arc::clone(&served),
            members: members.collect::<Result<_, BoxError>>()?,
            contact: self.contact,
            renewal: self.renewal,
            clock: self.clock,
        };
        let wanted: Vec<_> = self.wanted.into_iter().map(Arc::new).collect();
        let (asks, asked) = mpsc::channel(MAX_ASKS);
        Ok(Acme::of(Inner {
            store: self.store,
            served,
            orders,
            routes: routes(&wanted),
            wanted,
            on_demand: self.on_demand,
            asks,
            asked: Mutex::new(Some(asked)),
            news: watch::Sender::new(0),
            answering: Semaphore::new(MAX_ANSWERS),
            challenge: self.challenge,
            seen: Seen::default(),
        }))
    }
}

impl fmt::Debug for AcmeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeBuilder")
            .field("authorities", &self.authorities)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// A name that several certificates have belongs to the first.
fn routes(wanted: &[Arc<Wanted>]) -> HashMap<String, Arc<str>> {
    let mut routes = HashMap::new();
    for wanted in wanted {
        let id: Arc<str> = wanted.id().into();
        for name in &wanted.names {
            routes
                .entry(name.clone())
                .or_insert_with(|| Arc::clone(&id));
        }
    }
    routes
}
