//! A cluster for every service that a path names, made when it is first asked for.

mod follow;
mod naming;
mod slot;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use http::Uri;
use http::uri::PathAndQuery;
use parking_lot::Mutex;

use super::{Cluster, Forward, Rules};
use crate::body::{Request, Response};
use crate::config::NamePattern;
use crate::discovery::{Endpoints, ServiceName};
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};
use crate::server::Engine;
pub(crate) use naming::Naming;
use naming::Place;
use slot::{Slot, State};

/// How long a request waits until discovery speaks of a service for the first time.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// What a client is told to wait when there is no room for another service.
const FULL_WAIT: Duration = Duration::from_secs(5);

/// What a gateway's author decides.
#[derive(Clone, Debug)]
pub(crate) struct GatewayRules {
    /// What tells it from other gateways in the names of its clusters.
    pub(crate) label: Box<str>,
    /// What stands before the datacentre in a path; ends with a slash.
    pub(crate) prefix: Box<str>,
    pub(crate) naming: Naming,
    /// By default every service.
    pub(crate) allow: Vec<NamePattern>,
    pub(crate) deny: Vec<NamePattern>,
    /// Datacentres that stand in for each other.
    pub(crate) failover: Vec<Box<str>>,
    /// Services at the same time.
    pub(crate) most: usize,
    /// How long one is kept that nobody asks for.
    pub(crate) idle: Duration,
    /// How long the last endpoints of one stay that discovery does not know any more.
    pub(crate) keep: Duration,
    pub(crate) cluster: Rules,
}

/// The services in use. It outlives a configuration that does not change it.
#[derive(Debug)]
pub(crate) struct Gateway {
    rules: GatewayRules,
    /// By datacentre and service, as they stand in a path. Read without a lock.
    slots: ArcSwap<Slots>,
    /// Held while `slots` is replaced.
    change: Mutex<()>,
}

type Slots = HashMap<Box<str>, Arc<Slot>, RandomState>;

/// The end of a stack: an endpoint of the service that the path names answers.
#[derive(Debug)]
pub(crate) struct Through {
    gateway: Arc<Gateway>,
    is_bare: bool,
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn new(rules: GatewayRules) -> Self {
        Self {
            rules,
            slots: ArcSwap::default(),
            change: Mutex::default(),
        }
    }

