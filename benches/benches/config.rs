//! A configuration is read, compiled, and changed.

use std::hint::black_box;

use bytes::Bytes;
use cirrus_benches::{host, runtime, sites};
use cirrus_core::Server;
use cirrus_core::config::{Config, Format};
use cirrus_core::server::Proxy;
use cirrus_discovery::Fixed;
use criterion::Criterion;
use http::header::{HOST, LOCATION};
use http_body_util::Empty;

const SITES: usize = 1_000;

fn main() {
    let mut criterion = cirrus_benches::criterion();
    parse(&mut criterion);
    compile(&mut criterion);
    change(&mut criterion);
    criterion.final_summary();
}

fn parse(criterion: &mut Criterion) {
    let text = sites(SITES);
    criterion.bench_function("config/parse 1000 sites", |bencher| {
        bencher.iter(|| parsed(black_box(&text)));
    });
}

/// Validation included; a whole engine is built, of which the sites are nearly all.
fn compile(criterion: &mut Criterion) {
    let runtime = runtime();
    let config = parsed(&sites(SITES));
    criterion.bench_function("config/compile 1000 sites", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| engine(Fixed::new(config.clone())));
    });
}

/// From "this site has changed" until requests see it: grows with what changed, not with what exists.
fn change(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("config");
    for count in [1, SITES, 10 * SITES] {
        let change = Change::of(count);
        let source = Fixed::new(change.before.clone());
        let proxy = runtime.block_on(engine(source.clone()));
        group.bench_function(format!("change one site of {count}"), |bencher| {
            bencher.to_async(&runtime).iter(async || {
                source.replace(change.after.clone());
                seen(&proxy, "/newer/1").await;
                source.replace(change.before.clone());
                seen(&proxy, "/new/1").await;
            });
        });
    }
    group.finish();
}

/// Two configurations that differ in the first site.
struct Change {
    before: Config,
    after: Config,
}

impl Change {
    fn of(count: usize) -> Self {
        let before = parsed(&sites(count));
        let mut after = before.clone();
        let other = sites(1).replace("/new/{id}", "/newer/{id}");
        after.site[0] = parsed(&other).site.remove(0);
        Self { before, after }
    }
}

/// Waits until the first site redirects to `location`.
async fn seen(proxy: &Proxy, location: &str) {
    loop {
        let request = http::Request::get("/old/1")
            .header(HOST, host(0))
            .body(Empty::<Bytes>::new())
            .expect("a request");
        let response = proxy.answer(request).await;
        let got = response.headers().get(LOCATION);
        if got.expect("a redirect") == location {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn parsed(text: &str) -> Config {
    let (config, _) = Config::parse(text, Format::Toml).expect("a configuration");
    config
}

async fn engine(source: Fixed) -> Proxy {
    let builder = Server::builder().config(source);
    builder.build().await.expect("a server")
}
