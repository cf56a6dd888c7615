//! The cache: what a hit costs by itself, a purge among many, an object in memory, a cold object that all want, a disk
//! that is opened again.
//!
//! `memory/bytes of the process for each` is told without a benchmark: `cargo bench --bench cache -- nothing_matches`
//! tells nothing else.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cirrus_benches::{SMALL, key, meta, put, runtime};
use cirrus_cache::{DiskStore, MemoryStore, OpenError};
use cirrus_core::cache::{ByteRange, CacheKey, CacheStore, Purge, Scheme, Selection};
use cirrus_core::server::Proxy;
use cirrus_core::testing::pieces::{CacheHit, Freshnesses};
use cirrus_core::testing::{Describe, Origin, RunningOrigin, reply};
use cirrus_core::{Body, Request, Server};
use cirrus_discovery::Fixed;
use criterion::{BatchSize, Criterion, Throughput};
use futures_util::future::join_all;
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Empty};
use tokio::runtime::Runtime;

/// Objects for what is measured among many.
const MANY: usize = 1_000_000;

/// Clients that want the same at the same time.
const CLIENTS: usize = 500;

fn main() {
    let mut criterion = cirrus_benches::criterion();
    hit(&mut criterion);
    freshness(&mut criterion);
    among_many(&mut criterion);
    cold(&mut criterion);
    disk(&mut criterion);
    restart(&mut criterion);
    criterion.final_summary();
}

/// The cache of one route, its store in memory, and nothing around it.
fn hit(criterion: &mut Criterion) {
    let runtime = runtime();
    let store = MemoryStore::sized(16 << 20);
    let body = Bytes::from(vec![b'x'; SMALL]);
    runtime.block_on(put(&store, &key("a.example", "/1k"), &body));
    let _entered = runtime.enter();
    let mut cache = CacheHit::of(store);
    criterion.bench_function("cache/hit of 1 KiB", |bencher| {
        bencher.iter_batched(
            small,
            |request| runtime.block_on(taken(&mut cache, request)),
            BatchSize::SmallInput,
        );
    });
}

fn small() -> Box<Request> {
    let request = http::Request::get("/1k")
        .header(HOST, "a.example")
        .header(USER_AGENT, "bench/1.0")
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "gzip, br");
    Box::new(request.body(Body::empty()).expect("a request"))
}

async fn taken(cache: &mut CacheHit, request: Box<Request>) {
    let response = cache.ask(request).await.expect("a hit");
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(black_box(body.to_bytes()).len(), SMALL);
}

fn freshness(criterion: &mut Criterion) {
    let decisions = Freshnesses::default();
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(7200));
    group.bench_function("freshness decisions", |bencher| {
        bencher.iter(|| assert_eq!(black_box(&decisions).decide(black_box(7200)), 3600));
    });
    group.finish();
}

/// `--test` makes do with fewer.
fn many() -> usize {
    if std::env::args().any(|argument| argument == "--test") {
        MANY / 100
    } else {
        MANY
    }
}

/// Fills a store with objects of 1 KiB, tells what each of them takes, and purges one label after the other.
fn among_many(criterion: &mut Criterion) {
    let (runtime, many) = (runtime(), many());
    let before = resident();
    let store = MemoryStore::sized(many as u64 * 4096);
    runtime.block_on(async {
        for number in 0..many {
            keep(&store, number).await;
        }
    });
    let objects = store.usage().expect("a count").objects;
    let each = resident().saturating_sub(before) / objects.max(1);
    #[allow(
        clippy::print_stdout,
        reason = "a figure that criterion has no place for"
    )]
    {
        println!("memory/bytes of the process for each of {objects} objects of 1 KiB: {each}");
    }
    let label = AtomicU64::new(0);
    criterion.bench_function(&format!("memory/purge a label among {many}"), |bencher| {
        let next = || {
            let number = label.fetch_add(1, Ordering::Relaxed) % 1000;
            Purge::hard(Selection::Tag(format!("label-{number}").into()))
        };
        bencher.to_async(&runtime).iter_batched(
            next,
            async |purge| store.purge(&purge).await.expect("a purge"),
            BatchSize::SmallInput,
        );
    });
}

