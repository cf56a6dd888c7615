//! Header hygiene and the checkout of a pooled connection: what every request that reaches an origin pays.

use std::hint::black_box;

use cirrus_core::testing::pieces::{Checkout, Hygiene};
use cirrus_core::{Body, Request};
use criterion::Criterion;

/// What a browser sends, more or less.
const FIELDS: [(&str, &str); 8] = [
    ("host", "shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"),
    ("accept", "text/html,application/xhtml+xml"),
    ("accept-language", "en-GB,en;q=0.7"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "keep-alive"),
    ("cookie", "session=0123456789abcdef"),
    ("cache-control", "max-age=0"),
];

fn main() {
    let mut criterion = cirrus_benches::criterion();
    hygiene(&mut criterion);
    checkout(&mut criterion);
    criterion.final_summary();
}

fn hygiene(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hygiene");
    for (kind, target, count) in [
        ("one field", "/a/b?c=d", 1),
        ("a browser's", "/a/b?c=d", FIELDS.len()),
        ("a path to be mended", "/a/./b/%7euser", 1),
    ] {
        let hygiene = Hygiene::default();
        group.bench_function(kind, |bencher| {
            bencher.iter_batched(
                || request(target, count),
                |request| assert!(hygiene.admits(black_box(request))),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn request(target: &str, count: usize) -> Request {
    let fields = FIELDS[..count].iter();
    let request = fields.fold(http::Request::get(target), |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(Body::empty()).unwrap_or_default()
}

fn checkout(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let _entered = runtime.enter();
    let checkout = Checkout::new();
    criterion.bench_function("pool/checkout and return", |bencher| {
        bencher.iter(|| assert!(checkout.round()));
    });
}
