//! A named group of endpoints.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio_util::sync::CancellationToken;

use super::balance::{self, Busy, Load, Member, Order, Plan, Selection, Sticky, Subset, Wanted};
use super::connect::{ClientTls, Introduction};
use super::h1::Times;
use super::ledger::Ledger;
use super::pool::{Keep, Transport};
use super::slots::{Crowd, Slots};
use crate::body::Request;
use crate::config::{HashKey, OriginProtocol};
use crate::discovery::feed::{Feed, Report};
use crate::discovery::{Endpoint, Endpoints, ServiceName};
use crate::health::{Breaker, Ejection, Passive, Watching};
use crate::middleware::Context;

/// A named group of endpoints with its balancing, health and time limits.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    /// Where its endpoints come from, if they are not written in the configuration.
    pub(crate) service: Option<ServiceName>,
    pub(crate) rules: Rules,
    set: ArcSwap<Set>,
    /// So few endpoints are up that all are asked.
    panicking: AtomicBool,
    breaker: Option<Arc<Breaker>>,
    /// What its endpoints have in flight, if that is counted.
    total: Arc<AtomicUsize>,
    /// What may be sent again.
    pub(crate) ledger: Ledger,
    /// Where its endpoints come from, once somebody watches.
    feed: OnceLock<Arc<Feed>>,
    /// Cancelled with the cluster, so that whoever feeds it need not wait to find out.
    pub(crate) life: CancellationToken,
}

/// What a cluster's author decides.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) protocol: OriginProtocol,
    /// Its name, if its pool has rules of its own.
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) connect: Duration,
    pub(crate) times: Times,
    pub(crate) ejection: Ejection,
    /// By default the system's roots, and no certificate of our own.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// Whether origins are told whose connection it is; without the client yet.
    pub(crate) introduction: Option<Introduction>,
    pub(crate) keep: Keep,
    /// By default an endpoint has as many connections as are asked for.
    pub(crate) crowd: Option<Crowd>,
    /// What is watched beyond failures in a row.
    pub(crate) watching: Option<Arc<Watching>>,
    /// By default in turn.
    pub(crate) balance: Option<Arc<Balance>>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug)]
pub(crate) struct Balance {
    pub(crate) plan: Plan,
    /// What of a request decides, if the policy asks for it.
    pub(crate) hash: Option<HashKey>,
    pub(crate) sticky: Option<Sticky>,
    pub(crate) subset: Option<Subset>,
}

/// One endpoint with what is known about it; the same one through every update that keeps it. What a choice reads stands
/// beside the count of who holds it: among thousands, each line of the cache that is read more is one more to wait for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Backend {
    pub(crate) health: Passive,
    pub(crate) transport: Arc<Transport>,
    pub(crate) slots: Arc<Slots>,
    /// The same in all processes.
    name: u64,
    load: Arc<Load>,
    /// What its sessions are known by; 0 if nobody asks.
    session: AtomicU64,
}

/// The endpoints at one moment, with the order in which they are asked.
#[derive(Debug)]
struct Set {
    endpoints: Endpoints,
    /// Those of them that this edge asks, in the order of `backends`.
    asked: Endpoints,
    backends: Box<[Arc<Backend>]>,
    order: Order,
    /// For routes that ask only some of them; made when they are first asked for.
    selected: ArcSwap<Vec<(Arc<Selection>, Arc<Selected>)>>,
}

/// The endpoints that a route asks.
#[derive(Debug)]
struct Selected {
    count: usize,
    order: Order,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster with these endpoints. Those that `before` had too keep their health.
    pub(crate) fn new(
        name: Arc<str>,
        rules: Rules,
        service: Option<ServiceName>,
        endpoints: &Endpoints,
        before: Option<&Self>,
    ) -> Self {
        let breaker = breaker(&name, &rules, before);
        let before = before.map(|cluster| cluster.set.load_full());
        let total = Arc::default();
        let set = Set::new(endpoints, &rules, &total, before.as_deref());
        Self {
            name,
            service,
            rules,
            set: ArcSwap::from_pointee(set),
            panicking: AtomicBool::new(false),
            breaker,
            total,
            ledger: Ledger::new(),
            feed: OnceLock::new(),
            life: CancellationToken::new(),
        }
    }

