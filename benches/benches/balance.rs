//! A choice among 10,000 endpoints, and an update of them: under 200 ns and 10 ms.

use std::cell::LazyCell;

use cirrus_core::config::BalancePolicy;
use cirrus_core::testing::pieces::Choice;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const ENDPOINTS: usize = 10_000;

const POLICIES: [(&str, BalancePolicy); 8] = [
    ("round_robin", BalancePolicy::RoundRobin),
    ("random", BalancePolicy::Random),
    ("least_requests", BalancePolicy::LeastRequests),
    ("peak_ewma", BalancePolicy::PeakEwma),
    ("least_connections", BalancePolicy::LeastConnections),
    ("ring", BalancePolicy::Ring),
    ("maglev", BalancePolicy::Maglev),
    ("rendezvous", BalancePolicy::Rendezvous),
];

fn choices(c: &mut Criterion) {
    let mut group = c.benchmark_group("choice of 10,000");
    for (name, policy) in POLICIES {
        // Not for those that are filtered out.
        let choice = LazyCell::new(|| Choice::new(policy, ENDPOINTS));
        group.bench_function(name, |b| {
            let choice = &*choice;
            b.iter(|| choice.pick());
        });
    }
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update of 10,000");
    group.sample_size(20);
    for (name, policy) in POLICIES {
        // Not for those that are filtered out.
        let choice = LazyCell::new(|| Choice::new(policy, ENDPOINTS));
        let counts = [ENDPOINTS - 1, ENDPOINTS];
        let mut next = counts.into_iter().cycle();
        group.bench_function(name, |b| {
            let choice = &*choice;
            let endpoints = || Choice::endpoints(next.next().unwrap_or(ENDPOINTS));
            let update = |endpoints| choice.update(&endpoints);
            b.iter_batched(endpoints, update, BatchSize::LargeInput);
        });
    }
}

criterion_group! {
    name = benches;
    config = cirrus_benches::criterion();
    targets = choices, updates
}
criterion_main!(benches);
