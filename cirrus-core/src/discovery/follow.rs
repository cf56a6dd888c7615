//! Gives a cluster the endpoints of its service.

use std::sync::Weak;

use tokio::sync::watch;

use super::Endpoints;
use crate::server::Drain;
use crate::upstream::Cluster;

/// Passes on every change until the cluster is gone or draining begins.
pub(crate) async fn run(
    mut endpoints: watch::Receiver<Option<Endpoints>>,
    cluster: Weak<Cluster>,
    drain: Drain,
) {
    let Some(life) = cluster.upgrade().map(|cluster| cluster.life.clone()) else {
        return;
    };
    loop {
        tokio::select! {
            changed = endpoints.changed() => if changed.is_err() { return },
            () = drain.begun() => return,
            () = life.cancelled() => return,
        }
        let present = endpoints.borrow_and_update().clone();
        match (cluster.upgrade(), present) {
            (Some(cluster), Some(present)) => cluster.update(&present),
            (None, _) => return,
            (_, None) => {}
        }
    }
}
