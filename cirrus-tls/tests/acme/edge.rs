//! An edge before Pebble, and its state.

use std::sync::Arc;

use cirrus_core::BoxError;
use cirrus_core::downstream::ServerName;
use cirrus_core::testing::process::PebbleServer;
use cirrus_core::testing::{certs, proxy};
use cirrus_tls::acme::{Acme, AcmeBuilder, Authority, CertStore, DiskStore};
use rustls::pki_types::{self, CertificateDer};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What nodes of one machine share.
pub(crate) struct Shared {
    pub(crate) pebble: PebbleServer,
    pub(crate) state: TempDir,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(pebble: PebbleServer) -> Self {
        Self {
            pebble,
            state: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn CertStore> {
        Arc::new(DiskStore::open(self.state.path()).unwrap())
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::new("pebble", self.pebble.url()).with_roots(self.pebble.root())
    }

    pub(crate) fn builder(&self) -> AcmeBuilder {
        Acme::builder(self.store()).authority(self.authority())
    }

    /// Listens where Pebble looks.
    pub(crate) async fn run(&self, acme: &Acme) -> proxy::Running {
        let toml = format!(
            "[[listen]]\naddress = \"{}\"\n[[listen]]\naddress = \"{}\"\ntls = true\n\
             [[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = {{ status = 204 }}\n",
            self.pebble.http(),
            self.pebble.tls()
        );
        let acme = acme.clone();
        proxy::new(&toml)
            .with(|builder| builder.certs(acme))
            .run()
            .await
    }

    /// The certificate that a client is shown that asks for `name`.
    pub(crate) async fn shown(&self, name: &str) -> Result<CertificateDer<'static>, BoxError> {
        let config = certs::client_trusting_anyone(&[b"h2"], rustls::ALL_VERSIONS);
        let stream = TcpStream::connect(self.pebble.tls()).await?;
        let name = pki_types::ServerName::try_from(name.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let chain = stream.get_ref().1.peer_certificates();
        let own = chain.and_then(<[_]>::first).ok_or("no certificate")?;
        Ok(own.clone().into_owned())
    }

    /// Until a client that asks for `name` is shown one.
    pub(crate) async fn until_shown(&self, name: &str) -> CertificateDer<'static> {
        loop {
            match self.shown(name).await {
                Ok(shown) => return shown,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }
}

/// The DNS names in a certificate, in order.
pub(crate) fn names(der: &CertificateDer<'_>) -> Vec<String> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    let names = names.value.general_names.iter();
    let mut names: Vec<_> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    names.sort();
    names
}

pub(crate) fn name(name: &str) -> ServerName {
    ServerName::new(name).unwrap()
}