/// One of a thousand labels, and bytes of its own.
async fn keep(store: &impl CacheStore, number: usize) {
    let target: PathAndQuery = format!("/object/{number}").parse().expect("a target");
    let key = CacheKey::new(Scheme::Http, "www.shop.example", &target);
    let meta = meta(SMALL).with_tags([format!("label-{}", number % 1000)]);
    let mut fill = store.insert(&key, meta).await.expect("room");
    let body = Bytes::from(vec![b'x'; SMALL]);
    fill.write(body).await.expect("room");
    fill.finish(http::HeaderMap::new())
        .await
        .expect("an object");
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|word| word.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

/// Everybody wants what takes the origin 200 ms: it is asked once.
fn cold(criterion: &mut Criterion) {
    let runtime = runtime();
    let (origin, proxy) = runtime.block_on(slow());
    let asked = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("cache");
    group.sample_size(10);
    group.bench_function("500 clients on a cold object of 200 ms", |bencher| {
        let next = || format!("/cold/{}", asked.fetch_add(1, Ordering::Relaxed));
        bencher.to_async(&runtime).iter_batched(
            next,
            async |path| {
                join_all((0..CLIENTS).map(|_| wants(&proxy, &path))).await;
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    assert_eq!(origin.count() as u64, asked.into_inner(), "fetches");
}

async fn slow() -> (RunningOrigin, Proxy) {
    let origin = Origin::new().later("*", async |_| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        reply(vec![b'x'; SMALL]).with("cache-control", "max-age=3600")
    });
    let origin = origin.run().await;
    let config = format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    let config = Fixed::toml(&config).expect("a configuration");
    let store = MemoryStore::sized(64 << 20);
    let builder = Server::builder().config(config).cache(store);
    (origin, builder.build().await.expect("a server"))
}

async fn wants(proxy: &Proxy, path: &str) {
    let request = http::Request::get(path).header(HOST, "bench.example");
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let response = proxy.answer(request).await;
    let body = response.into_body().collect().await.expect("a whole body");
    assert_eq!(body.to_bytes().len(), SMALL);
}

/// A look-up and all of the body, from the page cache.
fn disk(criterion: &mut Criterion) {
    let runtime: Runtime = runtime();
    let directory = tempfile::tempdir().expect("a directory");
    let store = DiskStore::builder(directory.path()).capacity(256 << 20);
    let store = store.open_now().expect("a store");
    let large = key("www.shop.example", "/1m");
    runtime.block_on(put(&store, &large, &Bytes::from(vec![b'x'; 1 << 20])));
    let mut group = criterion.benchmark_group("disk");
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("hit of 1 MiB", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let found = store.lookup(black_box(&large)).await.expect("a store");
            let body = found[0].body.read(ByteRange::ALL);
            assert_eq!(
                body.collect().await.expect("a body").to_bytes().len(),
                1 << 20
            );
        });
    });
    group.finish();
}

/// Opens a disk store again that has many objects. Filling it takes minutes, so it is done only if it is asked for by name.
fn restart(criterion: &mut Criterion) {
    let many = many();
    let is_asked = |argument: String| argument == "--test" || argument.contains("restart");
    if !std::env::args().any(is_asked) {
        return;
    }
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a directory");
    let store = reopened(directory.path());
    runtime.block_on(async {
        for number in 0..many {
            keep(&store, number).await;
        }
    });
    drop(store);
    let mut group = criterion.benchmark_group("disk");
    group.sample_size(10);
    group.bench_function(format!("restart with {many} objects"), |bencher| {
        bencher.iter(|| {
            let store = reopened(directory.path());
            assert_eq!(store.usage().expect("a count").objects, many as u64);
        });
    });
    group.finish();
}

/// Once the store before it has let go of the directory.
fn reopened(directory: &Path) -> DiskStore {
    loop {
        match DiskStore::builder(directory).capacity(64 << 30).open_now() {
            Err(OpenError::InUse { .. }) => std::thread::yield_now(),
            opened => return opened.expect("a store"),
        }
    }
}
