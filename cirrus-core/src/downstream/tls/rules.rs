//! What TLS is like for one site.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::Chosen;
use super::auth::{Believed, ClientAuth, Domain};
use super::resume::Resumptions;
use crate::config::{SiteTlsConfig, TlsConfig, TlsVersion};

/// Which versions and protocols are offered under a site's names, and whose certificates are asked for.
pub(crate) struct Rules {
    pub(crate) min: TlsVersion,
    pub(crate) max: TlsVersion,
    pub(crate) http2: bool,
    pub(crate) auth: Option<Arc<ClientAuth>>,
    /// Made at the first handshake, and again when the clients' authorities have changed.
    made: ArcSwapOption<Made>,
}

struct Made {
    /// What the clients' authorities were then.
    believed: Option<Arc<Believed>>,
    with_http2: Arc<ServerConfig>,
    without: Arc<ServerConfig>,
}

// === impl Rules ===

impl Rules {
    /// What holds for sites that say nothing.
    pub(crate) fn of(config: &TlsConfig) -> Self {
        Self::new(config, &SiteTlsConfig::default(), None)
    }

    pub(crate) fn new(
        config: &TlsConfig,
        site: &SiteTlsConfig,
        auth: Option<Arc<ClientAuth>>,
    ) -> Self {
        Self {
            min: site.min_version.unwrap_or(config.min_version),
            max: site.max_version.unwrap_or(config.max_version),
            http2: site.http2.unwrap_or(true),
            auth,
            made: ArcSwapOption::empty(),
        }
    }

    /// Everything but the certificate. `http2`: whether the listener has it.
    pub(super) fn config(
        &self,
        resumptions: &Resumptions,
        http2: bool,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let believed = self.auth.as_ref().map(|auth| auth.believed());
        let made = match self.made.load_full() {
            Some(made) if is_same(made.believed.as_ref(), believed.as_ref()) => made,
            _ => {
                let made = Arc::new(self.make(resumptions, believed)?);
                self.made.store(Some(Arc::clone(&made)));
                made
            }
        };
        Ok(match http2 && self.http2 {
            true => Arc::clone(&made.with_http2),
            false => Arc::clone(&made.without),
        })
    }

    fn make(
        &self,
        resumptions: &Resumptions,
        believed: Option<Arc<Believed>>,
    ) -> Result<Made, rustls::Error> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions())?;
        let config = match &believed {
            None => config.with_no_client_auth(),
            Some(believed) => match &believed.verifier {
                Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier)),
                None => {
                    let why = "the authorities of clients' certificates cannot be read";
                    return Err(rustls::Error::General(why.to_owned()));
                }
            },
        };
        let mut config = config.with_cert_resolver(Arc::new(Chosen(None)));
        let domain = believed
            .as_ref()
            .map_or(Domain::default(), |one| one.domain);
        resumptions.apply(&mut config, domain);
        Ok(Made {
            believed,
            with_http2: speaking(&config, &[b"h2", b"http/1.1"]),
            without: speaking(&config, &[b"http/1.1"]),
        })
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [
            (TlsVersion::V1_3, &rustls::version::TLS13),
            (TlsVersion::V1_2, &rustls::version::TLS12),
        ];
        let offered = all.into_iter().filter(|(version, _)| self.allows(*version));
        offered.map(|(_, version)| version).collect()
    }

    /// Whether this version is spoken.
    pub(crate) fn allows(&self, version: TlsVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("min", &self.min)
            .field("max", &self.max)
            .field("http2", &self.http2)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

fn is_same(one: Option<&Arc<Believed>>, other: Option<&Arc<Believed>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

fn speaking(config: &ServerConfig, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// ECDHE and authenticated encryption only; X25519MLKEM768 goes before the other groups.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
