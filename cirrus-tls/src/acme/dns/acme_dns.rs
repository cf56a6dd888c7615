//! acme-dns: a name server for challenges only, with an HTTP API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::{BoxError, SystemClock};
use http::{Method, Request, StatusCode};
use instant_acme::BodyWrapper;
use serde_json::json;

use super::{DnsSolver, Propagation, SolverError, TxtRecord, target};
use crate::acme::http::Http;
use crate::acme::state::{Credentials, State};
use crate::acme::store::CertStore;

/// Writes records through the API of an acme-dns server. Each domain has an account of its own there, whose credentials are
/// kept in the store ([`Slot::State`](crate::acme::Slot::State)); where there are none yet, one is registered.
///
/// The domain's `_acme-challenge` must be an alias (CNAME) of the account's name there. Nobody but the domain's owner can
/// write that, so it is checked first, and what is to be written is told.
#[derive(Clone)]
pub struct AcmeDns {
    api: String,
    store: Arc<dyn CertStore>,
    http: Http,
    check_alias: bool,
    propagation: Propagation,
}

/// For the lease under which an account is registered.
const LIFE: Duration = Duration::from_secs(60);

// === impl AcmeDns ===

impl AcmeDns {
    /// By the API at this URL; credentials are in `store`.
    ///
    /// # Errors
    ///
    /// The system's roots cannot be had.
    pub fn new(api: impl Into<String>, store: Arc<dyn CertStore>) -> Result<Self, BoxError> {
        Ok(Self {
            api: api.into().trim_end_matches('/').to_owned(),
            store,
            http: Http::new(None, Arc::new(SystemClock))?,
            check_alias: true,
            propagation: Propagation::default(),
        })
    }

    /// Whether the alias is checked. Default: it is.
    #[must_use]
    pub fn checking_alias(mut self, check: bool) -> Self {
        self.check_alias = check;
        self
    }

    /// Looks whether a value has arrived this way.
    #[must_use]
    pub fn with_propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    async fn update(&self, record: &TxtRecord) -> Result<(), BoxError> {
        let credentials = self.credentials(&record.domain).await?;
        if self.check_alias {
            self.check(&record.domain, &credentials).await?;
        }
        let body = json!({ "subdomain": credentials.subdomain, "txt": record.value });
        let request = self
            .request("update")
            .header("X-Api-User", credentials.username)
            .header("X-Api-Key", credentials.password);
        self.send(request.body(BodyWrapper::from(body.to_string().into_bytes()))?)
            .await?;
        Ok(())
    }

    async fn check(&self, domain: &str, credentials: &Credentials) -> Result<(), BoxError> {
        let from = format!("_acme-challenge.{domain}");
        let wanted = credentials.fulldomain.trim_end_matches('.');
        let found = target(&self.propagation, &from).await;
        if found.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(format!("write this into the zone of {domain}: {from}. CNAME {wanted}.").into())
    }

    async fn credentials(&self, domain: &str) -> Result<Credentials, BoxError> {
        let known = State::read(&*self.store, domain).await?.acme_dns;
        match known {
            Some(known) => Ok(known),
            None => self.register(domain).await,
        }
    }

    async fn register(&self, domain: &str) -> Result<Credentials, BoxError> {
        // Not the lease for the domain: whoever orders has that one.
        let lease = format!("_acme-dns.{domain}");
        let lease = self.store.acquire(&lease, LIFE).await?;
        let lease = lease.ok_or("another node registers it just now")?;
        if let Some(known) = State::read(&*self.store, domain).await?.acme_dns {
            return Ok(known);
        }
        let request = self.request("register");
        let answer = self
            .send(request.body(BodyWrapper::from(Vec::new()))?)
            .await?;
        let made: Credentials = serde_json::from_slice(&answer)?;
        let kept = made.clone();
        State::update(&*self.store, &lease, domain, |state| {
            state.acme_dns = Some(kept);
        })
        .await?;
        self.store.release(lease).await?;
        Ok(made)
    }

    fn request(&self, path: &str) -> http::request::Builder {
        Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{path}", self.api))
            .header("content-type", "application/json")
    }

    async fn send(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Bytes, BoxError> {
        let (parts, body) = self.http.send(request).await?;
        match parts.status {
            StatusCode::OK | StatusCode::CREATED => Ok(body),
            status => {
                let words = String::from_utf8_lossy(&body);
                Err(format!("{} answers {status}: {}", self.api, words.trim()).into())
            }
        }
    }
}

impl fmt::Debug for AcmeDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AcmeDns").field(&self.api).finish()
    }
}

#[async_trait]
impl DnsSolver for AcmeDns {
    async fn present(&self, record: &TxtRecord) -> Result<(), SolverError> {
        let done = self.update(record).await;
        done.map_err(|error| SolverError::new(record, "acme-dns", error))
    }

    /// It keeps two values, and forgets the older one by itself.
    async fn cleanup(&self, _: &TxtRecord) -> Result<(), SolverError> {
        Ok(())
    }

    fn propagation(&self) -> Option<&Propagation> {
        Some(&self.propagation)
    }
}
