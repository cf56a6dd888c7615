//! Drives one watch on a service: its cluster always has the last good endpoints.

use std::sync::{Arc, Weak};

use futures_util::StreamExt;

use super::{Discovery, ServiceName};
use crate::config::Backoff;
use crate::server::Drain;
use crate::upstream::Cluster;

/// Follows a service until its cluster is gone or draining begins. An error changes nothing; an end is a new beginning.
pub(crate) async fn run(
    source: Arc<dyn Discovery>,
    service: ServiceName,
    cluster: Weak<Cluster>,
    drain: Drain,
) {
    let Some(life) = cluster.upgrade().map(|cluster| cluster.life.clone()) else {
        return;
    };
    let mut wait = Backoff::new();
    loop {
        let mut updates = source.watch(&service);
        loop {
            let update = tokio::select! {
                update = updates.next() => update,
                () = drain.begun() => return,
                () = life.cancelled() => return,
            };
            let Some(cluster) = cluster.upgrade() else {
                return;
            };
            match update {
                Some(Ok(endpoints)) => {
                    wait = Backoff::new();
                    tracing::debug!(%service, endpoints = endpoints.len(), "discovery spoke");
                    cluster.update(&endpoints);
                    cluster.heard();
                }
                Some(Err(error)) => {
                    tracing::warn!(%service, %error, "discovery failed; the last known endpoints stay");
                    if wait.rest(&drain).await.is_err() {
                        return;
                    }
                }
                None => break,
            }
        }
        if wait.rest(&drain).await.is_err() {
            return;
        }
    }
}