    /// A cluster for measuring choices.
    #[cfg(feature = "testing")]
    pub(crate) fn of_balance(balance: Balance, endpoints: &Endpoints) -> Self {
        let second = Duration::from_secs(1);
        let rules = Rules {
            protocol: OriginProtocol::Http1,
            owner: None,
            connect: second,
            times: Times {
                first_byte: second,
                idle: second,
            },
            ejection: Ejection {
                failures: 1,
                time: second,
                longest: second,
            },
            tls: None,
            introduction: None,
            keep: Keep::default(),
            crowd: None,
            watching: None,
            balance: Some(Arc::new(balance)),
        };
        Self::new("measured".into(), rules, None, endpoints, None)
    }

    /// Replaces its endpoints. Those that stay keep their health and their pooled connections.
    pub(crate) fn update(&self, endpoints: &Endpoints) {
        let set = Set::new(endpoints, &self.rules, &self.total, Some(&self.set.load()));
        self.set.store(Arc::new(set));
    }

    /// Takes over the endpoints of the cluster that this one replaces, until discovery speaks.
    pub(crate) fn inherit(&self, before: &Self) {
        let known = before.set.load();
        // The rules may be others: those that are connected to in another way begin anew.
        let set = Set::new(&known.endpoints, &self.rules, &self.total, Some(&known));
        self.set.store(Arc::new(set));
    }

    /// Has the endpoints that are known there, and keeps the watch on them going.
    pub(crate) fn fed_by(&self, feed: Arc<Feed>) {
        if let Some(known) = &*feed.subscribe().borrow() {
            self.update(known);
        }
        let _ = self.feed.set(feed);
    }

    /// How discovery goes, if it is asked.
    pub(crate) fn discovery(&self) -> Option<Report> {
        self.feed.get().map(|feed| feed.report())
    }

    /// What a request brings with it for the choice.
    pub(crate) fn wanted(&self, cx: &Context, request: &Request) -> Wanted {
        let Some(balance) = &self.rules.balance else {
            return Wanted::default();
        };
        let (hash, sticky) = (balance.hash.as_ref(), balance.sticky.as_ref());
        Wanted {
            key: hash.and_then(|by| balance::key(by, cx, request)),
            session: sticky.and_then(|sticky| sticky.asked(request.headers())),
        }
    }

    /// Whether clients are told their sessions.
    pub(crate) fn is_sticky(&self) -> bool {
        let balance = self.rules.balance.as_ref();
        balance.is_some_and(|balance| balance.sticky.is_some())
    }

    /// Counts a request that this endpoint works on, if the policy asks for it.
    pub(crate) fn busy(&self, backend: &Backend) -> Option<Busy> {
        let balance = self.rules.balance.as_ref()?;
        let counts = balance.plan.counts();
        counts.then(|| Busy::new(&backend.load, &self.total))
    }

    /// What the client is told, so that its session stays with this endpoint.
    pub(crate) fn tell(&self, backend: &Backend, wanted: Wanted) -> Option<http::HeaderValue> {
        let sticky = self.rules.balance.as_ref()?.sticky.as_ref()?;
        let session = backend.session.load(Ordering::Relaxed);
        (wanted.session != Some(session))
            .then(|| sticky.tell(session))
            .flatten()
    }

    #[cfg(test)]
    pub(crate) fn pick(&self, tried: &[Arc<Backend>]) -> Option<Arc<Backend>> {
        self.pick_for(tried, Wanted::default(), None)
    }

    /// The next endpoint, as the policy says, that is neither ejected nor in `tried`.
    pub(crate) fn pick_for(
        &self,
        tried: &[Arc<Backend>],
        wanted: Wanted,
        selection: Option<&Arc<Selection>>,
    ) -> Option<Arc<Backend>> {
        let set = self.set.load();
        let Some(selection) = selection else {
            return self.pick_of(&set, &set.order, set.backends.len() == 1, tried, wanted);
        };
        let selected = set.selected(selection, &self.rules, &self.total);
        let lonely = selected.count == 1 && !selection.or_any;
        self.pick_of(&set, &selected.order, lonely, tried, wanted)
            .or_else(|| {
                let any = selection.or_any;
                any.then(|| self.pick_for(tried, wanted, None)).flatten()
            })
    }

