//! Certificates fetched when they are first asked for, from a vault, a database or whatever knows them. Here that is a
//! directory with pairs `NAME.pem` and `NAME.key`: there may be any number, and none is read before somebody wants it.
//!
//! Arguments: the origin's URL, the directory, the address to listen on.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use cirrus_core::config::ListenConfig;
use cirrus_core::downstream::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
use cirrus_core::{BoxError, Server};
use cirrus_discovery::{Fixed, proxy_to};
use cirrus_tls::Loaded;

/// Keeps what `fetch` has fetched.
struct OnDemand<F> {
    fetch: F,
    known: RwLock<HashMap<ServerName, Arc<Certificate>>>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, directory, listen] =
        cirrus_examples::arguments(["http://127.0.0.1:3000", "certs", "127.0.0.1:8443"]);
    let mut config = proxy_to([origin.parse()?]);
    config.listen = vec![ListenConfig::plain(listen.parse()?)];
    config.listen[0].tls = true;
    Server::builder()
        .config(Fixed::new(config))
        .certs(OnDemand::new(move |name: ServerName| {
            // A `ServerName` is a valid DNS name, so it cannot lead out of the directory.
            let pair = Path::new(&directory).join(name.as_str());
            async move { read(&pair, &name).await }
        }))
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

/// Reads `PAIR.pem` and `PAIR.key`.
async fn read(pair: &Path, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
    let failed = |error: io::Error| match error.kind() {
        // This answer is remembered for a while.
        io::ErrorKind::NotFound => CertError::NotFound(name.clone()),
        _ => CertError::Unavailable {
            name: name.clone(),
            source: error.into(),
        },
    };
    let file = |extension| format!("{}.{extension}", pair.display());
    let chain = tokio::fs::read(file("pem")).await.map_err(failed)?;
    let key = tokio::fs::read(file("key")).await.map_err(failed)?;
    let loaded = Loaded::from_pem(&chain, &key).map_err(|error| CertError::Invalid {
        name: name.clone(),
        reason: error.to_string(),
    })?;
    Ok(loaded.certificate)
}

// === impl OnDemand ===

impl<F> OnDemand<F> {
    fn new(fetch: F) -> Self {
        Self {
            fetch,
            known: RwLock::default(),
        }
    }
}

#[async_trait]
impl<F, Fetched> CertProvider for OnDemand<F>
where
    F: Fn(ServerName) -> Fetched + Send + Sync + 'static,
    Fetched: Future<Output = Result<Arc<Certificate>, CertError>> + Send,
{
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        let Some(name) = hello.name else {
            return Lookup::Unknown;
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some(certificate) => Lookup::Found(Arc::clone(certificate)),
            None => Lookup::Cold(name.clone()),
        }
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        let certificate = (self.fetch)(name.clone()).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.clone(), Arc::clone(&certificate));
        Ok(certificate)
    }
}

#[cfg(test)]
mod tests {
    use cirrus_core::testing::certs;

    use super::*;

    /// Knows one name.
    fn one() -> impl CertProvider {
        let pair = Arc::new(certs::for_names(&["known.example"]).certificate());
        OnDemand::new(move |name: ServerName| {
            let found = pair.covers(name.as_str()).then(|| Arc::clone(&pair));
            async move { found.ok_or(CertError::NotFound(name)) }
        })
    }

    cirrus_core::testing::cert_provider_suite!(one);
}
