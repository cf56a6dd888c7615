//! Services in the DNS: the addresses of a name, or its SRV records.

mod answer;
mod question;
#[cfg(test)]
mod tests;
mod watch;

use std::net::SocketAddr;
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoints, ServiceName};
use cirrus_core::{BoxError, Updates};
use futures_util::stream;

use self::question::Question;
use self::watch::Watch;
use crate::services::failed;

/// Services in the DNS.
///
/// * `dns://api.internal:8080`: each address of the name (A and AAAA), with this port; 80 unless given.
/// * `dns+srv://_http._tcp.api.internal`: the targets of the name's SRV records, with their ports and weights. Those of
///   the lowest priority number that can be resolved are taken.
///
/// Options: `?scheme=https` speaks TLS, on port 443 unless another is given, and verifies the name or the target;
/// `&sni=name` verifies another name.
///
/// A name is asked for again when its TTL is over, within limits. A name that is there without such records has no
/// endpoints. One that does not exist, and a question that nobody answers, is an error, which is followed by another
/// attempt after [`retry`](Self::with_retry); what a part of the questions no longer finds out stays as it was.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Empty for those of the machine.
    servers: Vec<SocketAddr>,
    min_ttl: Duration,
    max_ttl: Duration,
    retry: Duration,
    timeout: Duration,
}

// === impl Dns ===

impl Dns {
    /// Asks the name servers of this machine (`/etc/resolv.conf`), and looks into `/etc/hosts`.
    #[must_use]
    pub fn system() -> Self {
        Self::asking([])
    }

    /// Asks these name servers; without any, as [`system`](Self::system) does.
    #[must_use]
    pub fn asking(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
        }
    }

    /// How long an answer holds, whatever its TTL says. Default: 1 s to 5 min.
    #[must_use]
    pub fn with_ttl(mut self, min: Duration, max: Duration) -> Self {
        (self.min_ttl, self.max_ttl) = (min, max.max(min));
        self
    }

    /// How long after an error the next question is asked. Default: 5 s.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// How long one question to one server may take. Default: 2 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Discovery for Dns {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        match Question::parse(service.as_str()) {
            Ok(question) => {
                let watch = Watch::new(self.clone(), question);
                Box::pin(stream::unfold(watch, |mut watch| async {
                    let item = watch.next().await;
                    Some((item, watch))
                }))
            }
            Err(error) => failed(error),
        }
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        Question::parse(service.as_str()).map(drop)
    }
}
