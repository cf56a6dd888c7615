//! One check of a rate limit: what every request pays on a route that has one.

use std::hint::black_box;

use cirrus_core::config::Rate;
use cirrus_core::middleware::limit::Buckets;
use criterion::Criterion;
use tokio::time::Instant;

/// The default of `rate_limit.entries`.
const ENTRIES: u32 = 65_536;

fn main() {
    let mut criterion = cirrus_benches::criterion();
    one_client(&mut criterion);
    many_clients(&mut criterion);
    criterion.final_summary();
}

/// Allowed, and refused: both look at one cache line.
fn one_client(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate limit");
    let client = [192_u8, 0, 2, 1];
    for (kind, burst) in [("allowed", 1_000_000), ("refused", 1)] {
        let buckets = Buckets::new(Rate::per_second(1_000_000), burst, ENTRIES);
        let mut now = Instant::now();
        group.bench_function(kind, |bencher| {
            bencher.iter(|| {
                if kind == "allowed" {
                    now += std::time::Duration::from_micros(1);
                }
                buckets.take(black_box(&client), now)
            });
        });
    }
    group.finish();
}

/// A flood: nearly every key is new and takes another's place. The clock is read, as it is for a request.
fn many_clients(criterion: &mut Criterion) {
    let buckets = Buckets::new(Rate::per_second(100), 100, ENTRIES);
    let mut client = 0_u64;
    criterion.bench_function("rate limit/new key", |bencher| {
        bencher.iter(|| {
            client += 1;
            buckets.take(black_box(&client), Instant::now())
        });
    });
}