    /// `is_lonely`: there is one endpoint in this order.
    fn pick_of(
        &self,
        set: &Set,
        order: &Order,
        is_lonely: bool,
        tried: &[Arc<Backend>],
        wanted: Wanted,
    ) -> Option<Arc<Backend>> {
        let untried = |backend: &Arc<Backend>| !tried.iter().any(|one| Arc::ptr_eq(one, backend));
        // With nobody to turn to instead, leaving the only one out would help no one.
        let only = is_lonely || self.panicking.load(Ordering::Relaxed);
        let slowly = self.rules.starts_slowly();
        let may = |backend: &Arc<Backend>| untried(backend) && (only || backend.is_in(slowly));
        let index = match &self.rules.crowd {
            None => order.pick(wanted, |index| may(&set.backends[index])),
            // Those where nobody has to wait go first.
            Some(crowd) => order
                .pick(wanted, |index| {
                    may(&set.backends[index]) && !set.backends[index].slots.is_full(crowd)
                })
                .or_else(|| order.pick(wanted, |index| may(&set.backends[index]))),
        }?;
        set.backends[index].health.chosen();
        Some(Arc::clone(&set.backends[index]))
    }

    /// How long until an ejected endpoint returns; `None` if there is none to wait for.
    pub(crate) fn next_return(&self) -> Option<Duration> {
        self.set
            .load()
            .backends
            .iter()
            .filter_map(|backend| backend.health.out_for())
            .min()
    }

    /// Every endpoint.
    pub(crate) fn backends(&self) -> Vec<Arc<Backend>> {
        self.set.load().backends.to_vec()
    }

    pub(crate) fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.breaker.as_ref()
    }

    /// So few endpoints are up that all are asked.
    pub(crate) fn is_panicking(&self) -> bool {
        self.panicking.load(Ordering::Relaxed)
    }

    /// Says whether so few are up; `true` if that is news.
    pub(super) fn set_panicking(&self, panicking: bool) -> bool {
        self.panicking.swap(panicking, Ordering::Relaxed) != panicking
    }

    /// How many endpoints it has, and how many of them may be asked.
    pub(crate) fn count(&self) -> (usize, usize) {
        let set = self.set.load();
        let up = set
            .backends
            .iter()
            .filter(|backend| backend.health.out_for().is_none())
            .count();
        (set.backends.len(), up)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.life.cancel();
    }
}

// === impl Set ===

impl Set {
    #[expect(
        clippy::mutable_key_type,
        reason = "what can change in a TLS configuration is no part of its identity"
    )]
    fn new(
        endpoints: &Endpoints,
        rules: &Rules,
        total: &Arc<AtomicUsize>,
        before: Option<&Self>,
    ) -> Self {
        let known: HashMap<&Transport, &Arc<Backend>, RandomState> = before
            .iter()
            .flat_map(|set| set.backends.iter())
            .map(|backend| (&*backend.transport, backend))
            .collect();
        let is_late = !known.is_empty();
        let backend = |endpoint: &Endpoint| {
            let transport = rules.transport(endpoint);
            known.get(&transport).map_or_else(
                || {
                    Arc::new(Backend::new(
                        transport,
                        rules,
                        balance::name(endpoint),
                        is_late,
                    ))
                },
                |backend| Arc::clone(backend),
            )
        };
        let balance = rules.balance.as_deref();
        let subset = balance.and_then(|balance| balance.subset.as_ref());
        let asked = subset.map_or_else(|| endpoints.clone(), |subset| subset.of(endpoints));
        let backends: Box<[Arc<Backend>]> = asked.iter().map(backend).collect();
        let members = members(&asked, &backends, rules);
        Self {
            endpoints: endpoints.clone(),
            asked,
            order: Order::new(&rules.plan(), &members, total),
            backends,
            selected: ArcSwap::default(),
        }
    }

    /// Those that a route asks.
    fn selected(
        &self,
        selection: &Arc<Selection>,
        rules: &Rules,
        total: &Arc<AtomicUsize>,
    ) -> Arc<Selected> {
        let known = self.selected.load();
        let is_it = |one: &Arc<Selection>| Arc::ptr_eq(one, selection) || one == selection;
        if let Some((_, found)) = known.iter().find(|(one, _)| is_it(one)) {
            return Arc::clone(found);
        }
        let chosen: Vec<bool> = self.asked.iter().map(|one| selection.has(one)).collect();
        let members = members(&self.asked, &self.backends, rules);
        let made = Arc::new(Selected {
            count: chosen.iter().filter(|chosen| **chosen).count(),
            order: Order::among(&rules.plan(), &members, &|index| chosen[index], total),
        });
        // Another worker may have made it too; whoever comes first is found.
        self.selected.rcu(|known| {
            let mut all = Vec::clone(known);
            all.push((Arc::clone(selection), Arc::clone(&made)));
            all
        });
        made
    }
}