    /// The datacentre and service that a path names, and the path for them.
    fn split<'p>(&self, path: &'p str) -> Option<(Place<'p>, &'p str)> {
        let (place, rest) = Place::split(path.strip_prefix(&*self.rules.prefix)?)?;
        let matches = |patterns: &[NamePattern]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| pattern.matches(place.service))
        };
        let allowed = self.rules.allow.is_empty() || matches(&self.rules.allow);
        (allowed && !matches(&self.rules.deny)).then_some((place, rest))
    }

    /// The cluster for a place, or for the first that stands in for it and has somebody to ask.
    async fn find(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        place: Place<'_>,
    ) -> Result<Arc<Cluster>, Error> {
        let slot = self.slot(engine, place)?;
        let state = slot.settled(FIRST_WORD).await;
        if state == State::Known && slot.has_somebody() {
            return Ok(Arc::clone(&slot.cluster));
        }
        if let Some(stand_in) = self.stand_in(engine, place).await {
            return Ok(stand_in);
        }
        match state {
            // Answered with when to come again.
            State::Known => Ok(Arc::clone(&slot.cluster)),
            State::Unknown => Err(Error::because(Kind::NoRoute, slot.trouble())),
            State::Asking | State::Failed => {
                Err(Error::because(Kind::NoEndpoint, slot.trouble()).retry_after(FULL_WAIT))
            }
        }
    }

    /// Only datacentres that are named stand in, and for each other: a word that is no datacentre stays unknown.
    async fn stand_in(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        place: Place<'_>,
    ) -> Option<Arc<Cluster>> {
        let failover = &self.rules.failover;
        if !failover.iter().any(|one| **one == *place.datacentre) {
            return None;
        }
        for other in failover.iter().filter(|one| ***one != *place.datacentre) {
            let text = format!("{other}/{}", place.service);
            let Some((place, _)) = Place::split(&text) else {
                continue;
            };
            let Ok(slot) = self.slot(engine, place) else {
                continue;
            };
            if slot.settled(FIRST_WORD).await == State::Known && slot.has_somebody() {
                return Some(Arc::clone(&slot.cluster));
            }
        }
        None
    }

    /// The slot of a place: the one there is, or a new one that is followed from now on.
    fn slot(self: &Arc<Self>, engine: &Arc<Engine>, place: Place<'_>) -> Result<Arc<Slot>, Error> {
        if let Some(slot) = self.slots.load().get(place.text) {
            slot.touch();
            return Ok(Arc::clone(slot));
        }
        let _changing = self.change.lock();
        let mut slots = Slots::clone(&self.slots.load());
        // Somebody came between the two looks.
        if let Some(slot) = slots.get(place.text) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.rules.most && !make_room(&mut slots) {
            let full = format!("{} services are in use", self.rules.most);
            return Err(Error::because(Kind::Overload, full).retry_after(FULL_WAIT));
        }
        let slot = self.open(engine, place)?;
        slots.insert(place.text.into(), Arc::clone(&slot));
        self.slots.store(Arc::new(slots));
        Ok(slot)
    }

    fn open(self: &Arc<Self>, engine: &Arc<Engine>, place: Place<'_>) -> Result<Arc<Slot>, Error> {
        let feeds = engine.feeds.clone();
        let feeds = feeds.ok_or_else(|| Error::because(Kind::Internal, "no service discovery"))?;
        let service = ServiceName::new(self.rules.naming.reference(place)).ok_or(Kind::NoRoute)?;
        let cluster = Cluster::new(
            // No cluster's name has a space.
            format!("gateway {} {service}", self.rules.label).into(),
            self.rules.cluster.clone(),
            Some(service.clone()),
            &Endpoints::default(),
            None,
        );
        let slot = Arc::new(Slot::new(cluster));
        let following = follow::Following {
            feeds,
            service,
            slot: Arc::downgrade(&slot),
            gateway: Arc::downgrade(self),
            place: place.text.into(),
        };
        let background = &engine.background;
        background.spawn(following.run(background.drain.clone()));
        Ok(slot)
    }

    /// The clusters of services that are known, in the order of their names.
    pub(crate) fn clusters(&self) -> Vec<Arc<Cluster>> {
        let slots = self.slots.load();
        let known = slots.values().filter(|slot| slot.state() == State::Known);
        let mut clusters: Vec<_> = known.map(|slot| Arc::clone(&slot.cluster)).collect();
        clusters.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        clusters
    }

    /// How many services there are in each state, with its name.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 4] {
        let slots = self.slots.load();
        State::ALL.map(|state| {
            let those = slots.values().filter(|slot| slot.state() == state);
            (state.word(), those.count())
        })
    }

    /// Whether its endpoints are watched beyond failures in a row.
    pub(crate) fn is_watched(&self) -> bool {
        self.rules.cluster.watching.is_some()
    }

    /// Takes a slot away, unless another one stands in its place already.
    fn close(&self, place: &str, slot: &Slot) {
        let _changing = self.change.lock();
        let mut slots = Slots::clone(&self.slots.load());
        if slots
            .get(place)
            .is_some_and(|known| std::ptr::eq(&**known, slot))
        {
            slots.remove(place);
            self.slots.store(Arc::new(slots));
        }
    }
}

/// Takes one away that serves nobody; names that nobody knows must not keep out those that somebody does.
fn make_room(slots: &mut Slots) -> bool {
    let useless = slots
        .iter()
        .find(|(_, slot)| matches!(slot.state(), State::Unknown | State::Failed));
    let Some(place) = useless.map(|(place, _)| place.clone()) else {
        return false;
    };
    slots.remove(&place).is_some()
}

// === impl Through ===

impl Through {
    pub(crate) fn new(gateway: Arc<Gateway>, is_bare: bool) -> Self {
        Self { gateway, is_bare }
    }
}

impl Handler for Through {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        let uri = request.uri();
        let (place, rest) = self.gateway.split(uri.path()).ok_or(Kind::NoRoute)?;
        let engine = Arc::clone(&cx.worker.engine);
        let cluster = self.gateway.find(&engine, place).await?;
        *request.uri_mut() = target(rest, uri.query())?;
        Forward::new(cluster, self.is_bare)
            .handle(cx, request)
            .await
    }
}

/// What the service is asked for: what stood behind its name, letter by letter.
fn target(path: &str, query: Option<&str>) -> Result<Uri, Error> {
    let slash = if path.is_empty() { "/" } else { "" };
    let target = match query {
        Some(query) => format!("{slash}{path}?{query}"),
        None => format!("{slash}{path}"),
    };
    PathAndQuery::try_from(target)
        .map(Uri::from)
        .map_err(|error| Error::because(Kind::BadRequest, error))
}
