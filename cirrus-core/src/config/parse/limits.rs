//! What single values may be, beyond their type.

use super::balancing;
use crate::config::faults::Faults;
use crate::config::model::{
    BreakerConfig, CacheConfig, CheckConfig, ConcurrencyConfig, Config, ConsulGatewayConfig,
    CorsConfig, DiscoveryConfig, DiscoveryGuardConfig, DiskCacheConfig, DnsDiscoveryConfig,
    HealthConfig, LimitsConfig, PoolConfig, RateLimitConfig, RedirectConfig, RedisCacheConfig,
    RespondConfig, RouteConfig, SiteCacheConfig, TimeoutsConfig, TlsConfig,
};
use crate::config::value::{Period, PeriodBound, Size, StatusNumber};
use std::fmt::{self, Display};
use std::ops::RangeInclusive;

/// The table a value stands in. Written out only for faults.
pub(super) type Table<'a> = fmt::Arguments<'a>;

/// Reports every value that is out of its range, whether it was read from a text or set by a program.
pub(crate) fn check_values(config: &Config, faults: &mut Faults) {
    if let Some(workers) = config.server.workers {
        within(workers, 1..=1024, format_args!("server"), "workers", faults);
    }
    limits(&config.limits, faults);
    cache(&config.cache, faults);
    admin(config, faults);
    guard(&config.discovery.guard, faults);
    tls(&config.tls, faults);
    dns(&config.discovery.dns, faults);
    records(&config.discovery, faults);
    for (index, cluster) in config.cluster.iter().enumerate() {
        timeouts(
            &cluster.timeouts,
            format_args!("cluster[{index}].timeouts"),
            faults,
        );
        health(
            &cluster.health,
            format_args!("cluster[{index}].health"),
            faults,
        );
        pool(&cluster.pool, format_args!("cluster[{index}].pool"), faults);
        watching(
            &cluster.check,
            cluster.breaker.as_ref(),
            format_args!("cluster[{index}]"),
            faults,
        );
        balancing::cluster(cluster, index, faults);
    }
    for (index, site) in config.site.iter().enumerate() {
        timeouts(
            &site.timeouts,
            format_args!("site[{index}].timeouts"),
            faults,
        );
        health(&site.health, format_args!("site[{index}].health"), faults);
        shaping(
            &site.rate_limit,
            site.concurrency.as_ref(),
            site.deadline,
            format_args!("site[{index}]"),
            faults,
        );
        pool(&site.pool, format_args!("site[{index}].pool"), faults);
        watching(
            &site.check,
            site.breaker.as_ref(),
            format_args!("site[{index}]"),
            faults,
        );
        balancing::site(site, index, faults);
        cors(
            site.cors.as_ref(),
            format_args!("site[{index}].cors"),
            faults,
        );
        let at = format_args!("site[{index}].cache");
        caching(&site.cache, at, faults);
        for (number, route) in site.route.iter().enumerate() {
            if let Some(cache) = &route.cache {
                let at = format_args!("site[{index}].route[{number}].cache");
                caching(cache, at, faults);
            }
            self::route(route, format_args!("site[{index}].route[{number}]"), faults);
            let at = format_args!("site[{index}].route[{number}].cors");
            cors(route.cors.as_ref(), at, faults);
        }
    }
}

fn limits(limits: &LimitsConfig, faults: &mut Faults) {
    let at = format_args!("limits");
    within(limits.connections, 1..=u32::MAX, at, "connections", faults);
    within(
        limits.connections_per_client,
        1..=u32::MAX,
        at,
        "connections_per_client",
        faults,
    );
    within(
        limits.requests_per_connection,
        1..=u32::MAX,
        at,
        "requests_per_connection",
        faults,
    );
    within(
        limits.header_bytes,
        Size::kib(8)..=Size::mib(1),
        at,
        "header_bytes",
        faults,
    );
    within(limits.streams, 1..=10_000, at, "streams", faults);
    within(
        limits.connection_buffer,
        Size::kib(64)..=Size::mib(16),
        at,
        "connection_buffer",
        faults,
    );
    if limits.total_buffer < Size::mib(1) {
        let total = limits.total_buffer.to_string();
        let message = format!("{total} is too small: at least 1MiB is allowed");
        faults.error("limits.total_buffer", Some(total), message);
    }
    within(limits.handshakes, 1..=u32::MAX, at, "handshakes", faults);
    positive(limits.header_time, at, "header_time", faults);
    positive(limits.handshake_time, at, "handshake_time", faults);
    positive(limits.idle_time, at, "idle_time", faults);
    positive(limits.send_time, at, "send_time", faults);
    positive(limits.body_idle_time, at, "body_idle_time", faults);
}

