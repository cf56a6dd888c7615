//! What the policies' tests share, and tests of the order of them all.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::BalancePolicy;

/// Names of so many endpoints.
pub(crate) fn names(count: usize) -> Vec<u64> {
    (0..count)
        .map(|index| hash(format!("http://10.0.0.{index}:80").as_bytes()))
        .collect()
}

/// So many keys.
pub(crate) fn keys(count: usize) -> impl Iterator<Item = u64> {
    (0..count).map(|index| hash(format!("user-{index}").as_bytes()))
}

/// Whom so many picks went to, in percent.
pub(crate) fn shares(
    count: usize,
    picks: usize,
    mut pick: impl FnMut() -> Option<usize>,
) -> Vec<f64> {
    let mut shares = vec![0.0; count];
    for _ in 0..picks {
        shares[pick().unwrap()] += 100.0 / picks as f64;
    }
    shares
}

/// The same for keys.
pub(crate) fn shares_of_keys(count: usize, owner: impl Fn(u64) -> usize) -> Vec<f64> {
    let mut keys = keys(20_000);
    shares(count, 20_000, || keys.next().map(&owner))
}

/// Which parts of the keys move when one endpoint goes: all that move, and those that were its own.
pub(crate) fn moved(
    before: impl Fn(u64) -> usize,
    after: impl Fn(u64) -> usize,
    gone: usize,
) -> (f64, f64) {
    let all = 2000;
    let moved = keys(all).filter(|&key| before(key) != after(key)).count();
    let lost = keys(all).filter(|&key| before(key) == gone).count();
    (moved as f64 / all as f64, lost as f64 / all as f64)
}

fn member(name: u64) -> Member {
    Member {
        name,
        weight: 1,
        zone: None,
        priority: 0,
        session: None,
        load: Arc::new(Load::new(false)),
    }
}

fn members(count: usize) -> Vec<Member> {
    names(count).into_iter().map(member).collect()
}

fn plan(policy: BalancePolicy) -> Plan {
    Plan {
        policy,
        spill_below: 70,
        ..Plan::default()
    }
}

fn in_percent(order: &Order, count: usize, may: impl Fn(usize) -> bool) -> Vec<i64> {
    let shares = shares(count, 10_000, || order.pick(Wanted::default(), &may));
    shares
        .into_iter()
        .map(|share| share.round() as i64)
        .collect()
}

const ALL: [BalancePolicy; 8] = [
    BalancePolicy::RoundRobin,
    BalancePolicy::Random,
    BalancePolicy::LeastRequests,
    BalancePolicy::PeakEwma,
    BalancePolicy::LeastConnections,
    BalancePolicy::Ring,
    BalancePolicy::Maglev,
    BalancePolicy::Rendezvous,
];