// === impl Rules ===

impl Rules {
    fn plan(&self) -> Plan {
        let balance = self.balance.as_deref();
        balance.map_or_else(Plan::default, |balance| balance.plan.clone())
    }

    /// Whether endpoints that come back begin with a part of their share.
    fn starts_slowly(&self) -> bool {
        let balance = self.balance.as_deref();
        balance.is_some_and(|balance| balance.plan.slow_start.is_some())
    }

    fn transport(&self, endpoint: &Endpoint) -> Transport {
        Transport {
            url: endpoint.url.clone(),
            sni: endpoint.sni.clone(),
            tls: self.tls.clone(),
            introduction: self.introduction,
            protocol: self.protocol,
            owner: self.owner.clone(),
        }
    }
}

// === impl Backend ===

impl Backend {
    fn new(transport: Transport, rules: &Rules, name: u64, is_late: bool) -> Self {
        let health = Passive::new();
        if rules
            .watching
            .as_ref()
            .is_some_and(|watching| watching.begins_down())
        {
            health.bar(Some(Duration::from_secs(1)));
        }
        Self {
            transport: Arc::new(transport),
            health,
            slots: Arc::default(),
            name,
            load: Arc::new(Load::new(is_late)),
            session: AtomicU64::new(0),
        }
    }

    /// Whether it may be asked. Who comes back is noted if it then starts slowly.
    fn is_in(&self, slowly: bool) -> bool {
        let is_in = self.health.out_for().is_none();
        if slowly {
            self.load.seen(is_in);
        }
        is_in
    }

    fn member(&self, endpoint: &Endpoint, sticky: Option<&Sticky>) -> Member {
        let session = sticky.map(|sticky| sticky.session(endpoint));
        self.session.store(session.unwrap_or(0), Ordering::Relaxed);
        Member {
            name: self.name,
            weight: endpoint.weight,
            zone: endpoint.zone.clone(),
            priority: endpoint.priority,
            session,
            load: Arc::clone(&self.load),
        }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.transport.url.authority()
    }
}

/// What is known of each of the endpoints, as far as choosing is concerned.
fn members(endpoints: &Endpoints, backends: &[Arc<Backend>], rules: &Rules) -> Vec<Member> {
    let balance = rules.balance.as_deref();
    let sticky = balance.and_then(|balance| balance.sticky.as_ref());
    let members = endpoints.iter().zip(backends);
    members
        .map(|(endpoint, backend)| backend.member(endpoint, sticky))
        .collect()
}