fn tls(tls: &TlsConfig, faults: &mut Faults) {
    let at = format_args!("tls");
    let rotation = Period::secs(60)..=Period::secs(3 * 24 * 60 * 60);
    within(tls.ticket_rotation, rotation, at, "ticket_rotation", faults);
    within(tls.sessions, 1..=10_000_000, at, "sessions", faults);
}

fn cache(cache: &CacheConfig, faults: &mut Faults) {
    if cache.memory < Size::mib(1) {
        let message = format!("{} is too small: at least 1MiB is allowed", cache.memory);
        faults.error("cache.memory", Some(cache.memory.to_string()), message);
    }
    let most = Size::of(cache.memory.bytes() / 4);
    if let Some(largest) = cache.max_object.filter(|largest| *largest > most) {
        let message = format!(
            "{largest} is too large: at most a quarter of `cache.memory` ({most}) is allowed"
        );
        faults.error("cache.max_object", Some(largest.to_string()), message);
    }
    if let Some(disk) = &cache.disk {
        disk_cache(disk, faults);
    }
    if let Some(redis) = &cache.redis {
        shared_cache(redis, faults);
    }
}

fn disk_cache(disk: &DiskCacheConfig, faults: &mut Faults) {
    let at = format_args!("cache.disk");
    within(disk.min_uses, 1..=u8::MAX, at, "min_uses", faults);
    if disk.capacity < Size::mib(64) {
        let message = format!("{} is too small: at least 64MiB is allowed", disk.capacity);
        faults.error(
            "cache.disk.capacity",
            Some(disk.capacity.to_string()),
            message,
        );
    }
    let most = Size::of(disk.capacity.bytes() / 4);
    if let Some(largest) = disk.max_object.filter(|largest| *largest > most) {
        let message = format!(
            "{largest} is too large: at most a quarter of `cache.disk.capacity` ({most}) is allowed"
        );
        faults.error("cache.disk.max_object", Some(largest.to_string()), message);
    }
}

fn shared_cache(redis: &RedisCacheConfig, faults: &mut Faults) {
    let at = format_args!("cache.redis");
    if redis.url.is_none() {
        let message = "needs `url`, for example \"redis://10.0.0.5:6379\"";
        faults.error("cache.redis", None, message);
    }
    let times = Period::millis(1)..=Period::secs(10);
    within(redis.timeout, times, at, "timeout", faults);
    let sizes = Size::of(1)..=Size::mib(64);
    within(redis.max_object, sizes, at, "max_object", faults);
}

fn caching(cache: &SiteCacheConfig, at: Table<'_>, faults: &mut Faults) {
    within(
        cache.heuristic_percent,
        0..=100,
        at,
        "heuristic_percent",
        faults,
    );
    if let Some(slice) = cache.slice {
        within(slice, Size::kib(64)..=Size::mib(64), at, "slice", faults);
    }
}

fn admin(config: &Config, faults: &mut Faults) {
    let Some(admin) = &config.admin else { return };
    let address = admin.address;
    if !address.ip().is_loopback() && admin.tokens.is_empty() {
        let message = format!(
            "{address} can be reached by others: give `admin.tokens`, or listen on a loopback address, \
             for example 127.0.0.1:9145"
        );
        faults.error("admin.address", Some(address.to_string()), message);
    }
    if admin.open && !admin.tokens.is_empty() {
        let message = "there are `tokens`, so it is not open: leave out one of them";
        faults.error("admin.open", Some("true".to_owned()), message);
    }
}

fn timeouts(timeouts: &TimeoutsConfig, at: Table<'_>, faults: &mut Faults) {
    positive(timeouts.connect, at, "connect", faults);
    positive(timeouts.first_byte, at, "first_byte", faults);
    positive(timeouts.idle, at, "idle", faults);
}

