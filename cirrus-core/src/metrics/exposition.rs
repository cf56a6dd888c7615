//! Everything that is counted, as OpenMetrics text.

use std::collections::BTreeMap;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::cells::{BOUNDS, Cells, Counter, Durations};
use super::certificates::Certificates;
use super::health::Health;
use super::names::{self, Metric};
use crate::cache::CacheOutcome;
use crate::discovery::feed::Report;
use crate::middleware::access::Reason;
use crate::server::admin::State;
use crate::upstream::RetryReason;

/// Sums every worker's counters and writes them down.
pub(crate) fn render(state: &State) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(Snapshot::take(state))));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// Services of gateways that are shown one by one: there may be a hundred thousand, named by clients.
pub(super) const MAX_FOUND: usize = 500;

/// Everything at one moment: a collector must own what it shows.
#[derive(Debug)]
struct Snapshot {
    numbers: Vec<(Metric, Kind, f64)>,
    requests: Vec<(String, usize, usize, u64)>,
    bytes: Vec<(String, u64)>,
    clusters: Vec<(String, usize, usize, Option<Report>)>,
    /// By what is known of them.
    gateway_services: BTreeMap<&'static str, usize>,
    durations: Vec<Histogram>,
    access_refused: Vec<(&'static str, u64)>,
    retries: Vec<(&'static str, u64)>,
    purges: Vec<(&'static str, u64)>,
    health: Health,
    certificates: Certificates,
}

/// How many durations there were in all, and in each bucket.
#[derive(Debug)]
struct Histogram {
    metric: Metric,
    sum: f64,
    buckets: Vec<(f64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

#[derive(Debug)]
struct Scrape(Snapshot);

// === impl Snapshot ===

impl Snapshot {
    fn take(state: &State) -> Self {
        let engine = &state.engine;
        let sites: Vec<_> = engine
            .sites
            .all()
            .into_iter()
            .chain([engine.no_site.clone()])
            .collect();
        let requests = sites.iter().flat_map(|site| {
            site.requests()
                .map(|(class, cache, count)| (site.name.to_string(), class, cache, count))
        });
        let live = engine.live.now();
        let clusters = live.some_clusters(MAX_FOUND).map(|cluster| {
            let (all, up) = cluster.count();
            (cluster.name.to_string(), up, all - up, cluster.discovery())
        });
        Self {
            numbers: numbers(state),
            requests: requests.collect(),
            bytes: sites
                .iter()
                .map(|site| (site.name.to_string(), site.bytes()))
                .collect(),
            clusters: clusters.collect(),
            gateway_services: gateway_services(state),
            access_refused: access_refused(state),
            retries: retries(state),
            purges: purges(state),
            health: Health::take(engine),
            certificates: Certificates::take(engine),
            durations: vec![
                durations(names::DURATION, state, |cells| &cells.durations),
                durations(names::UPSTREAM_DURATION, state, |cells| {
                    &cells.upstream_durations
                }),
            ],
        }
    }
}

fn numbers(state: &State) -> Vec<(Metric, Kind, f64)> {
    let engine = &state.engine;
    let sum = |pick: fn(&Cells) -> &Counter| {
        engine
            .cells
            .iter()
            .map(|cells| pick(cells).get())
            .sum::<u64>() as f64
    };
    let counter = |metric, pick| (metric, Kind::Counter, sum(pick));
    let gauge = |metric, value: f64| (metric, Kind::Gauge, value);
    let shared = |metric, counter: &Counter| (metric, Kind::Counter, counter.get() as f64);
    let dns = engine.connector.resolver.counts();
    let live = engine.live.now();
    // What has ended is read first: nothing can have ended that had not begun.
    let (finished, closed) = (sum(|cells| &cells.finished), sum(|cells| &cells.closed));
    let in_flight = sum(|cells| &cells.requests) - finished;
    let open = sum(|cells| &cells.accepted) - closed;
    let unqueued = sum(|cells| &cells.unqueued);
    let queued = sum(|cells| &cells.queued) - unqueued;
    let unbuffered = sum(|cells| &cells.unbuffered);
    let buffered = sum(|cells| &cells.buffered) - unbuffered;
    let shaken = sum(|cells| &cells.handshakes_ended);
    let shaking = sum(|cells| &cells.handshakes_begun) - shaken;
    let mut numbers = vec![
        gauge(names::IN_FLIGHT, in_flight),
        counter(names::ACCEPTED, |cells| &cells.accepted),
        gauge(names::OPEN, open),
        counter(names::REFUSED, |cells| &cells.refused),
        counter(names::CLIENT_REFUSED, |cells| &cells.client_refused),
        counter(names::WORN, |cells| &cells.worn),
        counter(names::STALLED, |cells| &cells.stalled),
        gauge(names::BUFFERED, buffered),
        counter(names::HELD_BACK, |cells| &cells.held_back),
        counter(names::SLOW_BODIES, |cells| &cells.slow_bodies),
        counter(names::HTTP2_FLOODS, |cells| &cells.http2_floods),
        counter(names::TIMED_OUT, |cells| &cells.timed_out),
        counter(names::MALFORMED, |cells| &cells.malformed),
        counter(names::PROXY_PROTOCOL_ERRORS, |cells| {
            &cells.proxy_protocol_errors
        }),
        counter(names::HANDSHAKES, |cells| &cells.handshakes),
        counter(names::HANDSHAKE_FAILURES, |cells| &cells.handshake_failures),
        gauge(names::HANDSHAKES_OPEN, shaking),
        counter(names::HANDSHAKES_REFUSED, |cells| &cells.handshakes_refused),
        counter(names::CONNECTS, |cells| &cells.connects),
        counter(names::CONNECT_FAILURES, |cells| &cells.connect_failures),
        counter(names::POOL_HITS, |cells| &cells.pool_hits),
        gauge(
            names::POOL_IDLE,
            state
                .workers
                .iter()
                .map(|worker| worker.pool.len())
                .sum::<usize>() as f64,
        ),
        counter(names::STALE_RETRIES, |cells| &cells.stale_retries),
        counter(names::RETRY_BUDGET, |cells| &cells.retry_budget_exhausted),
        counter(names::MIRRORED, |cells| &cells.mirrored),
        counter(names::MIRROR_DROPPED, |cells| &cells.mirror_dropped),
        counter(names::POOL_WAITS, |cells| &cells.pool_waits),
        counter(names::POOL_REJECTIONS, |cells| &cells.pool_rejections),
        shared(names::DNS_LOOKUPS, &dns.lookups),
        shared(names::DNS_FAILURES, &dns.failures),
        shared(names::DNS_STALE, &dns.stale),
        counter(names::EJECTIONS, |cells| &cells.ejections),
        counter(names::UPSTREAM_STREAMS, |cells| &cells.upstream_streams),
        counter(names::UPSTREAM_RESETS, |cells| &cells.upstream_resets),
        counter(names::TUNNELS, |cells| &cells.tunnels),
        counter(names::LOG_DROPPED, |cells| &cells.log_dropped),
        counter(names::RATE_LIMITED, |cells| &cells.rate_limited),
        gauge(names::QUEUED, queued),
        counter(names::QUEUE_FULL, |cells| &cells.queue_full),
        counter(names::QUEUE_TIMEOUTS, |cells| &cells.queue_timeouts),
        counter(names::DEADLINES, |cells| &cells.deadlines),
        counter(names::BODIES_TOO_LARGE, |cells| &cells.bodies_too_large),
        counter(names::PEER_HITS, |cells| &cells.peer_hits),
        counter(names::PEER_MISSES, |cells| &cells.peer_misses),
        counter(names::PEER_FAILURES, |cells| &cells.peer_failures),
        counter(names::PEER_FALLBACKS, |cells| &cells.peer_fallbacks),
        counter(names::PEER_REQUESTS, |cells| &cells.peer_requests),
        counter(names::COMPRESSION_IN, |cells| &cells.compression_in),
        counter(names::COMPRESSION_OUT, |cells| &cells.compression_out),
        gauge(names::CONFIG_REVISION, live.revision as f64),
        gauge(names::CONFIG_APPLIED, live.applied.as_millis() as f64 / 1e3),
        (
            names::CONFIG_REJECTED,
            Kind::Counter,
            state.status.rejected.get() as f64,
        ),
        (
            names::CONFIG_SOURCE_ERRORS,
            Kind::Counter,
            state.status.source_errors.get() as f64,
        ),
    ];
    purging(state, &mut numbers);
    if let Some(usage) = engine.store.as_ref().and_then(|store| store.usage()) {
        numbers.extend([
            gauge(names::CACHE_BYTES, usage.bytes as f64),
            gauge(names::CACHE_CAPACITY, usage.capacity as f64),
            gauge(names::CACHE_OBJECTS, usage.objects as f64),
            (names::CACHE_EVICTED, Kind::Counter, usage.evicted as f64),
        ]);
    }
    numbers
}

/// What is purged and fetched beforehand, where there is a store.
fn purging(state: &State, numbers: &mut Vec<(Metric, Kind, f64)>) {
    let Some(purger) = &state.engine.purger else {
        return;
    };
    let counts = &state.prefetches.counts;
    let counter = |metric, counter: &Counter| (metric, Kind::Counter, counter.get() as f64);
    numbers.extend([
        counter(names::CACHE_PREFETCHED, &counts.done),
        counter(names::CACHE_PREFETCH_FAILURES, &counts.failed),
    ]);
    let Some(log) = purger.log() else { return };
    let gauge = |metric, value: f64| (metric, Kind::Gauge, value);
    if let Some(position) = log.position() {
        numbers.push(gauge(names::PURGE_LOG_POSITION, position.number as f64));
    }
    if let Some(age) = log.age() {
        numbers.push(gauge(names::PURGE_LOG_AGE, age.as_secs_f64()));
    }
    let fenced = f64::from(u8::from(log.is_fenced()));
    numbers.push(gauge(names::PURGE_LOG_FENCED, fenced));
}

fn purges(state: &State) -> Vec<(&'static str, u64)> {
    let purger = state.engine.purger.as_ref();
    purger.map_or_else(Vec::new, |purger| purger.counts().to_vec())
}

fn retries(state: &State) -> Vec<(&'static str, u64)> {
    let sum = |reason: RetryReason| {
        let cells = state.engine.cells.iter();
        cells
            .map(|cells| cells.retries[reason as usize].get())
            .sum()
    };
    RetryReason::ALL
        .map(|reason| (reason.word(), sum(reason)))
        .to_vec()
}

fn gateway_services(state: &State) -> BTreeMap<&'static str, usize> {
    let live = state.engine.live.now();
    let mut services = BTreeMap::new();
    for (word, count) in live.gateways().flat_map(|gateway| gateway.counts()) {
        *services.entry(word).or_default() += count;
    }
    services
}

fn access_refused(state: &State) -> Vec<(&'static str, u64)> {
    let sum = |reason: Reason| {
        let cells = state.engine.cells.iter();
        cells
            .map(|cells| cells.access_refused[reason as usize].get())
            .sum()
    };
    Reason::ALL
        .map(|reason| (reason.word(), sum(reason)))
        .to_vec()
}

fn durations(metric: Metric, state: &State, pick: fn(&Cells) -> &Durations) -> Histogram {
    let mut total = 0.0;
    let bounds = BOUNDS.iter().copied().chain([f64::MAX]);
    let mut buckets: Vec<(f64, u64)> = bounds.map(|bound| (bound, 0)).collect();
    for cells in &state.engine.cells {
        let (sum, counts) = pick(cells).read();
        total += sum;
        for (bucket, count) in buckets.iter_mut().zip(counts) {
            bucket.1 += count;
        }
    }
    Histogram {
        metric,
        sum: total,
        buckets,
    }
}

// === impl Scrape ===

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(snapshot) = self;
        let counter = MetricType::Counter;
        for &(metric, kind, value) in &snapshot.numbers {
            let form = if kind == Kind::Counter {
                counter
            } else {
                MetricType::Gauge
            };
            let one = describe(&mut encoder, metric, form)?;
            if kind == Kind::Counter {
                ConstCounter::new(value).encode(one)?;
            } else {
                ConstGauge::new(value).encode(one)?;
            }
        }
        let mut requests = describe(&mut encoder, names::REQUESTS, counter)?;
        for (site, class, cache, count) in &snapshot.requests {
            let labels = [
                ("site", site.clone()),
                ("status", format!("{class}xx")),
                (
                    "cache",
                    CacheOutcome::word_of(*cache).unwrap_or_default().to_owned(),
                ),
            ];
            one(&mut requests, &labels, ConstCounter::new(*count))?;
        }
        let mut bytes = describe(&mut encoder, names::RESPONSE_BYTES, counter)?;
        for (site, count) in &snapshot.bytes {
            one(
                &mut bytes,
                &[("site", site.clone())],
                ConstCounter::new(*count),
            )?;
        }
        let mut refused = describe(&mut encoder, names::ACCESS_REFUSED, counter)?;
        for (reason, count) in &snapshot.access_refused {
            one(
                &mut refused,
                &[("reason", (*reason).to_owned())],
                ConstCounter::new(*count),
            )?;
        }
        let mut retries = describe(&mut encoder, names::RETRIES, counter)?;
        for (reason, count) in &snapshot.retries {
            let labels = [("reason", (*reason).to_owned())];
            one(&mut retries, &labels, ConstCounter::new(*count))?;
        }
        if !snapshot.purges.is_empty() {
            let mut purges = describe(&mut encoder, names::CACHE_PURGES, counter)?;
            for (kind, count) in &snapshot.purges {
                let labels = [("kind", (*kind).to_owned())];
                one(&mut purges, &labels, ConstCounter::new(*count))?;
            }
        }
        self.clusters(&mut encoder)?;
        snapshot.health.encode(&mut encoder)?;
        snapshot.certificates.encode(&mut encoder)?;
        for Histogram {
            metric,
            sum,
            buckets,
        } in &snapshot.durations
        {
            let count = buckets.iter().map(|(_, count)| count).sum();
            let mut histogram = describe(&mut encoder, *metric, MetricType::Histogram)?;
            histogram.encode_histogram::<[(String, String); 0]>(*sum, count, buckets, None)?;
        }
        let mut build = describe(&mut encoder, names::BUILD, MetricType::Gauge)?;
        one(
            &mut build,
            &[("version", env!("CARGO_PKG_VERSION").to_owned())],
            ConstGauge::new(1u64),
        )
    }
}

impl Scrape {
    fn clusters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let clusters = &self.0.clusters;
        let mut endpoints = describe(encoder, names::ENDPOINTS, MetricType::Gauge)?;
        for (cluster, up, out, _) in clusters {
            for (state, count) in [("up", up), ("out", out)] {
                let labels = [("cluster", cluster.clone()), ("state", state.to_owned())];
                one(&mut endpoints, &labels, ConstGauge::new(*count as u64))?;
            }
        }
        let mut services = describe(encoder, names::GATEWAY_SERVICES, MetricType::Gauge)?;
        for (state, count) in &self.0.gateway_services {
            let labels = [("state", (*state).to_owned())];
            one(&mut services, &labels, ConstGauge::new(*count as u64))?;
        }
        self.discovery(encoder)
    }

    fn discovery(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let clusters = self.0.clusters.iter();
        let watched: Vec<_> = clusters
            .filter_map(|(cluster, _, _, report)| Some((cluster, report.as_ref()?)))
            .collect();
        let label = |cluster: &String| [("cluster", cluster.clone())];
        let mut errors = describe(encoder, names::DISCOVERY_ERRORS, MetricType::Counter)?;
        for (cluster, report) in &watched {
            one(
                &mut errors,
                &label(cluster),
                ConstCounter::new(report.errors),
            )?;
        }
        let mut failing = describe(encoder, names::DISCOVERY_FAILING, MetricType::Gauge)?;
        for (cluster, report) in &watched {
            let is_failing = u64::from(report.error.is_some());
            one(&mut failing, &label(cluster), ConstGauge::new(is_failing))?;
        }
        let mut holding = describe(encoder, names::DISCOVERY_HOLDING, MetricType::Gauge)?;
        for (cluster, report) in &watched {
            let is_holding = u64::from(report.held.is_some());
            one(&mut holding, &label(cluster), ConstGauge::new(is_holding))?;
        }
        let mut holds = describe(encoder, names::DISCOVERY_HOLDS, MetricType::Counter)?;
        for (cluster, report) in &watched {
            one(&mut holds, &label(cluster), ConstCounter::new(report.holds))?;
        }
        let mut ages = describe(encoder, names::DISCOVERY_AGE, MetricType::Gauge)?;
        for (cluster, report) in &watched {
            if let Some(age) = report.age() {
                one(
                    &mut ages,
                    &label(cluster),
                    ConstGauge::new(age.as_secs_f64()),
                )?;
            }
        }
        Ok(())
    }
}

pub(super) fn describe<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    metric: Metric,
    form: MetricType,
) -> Result<MetricEncoder<'a>, std::fmt::Error> {
    // The encoder adds the full stop that its format wants.
    encoder.encode_descriptor(metric.name, metric.help, None, form)
}

pub(super) fn one<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&'static str, String); N],
    value: impl EncodeMetric,
) -> Result<(), std::fmt::Error>
where
    [(&'static str, String); N]: EncodeLabelSet,
{
    value.encode(family.encode_family(labels)?)
}