/// The same one as before, as long as its limits are the same.
fn breaker(name: &Arc<str>, rules: &Rules, before: Option<&Cluster>) -> Option<Arc<Breaker>> {
    let limits = rules.watching.as_ref()?.breaker?;
    let known = before.and_then(|before| before.breaker.as_ref());
    let known = known.filter(|known| known.limits == limits);
    Some(known.map_or_else(
        || Arc::new(Breaker::new(Arc::clone(name), limits)),
        Arc::clone,
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::upstream) const RULES: Rules = Rules {
        owner: None,
        protocol: OriginProtocol::Http1,
        connect: Duration::from_secs(1),
        times: Times {
            first_byte: Duration::from_secs(1),
            idle: Duration::from_secs(1),
        },
        ejection: Ejection {
            failures: 1,
            time: Duration::from_secs(10),
            longest: Duration::from_secs(10),
        },
        tls: None,
        introduction: None,
        keep: Keep {
            max_idle: 1,
            idle_time: Duration::from_secs(1),
            max_age: None,
            max_requests: None,
        },
        crowd: None,
        watching: None,
        balance: None,
    };

    fn endpoints(urls: &[&str]) -> Endpoints {
        urls.iter()
            .map(|url| Endpoint::new(url.parse().unwrap()))
            .collect()
    }

    fn cluster(urls: &[&str]) -> Cluster {
        Cluster::new("test".into(), RULES, None, &endpoints(urls), None)
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_out_the_ejected_and_the_tried() {
        let cluster = cluster(&["http://a:1", "http://b:1", "http://c:1"]);
        let a = cluster.pick(&[]).unwrap();
        a.health.failed(RULES.ejection);
        let b = cluster.pick(&[]).unwrap();
        for _ in 0..5 {
            let picked = cluster.pick(std::slice::from_ref(&b)).unwrap();
            assert_eq!(picked.address(), "c:1");
        }
        assert_eq!(cluster.count(), (3, 2));
        assert_eq!(cluster.next_return(), Some(RULES.ejection.time));
    }

    #[tokio::test(start_paused = true)]
    async fn an_only_endpoint_is_never_left_out() {
        let cluster = cluster(&["http://a:1"]);
        cluster.pick(&[]).unwrap().health.failed(RULES.ejection);
        assert!(cluster.pick(&[]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn health_survives_an_update_and_ends_with_the_endpoint() {
        let cluster = cluster(&["http://a:1", "http://b:1"]);
        let a = cluster.pick(&[]).unwrap();
        a.health.failed(RULES.ejection);
        cluster.update(&endpoints(&["http://c:1", "http://a:1"]));
        assert_eq!(cluster.count(), (2, 1), "a is still out");
        cluster.update(&endpoints(&["http://c:1"]));
        cluster.update(&endpoints(&["http://c:1", "http://a:1"]));
        assert_eq!(cluster.count(), (2, 2), "another a");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_there_is_nobody_to_pick() {
        assert!(cluster(&[]).pick(&[]).is_none());
        assert_eq!(cluster(&[]).next_return(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_connected_to_in_another_way_is_another_one() {
        let before = cluster(&["http://a:1"]);
        let known = before.pick(&[]).unwrap();
        let with = |rules: Rules| {
            let cluster = Cluster::new("test".into(), rules, None, &Endpoints::default(), None);
            cluster.inherit(&before);
            cluster.pick(&[]).unwrap()
        };
        assert!(Arc::ptr_eq(&with(RULES), &known));
        let crowd = Some(crowd(1));
        assert!(Arc::ptr_eq(&with(Rules { crowd, ..RULES }), &known));
        let introduction = Some(Introduction {
            version: crate::config::SendProxyProtocol::V2,
            client: None,
        });
        let told = with(Rules {
            introduction,
            ..RULES
        });
        assert!(!Arc::ptr_eq(&told, &known));
        assert_eq!(told.transport.introduction, introduction);
        let settings = crate::config::UpstreamTlsConfig {
            verify: false,
            ..Default::default()
        };
        let tls = Some(Arc::new(ClientTls::new(&settings)));
        assert_eq!(
            with(Rules {
                tls: tls.clone(),
                ..RULES
            })
            .transport
            .tls,
            tls
        );
    }

    fn crowd(max_connections: usize) -> Crowd {
        Crowd {
            max_connections,
            max_pending: 0,
            wait: Duration::ZERO,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_full_are_asked_last() {
        let rules = Rules {
            crowd: Some(crowd(1)),
            ..RULES
        };
        let all = endpoints(&["http://a:1", "http://b:1"]);
        let cluster = Cluster::new("test".into(), rules, None, &all, None);
        let (pool, cells) = (Arc::default(), crate::metrics::Cells::default());
        let one = crowd(1);
        let fill = async |backend: &Backend| {
            let (slots, to) = (&backend.slots, &backend.transport);
            slots.enter(&one, &pool, to, &cells).await.unwrap()
        };
        let a = cluster.pick(&[]).unwrap();
        let _one = fill(&a).await;
        for _ in 0..5 {
            assert_eq!(cluster.pick(&[]).unwrap().address(), "b:1");
        }
        let _other = fill(&cluster.pick(&[]).unwrap()).await;
        assert!(cluster.pick(&[]).is_some(), "somebody has to be waited for");
    }
}