fn health(health: &HealthConfig, at: Table<'_>, faults: &mut Faults) {
    within(health.failures, 1..=1000, at, "failures", faults);
    positive(health.eject, at, "eject", faults);
    positive(health.max_eject, at, "max_eject", faults);
    if let Some(errors) = health.gateway_errors {
        within(errors, 1..=1000, at, "gateway_errors", faults);
    }
    if let Some(points) = health.success_rate_below_mean {
        within(points, 1..=100, at, "success_rate_below_mean", faults);
    }
    if let Some(times) = health.latency_above_median {
        within(times, 2..=100, at, "latency_above_median", faults);
    }
    within(health.max_ejected, 0..=100, at, "max_ejected", faults);
    within(
        health.panic_threshold,
        0..=100,
        at,
        "panic_threshold",
        faults,
    );
    let windows = Period::secs(1)..=Period::secs(300);
    within(health.window, windows, at, "window", faults);
    within(
        health.min_requests,
        1..=1_000_000,
        at,
        "min_requests",
        faults,
    );
    if let Some(some) = &health.at_least {
        let most = u32::try_from(some.of.len()).unwrap_or(u32::MAX);
        within(some.n, 1..=most.max(1), at, "at_least.n", faults);
    }
}

fn watching(
    checks: &[CheckConfig],
    breaker: Option<&BreakerConfig>,
    at: Table<'_>,
    faults: &mut Faults,
) {
    for (index, check) in checks.iter().enumerate() {
        self::check(check, format_args!("{at}.check[{index}]"), faults);
    }
    let Some(breaker) = breaker else { return };
    let at = format_args!("{at}.breaker");
    if let Some(rate) = breaker.error_rate {
        within(rate, 1..=100, at, "error_rate", faults);
    }
    positive(breaker.open, at, "open", faults);
    within(breaker.half_open, 1..=1000, at, "half_open", faults);
    if let Some(most) = breaker.max_requests {
        within(most, 1..=1_000_000, at, "max_requests", faults);
    }
}

fn check(check: &CheckConfig, at: Table<'_>, faults: &mut Faults) {
    let intervals = Period::millis(10)..=Period::secs(86_400);
    within(check.interval, intervals.clone(), at, "interval", faults);
    if let Some(interval) = check.interval_unhealthy {
        within(interval, intervals, at, "interval_unhealthy", faults);
    }
    within(check.jitter, 0..=50, at, "jitter", faults);
    let limits = Period::millis(1)..=Period::secs(300);
    within(check.timeout, limits, at, "timeout", faults);
    within(check.healthy, 1..=1000, at, "healthy", faults);
    within(check.unhealthy, 1..=1000, at, "unhealthy", faults);
    if let Some(port) = check.port {
        within(port, 1..=u16::MAX, at, "port", faults);
    }
}

fn pool(pool: &PoolConfig, at: Table<'_>, faults: &mut Faults) {
    within(pool.max_idle, 0..=65_536, at, "max_idle", faults);
    positive(pool.idle_time, at, "idle_time", faults);
    if let Some(age) = pool.max_age {
        positive(age, at, "max_age", faults);
    }
    if let Some(most) = pool.max_requests {
        within(most, 1..=u32::MAX, at, "max_requests", faults);
    }
    if let Some(most) = pool.max_connections {
        within(most, 1..=1_000_000, at, "max_connections", faults);
    }
    within(pool.max_pending, 0..=1_000_000, at, "max_pending", faults);
}

fn gateway(gateway: &ConsulGatewayConfig, at: Table<'_>, faults: &mut Faults) {
    let most = gateway.max_services;
    within(most, 1..=100_000, at, "max_services", faults);
    within(gateway.pool, 0..=65_536, at, "pool", faults);
    let least = Period::secs(1)..=Period::secs(u64::from(u32::MAX));
    within(gateway.drop_after, least, at, "drop_after", faults);
    positive(gateway.idle_time, at, "idle_time", faults);
    timeouts(&gateway.timeouts, format_args!("{at}.timeouts"), faults);
    health(&gateway.health, format_args!("{at}.health"), faults);
}

