//! Which endpoint is asked: first the session's own, then by tier, in each as the policy says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::chance;
use super::load::Load;
use super::tier::{Method, Tier};
use crate::config::BalancePolicy;

/// How a cluster's endpoints are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) policy: BalancePolicy,
    /// In percent of the mean load: an endpoint that has more is passed over for a key of its own.
    pub(crate) bounded_load: Option<u32>,
    /// How long a late endpoint takes to have its whole share.
    pub(crate) slow_start: Option<Duration>,
    /// Where this edge is.
    pub(crate) zone: Option<Arc<str>>,
    /// In percent: with fewer than these up, a tier gives requests away to the next.
    pub(crate) spill_below: u32,
}

/// One endpoint as far as choosing is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The same in all processes.
    pub(crate) name: u64,
    pub(crate) weight: u16,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) priority: u8,
    /// What its sessions are known by.
    pub(crate) session: Option<u64>,
    pub(crate) load: Arc<Load>,
}

/// What a request brings with it for the choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// The hash of what it is chosen by.
    pub(crate) key: Option<u64>,
    /// The endpoint that has its session.
    pub(crate) session: Option<u64>,
}

/// The order in which the endpoints of one moment are asked.
#[derive(Debug)]
pub(crate) struct Order {
    /// The nearest and most preferred first.
    tiers: Box<[Tier]>,
    sessions: HashMap<u64, u32, RandomState>,
    slow_start: Option<Duration>,
    spill_below: u32,
}

// === impl Plan ===

impl Default for Plan {
    fn default() -> Self {
        Self {
            policy: BalancePolicy::default(),
            bounded_load: None,
            slow_start: None,
            zone: None,
            spill_below: 70,
        }
    }
}

impl Plan {
    /// Whether requests in flight are counted.
    pub(crate) fn counts(&self) -> bool {
        self.bounded_load.is_some()
            || matches!(
                self.policy,
                BalancePolicy::LeastRequests
                    | BalancePolicy::PeakEwma
                    | BalancePolicy::LeastConnections
            )
    }

    /// Whether a key decides.
    pub(crate) fn hashes(&self) -> bool {
        matches!(
            self.policy,
            BalancePolicy::Ring | BalancePolicy::Maglev | BalancePolicy::Rendezvous
        )
    }
}

// === impl Order ===

impl Order {
    /// `total` is what all of the cluster's endpoints have in flight.
    pub(crate) fn new(plan: &Plan, members: &[Member], total: &Arc<AtomicUsize>) -> Self {
        Self::among(plan, members, &|_| true, total)
    }

    /// The same for those of the members whose places are `chosen`; it gives places among all of them.
    pub(crate) fn among(
        plan: &Plan,
        members: &[Member],
        chosen: &impl Fn(usize) -> bool,
        total: &Arc<AtomicUsize>,
    ) -> Self {
        let mut ranks: Vec<(u8, bool)> = members.iter().map(|one| rank(plan, one)).collect();
        let each = ranks.clone();
        ranks.sort_unstable();
        ranks.dedup();
        let tier = |wanted: (u8, bool)| {
            let places = (0u32..).zip(members).zip(&each);
            // Those without a weight are asked by their sessions only.
            let places = places.filter(|((index, one), rank)| {
                **rank == wanted && one.weight > 0 && chosen(*index as usize)
            });
            Tier::new(plan, places.map(|(member, _)| member), total)
        };
        let sessions = (0u32..).zip(members);
        let sessions = sessions.filter(|(index, _)| chosen(*index as usize));
        Self {
            tiers: ranks.into_iter().map(tier).collect(),
            sessions: sessions
                .filter_map(|(index, one)| Some((one.session?, index)))
                .collect(),
            slow_start: plan.slow_start.filter(|_| !plan.hashes()),
            spill_below: plan.spill_below.max(1),
        }
    }

    /// The next endpoint that may be asked; `None` if none may.
    pub(crate) fn pick(&self, wanted: Wanted, may: impl Fn(usize) -> bool) -> Option<usize> {
        if let Some(index) = self.session(wanted).filter(|&index| may(index)) {
            return Some(index);
        }
        match &*self.tiers {
            [only] => self.in_tier(only, wanted, &may),
            [] => None,
            _ => self.spilling(wanted, &may),
        }
    }

    fn session(&self, wanted: Wanted) -> Option<usize> {
        let index = self.sessions.get(&wanted.session?)?;
        Some(*index as usize)
    }

    fn in_tier(&self, tier: &Tier, wanted: Wanted, may: &impl Fn(usize) -> bool) -> Option<usize> {
        if let Some(time) = self.slow_start {
            let takes = |index| may(index) && tier.takes(index, time);
            if let Some(index) = tier.pick(wanted, &takes, may) {
                return Some(index);
            }
        }
        tier.pick(wanted, may, may)
    }

    /// A tier has all requests for as long as enough of it is up, and else as many as are up of what is enough; what is
    /// left goes to the next.
    fn spilling(&self, wanted: Wanted, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let cast = match wanted.key {
            // The same key to the same tier.
            Some(key) => (super::hash::mix(key) % 1000) as u32,
            None => chance::below(1000) as u32,
        };
        let mut sum = 0;
        let share = |tier: &Tier| (tier.up(may) * 100 / self.spill_below).min(1000);
        let first = self.tiers.iter().position(|tier| {
            sum += share(tier);
            cast < sum
        });
        let first = first.unwrap_or(0);
        let rest = (0..self.tiers.len()).filter(|&index| index != first);
        std::iter::once(first)
            .chain(rest)
            .find_map(|index| self.in_tier(&self.tiers[index], wanted, may))
    }
}

/// Lower is asked first.
fn rank(plan: &Plan, member: &Member) -> (u8, bool) {
    let is_far = plan.zone.is_some() && member.zone != plan.zone;
    (member.priority, is_far)
}

/// What the load of a member is bounded by.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) percent: u64,
    pub(super) total: Arc<AtomicUsize>,
}

impl Bound {
    /// Whether a member with this part of the tier's weight has room for one more.
    pub(super) fn has_room(&self, in_flight: usize, weight: u64, weights: u64) -> bool {
        let total = self.total.load(Ordering::Relaxed) as u64 + 1;
        let most = (total * weight * self.percent).div_ceil(weights.max(1) * 100);
        (in_flight as u64) < most
    }
}

impl Method {
    /// See [`Order`].
    pub(super) fn of(plan: &Plan, weights: &[u16], names: &[(u64, u16)]) -> Self {
        use super::{Least, Maglev, Random, Rendezvous, Ring, RoundRobin, TwoChoices};
        match plan.policy {
            BalancePolicy::RoundRobin => Self::RoundRobin(RoundRobin::new(weights)),
            BalancePolicy::Random => Self::Random(Random::new(weights)),
            BalancePolicy::LeastRequests => Self::LeastRequests(TwoChoices::new(weights)),
            BalancePolicy::PeakEwma => Self::PeakEwma(TwoChoices::new(weights)),
            BalancePolicy::LeastConnections => Self::LeastConnections(Least::new(weights)),
            BalancePolicy::Ring => Self::Ring(Ring::new(names)),
            BalancePolicy::Maglev => Self::Maglev(Maglev::new(names)),
            BalancePolicy::Rendezvous => Self::Rendezvous(Rendezvous::new(names)),
        }
    }
}
