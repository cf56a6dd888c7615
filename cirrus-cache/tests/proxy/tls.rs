//! Clients that come by TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use cirrus_core::downstream::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
use cirrus_core::testing::{Client, certs};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types;

/// One certificate for everybody.
#[derive(Clone)]
pub(crate) struct Known {
    pair: certs::Pair,
    certificate: Arc<Certificate>,
}

impl Known {
    pub(crate) fn for_names(names: &[&str]) -> Self {
        let pair = certs::for_names(names);
        let certificate = Arc::new(pair.certificate());
        Self { pair, certificate }
    }
}

#[async_trait]
impl CertProvider for Known {
    fn lookup(&self, _: &Hello<'_>) -> Lookup {
        Lookup::Found(Arc::clone(&self.certificate))
    }

    async fn load(&self, _: &ServerName) -> Result<Arc<Certificate>, CertError> {
        Ok(Arc::clone(&self.certificate))
    }
}

/// A client with one connection by TLS, which asks for `host`.
pub(crate) async fn secure_client(address: SocketAddr, known: &Known, host: &str) -> Client {
    let config = certs::client_trusting(std::slice::from_ref(&known.pair.der), &[b"http/1.1"]);
    let name = host.split(':').next().expect("a name").to_owned();
    let name = pki_types::ServerName::try_from(name).expect("a name");
    let stream = TcpStream::connect(address)
        .await
        .expect("a server that accepts");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .expect("a handshake");
    Client::to(address).host(host).over(stream)
}
