//! The HTTP client for authorities and name servers' APIs: with time limits, and an ear for `Retry-After`.

use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cirrus_core::{BoxError, Clock, Timestamp};
use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// Sends requests and reads whole answers.
#[derive(Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    clock: Arc<dyn Clock>,
    /// Milliseconds since 1970; until then the server wants to be left alone.
    quiet_until: Arc<AtomicU64>,
}

/// From the first byte sent to the last one received.
const LIMIT: Duration = Duration::from_secs(30);

/// No chain, and no problem report, is as large as this.
const MAX_ANSWER: usize = 1024 * 1024;

/// The longest time that an authority is left alone because it asks for that.
const LONGEST_QUIET: Duration = Duration::from_secs(24 * 60 * 60);

// === impl Http ===

impl Http {
    /// Believes `roots` (PEM), or else the system's.
    pub(super) fn new(roots: Option<&[u8]>, clock: Arc<dyn Clock>) -> Result<Self, BoxError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots)?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        Ok(Self {
            client,
            clock,
            quiet_until: Arc::default(),
        })
    }

    /// Until when the server wants to be left alone (RFC 9110 §10.2.3), if it has said so.
    pub(super) fn quiet_until(&self) -> Option<Timestamp> {
        let until = Timestamp::from_millis(self.quiet_until.load(Ordering::Relaxed));
        (self.clock.now() < until).then_some(until)
    }

    /// Sends one request; gives status and body, whatever the status.
    pub(super) async fn send(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), BoxError> {
        let exchange = async {
            let (parts, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, BoxError>((parts, body))
        };
        let (parts, body) = match tokio::time::timeout(LIMIT, exchange).await {
            Ok(done) => done?,
            Err(_) => return Err(format!("no answer within {LIMIT:?}").into()),
        };
        self.listen(&parts);
        Ok((parts, body))
    }

    fn listen(&self, parts: &http::response::Parts) {
        use StatusCode as S;
        if !matches!(parts.status, S::TOO_MANY_REQUESTS | S::SERVICE_UNAVAILABLE) {
            return;
        }
        let value = parts.headers.get(RETRY_AFTER);
        let value = value.and_then(|value| value.to_str().ok());
        if let Some(until) = value.and_then(|value| retry_after(value, self.clock.now())) {
            self.quiet_until
                .fetch_max(until.as_millis(), Ordering::Relaxed);
        }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let (parts, body) = http
                .send(request)
                .await
                .map_err(instant_acme::Error::Other)?;
            Ok(BytesResponse {
                parts,
                body: Box::new(body),
            })
        })
    }
}

/// Seconds or a date.
fn retry_after(value: &str, now: Timestamp) -> Option<Timestamp> {
    let until = match value.trim().parse::<u64>() {
        Ok(seconds) => now.after(Duration::from_secs(seconds)),
        Err(_) => SystemTime::from(httpdate::HttpDate::from_str(value.trim()).ok()?).into(),
    };
    Some(until.min(now.after(LONGEST_QUIET)))
}

fn tls(roots: Option<&[u8]>) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let Some(pem) = roots else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem) {
        store.add(root?)?;
    }
    if store.is_empty() {
        return Err("there is no certificate among the authority's roots".into());
    }
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::from_secs(784_111_777);
        assert_eq!(
            retry_after("120", now),
            Some(Timestamp::from_secs(784_111_897))
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now),
            Some(Timestamp::from_secs(784_111_837))
        );
        assert_eq!(retry_after("soon", now), None);
        let day = now.after(Duration::from_secs(24 * 60 * 60));
        for far in ["99999999999", "Fri, 06 Nov 2893 08:50:37 GMT"] {
            assert_eq!(retry_after(far, now), Some(day), "{far}");
        }
    }
}
