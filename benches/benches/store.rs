//! The memory store by itself: finding a response, and keeping one.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use cirrus_benches::{SMALL, key, put, runtime};
use cirrus_cache::MemoryStore;
use cirrus_core::cache::{CacheKey, CacheStore, Scheme};
use criterion::{BatchSize, Criterion};
use http::uri::PathAndQuery;

fn main() {
    let mut criterion = cirrus_benches::criterion();
    keys(&mut criterion);
    lookups(&mut criterion);
    inserts(&mut criterion);
    criterion.final_summary();
}

fn keys(criterion: &mut Criterion) {
    let target = PathAndQuery::from_static("/assets/style.css?v=12");
    criterion.bench_function("key/new", |bencher| {
        bencher.iter(|| CacheKey::new(Scheme::Http, black_box("www.shop.example"), &target));
    });
}

fn lookups(criterion: &mut Criterion) {
    let runtime = runtime();
    let store = filled(&runtime, 10_000);
    let (known, unknown) = (numbered(5_000), key("www.shop.example", "/nowhere"));
    let mut group = criterion.benchmark_group("memory");
    for (kind, key) in [("hit among 10000", &known), ("miss among 10000", &unknown)] {
        group.bench_function(kind, |bencher| {
            bencher
                .to_async(&runtime)
                .iter(async || store.lookup(black_box(key)).await);
        });
    }
    group.finish();
}

/// A store that has been full for long: each insertion evicts.
fn inserts(criterion: &mut Criterion) {
    let runtime = runtime();
    let store = Arc::new(MemoryStore::sized(16 << 20));
    let body = Bytes::from(vec![b'x'; SMALL]);
    let mut n = 0;
    criterion.bench_function("memory/insert 1 KiB", |bencher| {
        let next = || {
            n += 1;
            (Arc::clone(&store), numbered(n), body.clone())
        };
        let insert = async |(store, key, body): (Arc<MemoryStore>, CacheKey, Bytes)| {
            put(&store, &key, &body).await;
        };
        bencher
            .to_async(&runtime)
            .iter_batched(next, insert, BatchSize::SmallInput);
    });
}

fn filled(runtime: &tokio::runtime::Runtime, count: usize) -> MemoryStore {
    let store = MemoryStore::sized(256 << 20);
    let body = Bytes::from(vec![b'x'; SMALL]);
    runtime.block_on(async {
        for n in 0..count {
            put(&store, &numbered(n), &body).await;
        }
        let found = store.lookup(&numbered(count / 2)).await.expect("a store");
        assert_eq!(found.len(), 1);
    });
    store
}

fn numbered(n: usize) -> CacheKey {
    let target: PathAndQuery = format!("/object/{n}").parse().expect("a target");
    CacheKey::new(Scheme::Http, "www.shop.example", &target)
}
