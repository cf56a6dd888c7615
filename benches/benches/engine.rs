//! One whole request through the engine, without sockets: what Cirrus itself adds to a request.

use bytes::Bytes;
use cirrus_benches::{SMALL, host, key, put, runtime};
use cirrus_cache::MemoryStore;
use cirrus_core::Server;
use cirrus_core::server::Proxy;
use cirrus_discovery::Fixed;
use criterion::{BatchSize, Criterion};
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, USER_AGENT};
use http_body_util::{BodyExt, Empty};
use tokio::runtime::Runtime;

type Request = http::Request<Empty<Bytes>>;

/// The origin is never asked: everything that is asked for is in the store.
const CONFIG: &str = r#"
    [[site]]
    hosts = ["bench.example"]
    cache = { enable = true }
    [[site.origin]]
    url = "http://127.0.0.1:9"
    [[site.route]]
    path = "/fixed"
    respond = { body = "hello" }
"#;

fn main() {
    let mut criterion = cirrus_benches::criterion();
    requests(&mut criterion);
    many_sites(&mut criterion);
    criterion.final_summary();
}

fn requests(criterion: &mut Criterion) {
    let runtime = runtime();
    let proxy = proxy(&runtime, CONFIG, "bench.example");
    let mut group = criterion.benchmark_group("engine");
    for (kind, host, path, status, length) in [
        ("fixed response", "bench.example", "/fixed", 200, 5),
        ("hit of 1 KiB", "bench.example", "/1k", 200, SMALL),
        ("hit of 1 MiB", "bench.example", "/1m", 200, 1 << 20),
        ("unknown host", "other.example", "/1k", 404, 0),
    ] {
        let (got, body) = runtime.block_on(answer(&proxy, request(host, path)));
        assert!(got == status && (body == length || length == 0), "{kind}");
        group.bench_function(kind, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || request(host, path),
                |request| answer(&proxy, request),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// A hit costs the same among 10,000 sites as with one.
fn many_sites(criterion: &mut Criterion) {
    let runtime = runtime();
    let host = host(5_000);
    let proxy = proxy(&runtime, &cirrus_benches::sites(10_000), &host);
    let (status, _) = runtime.block_on(answer(&proxy, request(&host, "/1k")));
    assert_eq!(status, 200);
    criterion.bench_function("engine/hit of 1 KiB, 10000 sites", |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || request(&host, "/1k"),
            |request| answer(&proxy, request),
            BatchSize::SmallInput,
        );
    });
}

/// An engine whose store has `/1k` and `/1m` of `host`.
fn proxy(runtime: &Runtime, config: &str, host: &str) -> Proxy {
    let store = MemoryStore::sized(64 << 20);
    let config = Fixed::toml(config).expect("a configuration");
    runtime.block_on(async {
        for (path, size) in [("/1k", SMALL), ("/1m", 1 << 20)] {
            put(&store, &key(host, path), &Bytes::from(vec![b'x'; size])).await;
        }
        let builder = Server::builder().config(config).cache(store);
        builder.build().await.expect("a server")
    })
}

fn request(host: &str, path: &'static str) -> Request {
    http::Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "bench/1.0")
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "gzip, br")
        .body(Empty::new())
        .expect("a request")
}

/// The status, and how long the body is.
async fn answer(proxy: &Proxy, request: Request) -> (u16, usize) {
    let (head, body) = proxy.answer(request).await.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    (head.status.as_u16(), body.len())
}
