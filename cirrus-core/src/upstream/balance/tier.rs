//! Endpoints of one priority and distance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::load::Load;
use super::order::{Bound, Member, Plan, Wanted};
use super::{Least, Maglev, Random, Rendezvous, Ring, RoundRobin, TwoChoices, chance};

/// For how long a count of who is up is believed.
const COUNT_FOR: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Tier {
    /// Where its members stand among all endpoints, in their order.
    places: Box<[u32]>,
    weights: Box<[u16]>,
    weight: u64,
    /// Empty where nobody asks for them.
    loads: Box<[Arc<Load>]>,
    method: Method,
    bound: Option<Bound>,
    /// In thousandths.
    up: AtomicU32,
    since: Instant,
    /// When that was counted, in milliseconds after `since`, plus 1; 0 for never.
    counted: AtomicU64,
}

/// A policy over the members of a tier.
#[derive(Debug)]
pub(super) enum Method {
    RoundRobin(RoundRobin),
    Random(Random),
    LeastRequests(TwoChoices),
    PeakEwma(TwoChoices),
    LeastConnections(Least),
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
}

// === impl Tier ===

impl Tier {
    pub(super) fn new<'a>(
        plan: &Plan,
        members: impl Iterator<Item = (u32, &'a Member)>,
        total: &Arc<AtomicUsize>,
    ) -> Self {
        let (places, members): (Vec<u32>, Vec<&Member>) = members.unzip();
        let weights: Box<[u16]> = members.iter().map(|one| one.weight).collect();
        let names: Vec<_> = members.iter().map(|one| (one.name, one.weight)).collect();
        let bound = plan.bounded_load.filter(|_| plan.hashes());
        Self {
            places: places.into(),
            weight: weights.iter().map(|&one| u64::from(one)).sum(),
            loads: loads(plan, &members),
            method: Method::of(plan, &weights, &names),
            weights,
            bound: bound.map(|percent| Bound {
                percent: u64::from(percent),
                total: Arc::clone(total),
            }),
            up: AtomicU32::new(1000),
            since: Instant::now(),
            counted: AtomicU64::new(0),
        }
    }

    /// One that may be asked, by its place among all endpoints. `at_least` is what a bound on loads is dropped for.
    pub(super) fn pick(
        &self,
        wanted: Wanted,
        may: &impl Fn(usize) -> bool,
        at_least: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let may = |member: usize| may(self.places[member] as usize);
        let member = match &self.bound {
            None => self.member(wanted, &may),
            Some(bound) => self
                .member(wanted, &|member| {
                    may(member) && self.has_room(bound, member)
                })
                .or_else(|| self.member(wanted, &|one| at_least(self.places[one] as usize))),
        }?;
        Some(self.places[member] as usize)
    }

    fn member(&self, wanted: Wanted, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let in_flight = |member: usize| self.loads[member].in_flight();
        let for_weight = |member| in_flight(member) as f64 / f64::from(self.weights[member]);
        // Who brings no key goes anywhere.
        let key = || wanted.key.unwrap_or_else(chance::bits);
        match &self.method {
            Method::RoundRobin(policy) => policy.pick(may),
            Method::Random(policy) => policy.pick(may),
            Method::LeastRequests(policy) => policy.pick(may, for_weight),
            Method::PeakEwma(policy) => policy.pick(may, |member| self.loads[member].cost()),
            Method::LeastConnections(policy) => policy.pick(may, in_flight),
            Method::Ring(policy) => policy.pick(key(), may),
            Method::Maglev(policy) => policy.pick(key(), may),
            Method::Rendezvous(policy) => policy.pick(key(), may),
        }
    }

    fn has_room(&self, bound: &Bound, member: usize) -> bool {
        let weight = u64::from(self.weights[member]);
        bound.has_room(self.loads[member].in_flight(), weight, self.weight)
    }

    /// Whether the endpoint at this place takes a request while its share grows.
    pub(super) fn takes(&self, place: usize, time: Duration) -> bool {
        match self.places.binary_search(&(place as u32)) {
            Ok(member) => self.loads.get(member).is_none_or(|load| load.takes(time)),
            Err(_) => true,
        }
    }

    /// How many of its members may be asked, in thousandths; counted now and then.
    pub(super) fn up(&self, may: &impl Fn(usize) -> bool) -> u32 {
        let now = self.since.elapsed().as_millis() as u64 + 1;
        let counted = self.counted.load(Ordering::Relaxed);
        if counted != 0 && now - counted.min(now) < COUNT_FOR.as_millis() as u64 {
            return self.up.load(Ordering::Relaxed);
        }
        let all = self.places.len();
        let up = self.places.iter().filter(|&&place| may(place as usize));
        let up = (up.count() * 1000 / all.max(1)) as u32;
        self.up.store(up, Ordering::Relaxed);
        self.counted.store(now, Ordering::Relaxed);
        up
    }
}

fn loads(plan: &Plan, members: &[&Member]) -> Box<[Arc<Load>]> {
    if plan.counts() || plan.slow_start.is_some() {
        members.iter().map(|one| Arc::clone(&one.load)).collect()
    } else {
        [].into()
    }
}
