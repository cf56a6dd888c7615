//! Hosts that are served, but have no certificate.

use crate::config::Snapshot;
use crate::downstream::{CertProvider, Hello, Lookup, ServerName};

/// More hosts than this are not looked at, and so many are named.
const MOST: usize = 10_000;
const NAMED: usize = 10;

/// Tells an operator which hosts of the configuration cannot be had with TLS.
pub(super) fn report(provider: &dyn CertProvider, snapshot: &Snapshot) {
    let missing = uncovered(provider, snapshot);
    if missing.is_empty() {
        return;
    }
    let (count, hosts) = (missing.len(), &missing[..missing.len().min(NAMED)]);
    let message = "hosts without a certificate: handshakes under these names are refused";
    // Some hosts may be meant for listeners without TLS.
    if snapshot.config.listen.iter().all(|listener| listener.tls) {
        tracing::warn!(count, ?hosts, "{message}");
    } else {
        tracing::info!(count, ?hosts, "{message}");
    }
}

fn uncovered(provider: &dyn CertProvider, snapshot: &Snapshot) -> Vec<ServerName> {
    let sites = snapshot.sites.iter();
    let hosts = sites.flat_map(|site| &site.config().hosts);
    let names = hosts.filter_map(|host| ServerName::new(host.as_exact()?));
    names
        .take(MOST)
        .filter(|name| matches!(provider.lookup(&Hello::new(Some(name))), Lookup::Unknown))
        .collect()
}
