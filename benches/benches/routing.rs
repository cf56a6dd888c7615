//! The request finds its site and its route.

use std::hint::black_box;

use cirrus_benches::host;
use cirrus_core::routing::{Found, HostPattern, Hosts, Matcher, PathPattern, Table};
use criterion::Criterion;
use http::{HeaderMap, Method};

fn main() {
    let mut criterion = cirrus_benches::criterion();
    hosts(&mut criterion);
    wildcards(&mut criterion);
    tables(&mut criterion);
    patterns(&mut criterion);
    criterion.final_summary();
}

/// One name among few and many: it is one hash either way.
fn hosts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hosts");
    for count in [1, 10_000] {
        let hosts = hosts_of(count, &|n| host(n));
        let name = host(count / 2);
        group.bench_function(format!("exact among {count}"), |bencher| {
            bencher.iter(|| hosts.lookup(black_box(&name)));
        });
    }
    group.finish();
}

/// A name that only a wildcard covers, two labels below it.
fn wildcards(criterion: &mut Criterion) {
    let hosts = hosts_of(10_000, &|n| format!("*.shop-{n}.example"));
    criterion.bench_function("hosts/wildcard among 10000", |bencher| {
        bencher.iter(|| hosts.lookup(black_box("a.b.shop-5000.example")));
    });
}

fn hosts_of(count: usize, name: &dyn Fn(usize) -> String) -> Hosts<usize> {
    let mut hosts = Hosts::builder();
    for n in 0..count {
        let pattern: HostPattern = name(n).parse().expect("a host");
        hosts.insert(&pattern, n).expect("a new host");
    }
    hosts.build()
}

/// The last route of a site that is looked at: what is tried before it costs as well.
fn tables(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    for count in [1, 50] {
        let table = table_of(count);
        group.bench_function(format!("catch-all of {count}"), |bencher| {
            bencher.iter(|| find(&table, black_box("/products/12345")));
        });
    }
    let table = table_of(50);
    group.bench_function("exact of 50", |bencher| {
        bencher.iter(|| find(&table, black_box("/page-3")));
    });
    group.finish();
}

/// Exact paths, prefixes and parameters by turns; then everything else.
fn table_of(count: usize) -> Table<usize> {
    let path = |n: usize| match n % 3 {
        0 => format!("/page-{n}"),
        1 => format!("/section-{n}/*"),
        _ => format!("/user-{n}/{{id}}/posts"),
    };
    let paths = (0..count - 1).map(path).chain(["/*".to_owned()]);
    let routes = paths.enumerate().map(|(n, path)| (matcher(&path), n));
    Table::compile(routes.collect()).0
}

fn matcher(path: &str) -> Matcher {
    Matcher::new(path.parse().expect("a path"))
}

fn find(table: &Table<usize>, path: &str) -> usize {
    match table.lookup(&Method::GET, path, None, &HeaderMap::new()) {
        Found::Route { index, .. } => index,
        _ => unreachable!("the last route matches everything"),
    }
}

fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for (kind, pattern, path) in [
        ("exact", "/a/b/c", "/a/b/c"),
        ("prefix", "/img/*", "/img/2026/11/cloud.jpg"),
        ("ending", "*.jpg", "/img/2026/11/cloud.jpg"),
        ("parameters", "/user/{id}/post/{n}", "/user/17/post/4"),
    ] {
        let pattern: PathPattern = pattern.parse().expect("a path");
        assert!(pattern.matches(path).is_some());
        group.bench_function(kind, |bencher| {
            bencher.iter(|| pattern.matches(black_box(path)).is_some());
        });
    }
    group.finish();
}
