//! What is counted about health.

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::exposition::{MAX_FOUND, describe, one};
use super::names;
use crate::health::{Cause, Checks};
use crate::server::Engine;

/// Endpoints that are shown one by one.
const MAX_ENDPOINTS: usize = 1000;

/// Everything at one moment.
#[derive(Debug)]
pub(super) struct Health {
    checks: [(&'static str, u64); 2],
    running: usize,
    ejections: Vec<(&'static str, u64)>,
    refused: u64,
    /// Watched ones, with whether the breaker is open and all endpoints are asked.
    clusters: Vec<(String, Option<bool>, bool)>,
    endpoints: Vec<(String, String, bool)>,
}

// === impl Health ===

impl Health {
    pub(super) fn take(engine: &Engine) -> Self {
        let checks: &Checks = &engine.checks;
        let (mut clusters, mut endpoints) = (Vec::new(), Vec::new());
        let live = engine.live.now();
        let watched = live.some_clusters(MAX_FOUND);
        for cluster in watched.filter(|cluster| cluster.rules.watching.is_some()) {
            let name = cluster.name.to_string();
            let open = cluster.breaker().map(|breaker| breaker.state() == "open");
            let left = MAX_ENDPOINTS - endpoints.len();
            let all = cluster.backends();
            endpoints.extend(all.iter().take(left).map(|backend| {
                let up = backend.health.out_for().is_none();
                (name.clone(), backend.transport.url.to_string(), up)
            }));
            clusters.push((name, open, cluster.is_panicking()));
        }
        let ejections =
            Cause::ALL.map(|cause| (cause.word(), checks.ejections[cause as usize].get()));
        Self {
            checks: [("good", checks.good.get()), ("bad", checks.bad.get())],
            running: checks.len(),
            ejections: ejections.to_vec(),
            refused: checks.refused.get(),
            clusters,
            endpoints,
        }
    }

    pub(super) fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        let mut checks = describe(encoder, names::HEALTH_CHECKS, counter)?;
        for (result, count) in self.checks {
            one(
                &mut checks,
                &[("result", result.to_owned())],
                ConstCounter::new(count),
            )?;
        }
        let running = describe(encoder, names::HEALTH_RUNNING, gauge)?;
        prometheus_client::encoding::EncodeMetric::encode(
            &ConstGauge::new(self.running as u64),
            running,
        )?;
        let mut ejections = describe(encoder, names::HEALTH_EJECTIONS, counter)?;
        for (cause, count) in &self.ejections {
            one(
                &mut ejections,
                &[("cause", (*cause).to_owned())],
                ConstCounter::new(*count),
            )?;
        }
        let refused = describe(encoder, names::BREAKER_REFUSED, counter)?;
        prometheus_client::encoding::EncodeMetric::encode(
            &ConstCounter::new(self.refused),
            refused,
        )?;
        self.clusters(encoder)
    }

    fn clusters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = MetricType::Gauge;
        let of = |cluster: &str| [("cluster", cluster.to_owned())];
        let mut open = describe(encoder, names::BREAKER_OPEN, gauge)?;
        for (cluster, is_open, _) in &self.clusters {
            if let Some(is_open) = is_open {
                one(
                    &mut open,
                    &of(cluster),
                    ConstGauge::new(u64::from(*is_open)),
                )?;
            }
        }
        let mut panics = describe(encoder, names::PANICKING, gauge)?;
        for (cluster, _, panicking) in &self.clusters {
            one(
                &mut panics,
                &of(cluster),
                ConstGauge::new(u64::from(*panicking)),
            )?;
        }
        let mut ups = describe(encoder, names::ENDPOINT_UP, gauge)?;
        for (cluster, endpoint, up) in &self.endpoints {
            let labels = [("cluster", cluster.clone()), ("endpoint", endpoint.clone())];
            one(&mut ups, &labels, ConstGauge::new(u64::from(*up)))?;
        }
        Ok(())
    }
}
