//! What connections are accepted by, as the configuration in force has it.

use std::sync::Arc;
use std::time::Duration;

use super::coverage;
use super::resume::Resumptions;
use super::rules::Rules;
use super::tickets::BadSecret;
use crate::clock::Clock;
use crate::config::{Live, Snapshot, TlsConfig};
use crate::downstream::{CertProvider, ServerName};
use crate::server::Drain;

/// What connections are accepted by.
pub(crate) struct Terms {
    /// Where sites say what they have to do with TLS.
    live: Option<Arc<Live>>,
    pub(super) resumptions: Resumptions,
    pub(super) strict: bool,
    pub(super) default_name: Option<ServerName>,
    /// Where no site says anything.
    rules: Arc<Rules>,
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

// === impl Terms ===

impl Terms {
    /// As configured.
    pub(crate) fn new(
        config: &TlsConfig,
        clock: Arc<dyn Clock>,
        live: Option<Arc<Live>>,
    ) -> Result<Arc<Self>, BadSecret> {
        Ok(Arc::new(Self {
            live,
            resumptions: Resumptions::new(config, clock)?,
            strict: config.strict_sni,
            default_name: config.default_name.as_deref().and_then(ServerName::new),
            rules: Arc::new(Rules::of(config)),
        }))
    }

    /// What holds under a name; `None` if nothing is to be served under it.
    pub(super) fn rules(&self, sni: Option<&ServerName>) -> Option<Arc<Rules>> {
        let Some(live) = &self.live else {
            return Some(Arc::clone(&self.rules));
        };
        let live = live.now();
        if self.strict && sni.is_none() {
            return None;
        }
        // Who names no host is whoever the site for every host takes.
        let site = live.hosts.lookup(sni.map_or("", ServerName::as_str));
        if self.strict && site.is_none() {
            return None;
        }
        let own = site.and_then(|site| site.tls.as_ref());
        Some(own.map_or_else(|| Arc::clone(&live.tls), |own| Arc::clone(&own.rules)))
    }

    /// The names whose connections are passed on, if there are any.
    pub(super) fn passthrough(&self) -> Option<Arc<Snapshot>> {
        let live = self.live.as_ref()?.now();
        live.passthrough.is_some().then_some(live)
    }

    /// Reads again what stands in files, at intervals, and looks whether every host has a certificate of `provider` when
    /// the configuration has changed.
    pub(crate) async fn follow(self: Arc<Self>, provider: Arc<dyn CertProvider>, drain: Drain) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut revision = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.begun() => return,
            }
            let live = self.live.as_ref().map(|live| live.now());
            if let Some(live) = live.filter(|live| live.revision != revision) {
                revision = live.revision;
                if self.default_name.is_none() {
                    coverage::report(&*provider, &live);
                }
            }
            let terms = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || terms.reload());
            if let Err(error) = look.await {
                tracing::error!(%error, "the files of TLS could not be looked at");
            }
        }
    }

    fn reload(&self) {
        self.resumptions.reload();
        let Some(live) = &self.live else { return };
        let live = live.now();
        let asking = live.sites.iter().filter_map(|site| site.tls.as_ref());
        for auth in asking.filter_map(|tls| tls.rules.auth.as_ref()) {
            auth.reload();
        }
    }
}
