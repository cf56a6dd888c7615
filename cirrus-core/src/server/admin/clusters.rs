//! What is known about clusters and their endpoints.

use http::StatusCode;
use serde_json::{Value, json};

use super::State;
use super::answer::{Problem, json};
use crate::body::Response;
use crate::health::Seen;
use crate::upstream::{Backend, Cluster};

// === impl State ===

impl State {
    /// Every cluster, in short.
    pub(super) fn clusters(&self) -> Response {
        let snapshot = self.engine.live.now();
        let clusters: Vec<_> = snapshot
            .all_clusters()
            .map(|cluster| summary(&cluster))
            .collect();
        json(&json!({"clusters": clusters}))
    }

    /// One cluster with its endpoints, and what their checks have seen lately.
    pub(super) fn cluster(&self, name: &str) -> Result<Response, Problem> {
        let name = crate::middleware::access::decoded(name);
        let snapshot = self.engine.live.now();
        let cluster = snapshot
            .all_clusters()
            .find(|cluster| *cluster.name == *name);
        let Some(cluster) = cluster else {
            let detail = format!("there is no cluster `{name}`; GET /api/v1/clusters lists them");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        let mut value = summary(&cluster);
        let endpoints: Vec<_> = cluster.backends().iter().map(|one| endpoint(one)).collect();
        value["endpoints"] = endpoints.into();
        Ok(json(&value))
    }
}

fn summary(cluster: &Cluster) -> Value {
    let (endpoints, up) = cluster.count();
    json!({
        "name": &*cluster.name,
        "service": cluster.service.as_ref().map(|service| service.as_str()),
        "endpoints": endpoints,
        "up": up,
        "panic": cluster.is_panicking(),
        "breaker": cluster.breaker().map(|breaker| breaker.state()),
        "discovery_age": cluster.discovery().and_then(|report| report.age()).map(|age| age.as_secs_f64()),
    })
}

fn endpoint(backend: &Backend) -> Value {
    let health = &backend.health;
    let checks = health.watches().into_iter().map(|(name, watch)| {
        let state = watch.state();
        json!({
            "name": &*name,
            "up": state.up,
            "since": state.since.map(|since| since.as_millis() as f64 / 1e3),
            "last": state.seen.iter().rev().map(seen).collect::<Vec<_>>(),
        })
    });
    json!({
        "url": backend.transport.url.to_string(),
        "up": health.out_for().is_none(),
        "ejected": health.cause().map(|cause| json!({
            "cause": cause.word(),
            "seconds": health.ejected_for().map(|left| left.as_secs_f64()),
        })),
        "checks": checks.collect::<Vec<_>>(),
    })
}

/// One look. The newest come first.
fn seen(seen: &Seen) -> Value {
    json!({
        "at": seen.at.as_millis() as f64 / 1e3,
        "seconds": seen.took.as_secs_f64(),
        "error": seen.error.as_deref(),
    })
}