#[tokio::test(start_paused = true)]
async fn whatever_the_policy_only_those_are_asked_that_may() {
    chance::seed(3);
    for policy in ALL {
        let mut all = members(5);
        all[4].weight = 0;
        let order = Order::new(&plan(policy), &all, &Arc::default());
        for key in keys(300) {
            let wanted = Wanted {
                key: Some(key),
                session: None,
            };
            let picked = order.pick(wanted, |index| index != 1).unwrap();
            assert!(![1, 4].contains(&picked), "{policy:?} asked {picked}");
        }
        assert_eq!(order.pick(Wanted::default(), |_| false), None, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_with_its_endpoint_even_while_that_is_draining() {
    let mut all = members(3);
    for (index, member) in all.iter_mut().enumerate() {
        member.session = Some(index as u64 + 10);
    }
    all[2].weight = 0;
    let order = Order::new(&plan(BalancePolicy::RoundRobin), &all, &Arc::default());
    let wanted = Wanted {
        key: None,
        session: Some(12),
    };
    assert!((0..9).all(|_| order.pick(wanted, |_| true) == Some(2)));
    assert_ne!(order.pick(wanted, |index| index != 2), Some(2));
    assert!((0..9).all(|_| order.pick(Wanted::default(), |_| true) != Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_zone_keeps_its_requests_until_too_few_are_up() {
    chance::seed(3);
    let mut all = members(20);
    for member in &mut all[..10] {
        member.zone = Some("here".into());
    }
    let plan = Plan {
        zone: Some("here".into()),
        ..plan(BalancePolicy::Random)
    };
    let near = |out: usize| {
        let order = Order::new(&plan, &all, &Arc::default());
        let shares = in_percent(&order, 20, |index| index >= out);
        100 - shares[10..].iter().sum::<i64>()
    };
    assert_eq!(near(0), 100);
    assert_eq!(near(3), 100, "70 % are enough");
    // 3 of 10 up, where 7 would be enough.
    assert!((40..=46).contains(&near(7)), "{}", near(7));
    assert!(near(10) <= 2, "{}", near(10));
}

#[tokio::test(start_paused = true)]
async fn a_lower_priority_is_asked_when_the_higher_cannot() {
    chance::seed(3);
    let mut all = members(4);
    all[2].priority = 1;
    all[3].priority = 1;
    let order = Order::new(&plan(BalancePolicy::RoundRobin), &all, &Arc::default());
    assert_eq!(in_percent(&order, 4, |_| true), [50, 50, 0, 0]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(in_percent(&order, 4, |index| index > 1), [0, 0, 50, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_late_endpoint_starts_slowly() {
    chance::seed(3);
    for policy in [BalancePolicy::RoundRobin, BalancePolicy::Random] {
        let mut all = members(2);
        all[1].load = Arc::new(Load::new(true));
        let plan = Plan {
            slow_start: Some(Duration::from_secs(10)),
            ..plan(policy)
        };
        let order = Order::new(&plan, &all, &Arc::default());
        let late = || in_percent(&order, 2, |_| true)[1];
        assert!(late() < 12, "{policy:?}: {}", late());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!((20..=40).contains(&late()), "{policy:?}: {}", late());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!((48..=52).contains(&late()), "{policy:?}: {}", late());
        // With nobody else to ask it takes everything.
        assert_eq!(in_percent(&order, 2, |index| index == 1), [0, 100]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_everybody_asks_for_spreads_over_its_bound() {
    let plan = |policy| Plan {
        bounded_load: Some(125),
        ..plan(policy)
    };
    for policy in [
        BalancePolicy::Ring,
        BalancePolicy::Maglev,
        BalancePolicy::Rendezvous,
    ] {
        let (all, total) = (members(10), Arc::default());
        let order = Order::new(&plan(policy), &all, &total);
        let wanted = Wanted {
            key: Some(hash(b"hot")),
            session: None,
        };
        let busy: Vec<_> = (0..1000)
            .map(|_| {
                let index = order.pick(wanted, |_| true).unwrap();
                Busy::new(&all[index].load, &total)
            })
            .collect();
        let most = all.iter().map(|one| one.load.in_flight()).max();
        assert!(most <= Some(125), "{policy:?}: {most:?}");
        drop(busy);
        let first = order.pick(wanted, |_| true);
        assert!((0..9).all(|_| order.pick(wanted, |_| true) == first));
    }
}

#[tokio::test(start_paused = true)]
async fn the_slow_one_is_asked_less() {
    chance::seed(3);
    let all = members(3);
    let order = Order::new(&plan(BalancePolicy::PeakEwma), &all, &Arc::default());
    for (member, took) in all.iter().zip([100, 10, 10]) {
        member.load.answered(Duration::from_millis(took));
    }
    let shares = in_percent(&order, 3, |_| true);
    assert!(shares[0] < 3, "{shares:?}");
    // Forgotten: it gets another chance, and the others' good times are as old.
    all[1].load.answered(Duration::from_millis(10));
    tokio::time::advance(Duration::from_secs(60)).await;
    all[1].load.answered(Duration::from_millis(10));
    all[2].load.answered(Duration::from_millis(10));
    assert!(in_percent(&order, 3, |_| true)[0] > 10);
}