fn route(route: &RouteConfig, at: Table<'_>, faults: &mut Faults) {
    shaping(
        route.rate_limit.as_deref().unwrap_or_default(),
        route.concurrency.as_ref(),
        route.deadline.unwrap_or_default(),
        at,
        faults,
    );
    if let Some(RedirectConfig { status, .. }) = &route.redirect
        && !matches!(status.0, 301 | 302 | 303 | 307 | 308)
    {
        let message = format!("{status} is no redirect: 301, 302, 303, 307 and 308 are allowed");
        faults.error(
            format!("{at}.redirect.status"),
            Some(status.to_string()),
            message,
        );
    }
    if let Some(gateway) = &route.consul_gateway {
        self::gateway(gateway, format_args!("{at}.consul_gateway"), faults);
    }
    if let Some(RespondConfig { status, .. }) = &route.respond {
        within(
            *status,
            StatusNumber(200)..=StatusNumber(599),
            at,
            "respond.status",
            faults,
        );
    }
}

/// What a site and a route have in common.
fn shaping(
    rates: &[RateLimitConfig],
    concurrency: Option<&ConcurrencyConfig>,
    deadline: PeriodBound,
    at: Table<'_>,
    faults: &mut Faults,
) {
    for (index, rate) in rates.iter().enumerate() {
        let at = format_args!("{at}.rate_limit[{index}]");
        within(rate.burst(), 1..=1_000_000, at, "burst", faults);
        within(rate.entries, 64..=1 << 24, at, "entries", faults);
    }
    if let Some(concurrency) = concurrency {
        let at = format_args!("{at}.concurrency");
        within(concurrency.requests, 1..=1_000_000, at, "requests", faults);
        within(concurrency.queue, 0..=1_000_000, at, "queue", faults);
        positive(concurrency.wait, at, "wait", faults);
    }
    if let Some(deadline) = deadline.0 {
        positive(deadline, at, "deadline", faults);
    }
}

fn guard(guard: &DiscoveryGuardConfig, faults: &mut Faults) {
    let at = format_args!("discovery.guard");
    within(guard.max_shrink, 0..=100, at, "max_shrink", faults);
    let times = Period::secs(1)..=Period::secs(86_400);
    within(guard.hold, times, at, "hold", faults);
}

fn dns(dns: &DnsDiscoveryConfig, faults: &mut Faults) {
    let at = format_args!("discovery.dns");
    let (least, hour) = (Period::millis(100), Period::secs(3600));
    within(dns.min_ttl, least..=hour, at, "min_ttl", faults);
    let longest = Period::secs(86_400);
    within(dns.max_ttl, dns.min_ttl..=longest, at, "max_ttl", faults);
    within(dns.retry, least..=hour, at, "retry", faults);
    let patience = Period::millis(10)..=Period::secs(60);
    within(dns.timeout, patience, at, "timeout", faults);
}

/// Backends with records under keys.
fn records(discovery: &DiscoveryConfig, faults: &mut Faults) {
    let patience = Period::millis(10)..=Period::secs(60);
    let often = Period::secs(1)..=Period::secs(3600);
    let (etcd, redis) = (&discovery.etcd, &discovery.redis);
    let at = format_args!("discovery.etcd");
    within(etcd.timeout, patience.clone(), at, "timeout", faults);
    within(etcd.read_every, often.clone(), at, "read_every", faults);
    let at = format_args!("discovery.redis");
    within(redis.timeout, patience, at, "timeout", faults);
    within(redis.read_every, often, at, "read_every", faults);
}

fn cors(cors: Option<&CorsConfig>, at: Table<'_>, faults: &mut Faults) {
    if let Some(age) = cors.and_then(|cors| cors.max_age) {
        within(
            age,
            Period::secs(0)..=Period::secs(86_400),
            at,
            "max_age",
            faults,
        );
    }
}

pub(super) fn within<T: PartialOrd + Display>(
    value: T,
    range: RangeInclusive<T>,
    at: Table<'_>,
    key: &str,
    faults: &mut Faults,
) {
    if !range.contains(&value) {
        let message = format!(
            "{value} is out of range: {} to {} is allowed",
            range.start(),
            range.end()
        );
        faults.error(format!("{at}.{key}"), Some(value.to_string()), message);
    }
}

pub(super) fn positive(period: Period, at: Table<'_>, key: &str, faults: &mut Faults) {
    if period.is_zero() {
        faults.error(
            format!("{at}.{key}"),
            Some(period.to_string()),
            "0 is not allowed here: write at least \"1ms\"",
        );
    }
}
