//! The contract of [`CertProvider`] as tests.
//!
//! ```ignore
//! // In any crate with a backend; the closure makes a fresh provider for every test.
//! cirrus_core::testing::cert_provider_suite!(|| Vault::holding("known.example"));
//! ```
//!
//! The provider serves `known.example`, and neither `unknown.example` nor `unknown.known.example.invalid`.
//! It may serve more.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{self, CertificateDer};
use tokio_rustls::TlsConnector;

use super::certs;
use crate::BoxError;
use crate::config::TlsConfig;
use crate::downstream::tls::{Acceptor, Spawn, Terms};
use crate::downstream::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};

/// Performs real handshakes with a provider's certificates, in memory.
#[derive(Clone, Debug)]
pub struct Handshakes {
    acceptor: Acceptor,
    client: Arc<ClientConfig>,
}

/// Tests a provider against the contract of [`CertProvider`]; see [`cert_suite`](self).
#[doc(hidden)]
#[macro_export]
macro_rules! __cert_provider_suite {
    ($make:expr) => {
        $crate::__cert_provider_suite! {
            @each $make;
            known_name_is_served,
            key_matches_its_certificate,
            a_handshake_succeeds,
            what_was_loaded_is_found,
            case_of_a_name_does_not_matter,
            unknown_name_is_refused,
            what_is_found_covers_the_name,
            a_wildcard_stands_for_one_label,
            a_client_without_a_name_gets_an_answer,
            concurrent_lookups_agree,
        }
    };
    (@each $make:expr; $($behaviour:ident,)*) => {
        /// The contract of every certificate provider.
        mod cert_provider_suite {
            #[allow(unused_imports, reason = "what the expression needs, and it may need nothing")]
            use super::*;

            $(
                #[test]
                fn $behaviour() {
                    let provider = ::std::sync::Arc::new(($make)());
                    $crate::testing::cert_suite::run(
                        $crate::testing::cert_suite::$behaviour(provider),
                    );
                }
            )*
        }
    };
}

// === impl Handshakes ===

impl Handshakes {
    /// With a client that believes anyone, and a server like the engine's own.
    #[must_use]
    pub fn with(provider: Arc<dyn CertProvider>) -> Self {
        let versions = rustls::ALL_VERSIONS;
        Self::between(certs::client_trusting_anyone(&[b"h2"], versions), provider)
    }

    /// With a client of your own.
    #[must_use]
    pub fn between(client: ClientConfig, provider: Arc<dyn CertProvider>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test's own runtime ends them")]
        let spawn = Spawn::new(|work| drop(tokio::spawn(work)));
        let clock = Arc::new(crate::SystemClock);
        let terms = Terms::new(&TlsConfig::default(), clock, None).expect("no secrets to read");
        let acceptor = Acceptor::new(provider, terms, spawn);
        Self {
            acceptor,
            client: Arc::new(client),
        }
    }

    /// Shakes hands, asking for `name`, and gives the certificate that the server presented.
    ///
    /// # Errors
    ///
    /// Whatever either side did not like.
    pub async fn shake(&self, name: &str) -> Result<CertificateDer<'static>, BoxError> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let name = pki_types::ServerName::try_from(name.to_owned())?;
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let (client, server) =
            tokio::join!(connector.connect(name, near), self.acceptor.accept(far));
        let (stream, _) = (client?, server?);
        let shown = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        shown
            .cloned()
            .map(CertificateDer::into_owned)
            .ok_or_else(|| "no certificate shown".into())
    }
}

// === the behaviours ===

/// Runs one test.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

#[doc(hidden)]
pub async fn known_name_is_served(provider: Arc<impl CertProvider>) {
    let certificate = certificate(&*provider, "known.example").await;
    assert!(
        certificate.covers("known.example"),
        "{certificate:?} does not cover known.example"
    );
    for name in &*certificate.names {
        assert_eq!(**name, *name.to_ascii_lowercase(), "names are lower-case");
    }
}

#[doc(hidden)]
pub async fn key_matches_its_certificate(provider: Arc<impl CertProvider>) {
    let certificate = certificate(&*provider, "known.example").await;
    certificate
        .key
        .keys_match()
        .expect("the key of the chain's first certificate");
}

#[doc(hidden)]
pub async fn a_handshake_succeeds(provider: Arc<impl CertProvider>) {
    let certificate = certificate(&*provider, "known.example").await;
    let shown = Handshakes::with(provider)
        .shake("known.example")
        .await
        .expect("a handshake");
    assert_eq!(
        Some(&shown),
        certificate.key.cert.first(),
        "another certificate was presented"
    );
}

#[doc(hidden)]
pub async fn what_was_loaded_is_found(provider: Arc<impl CertProvider>) {
    let name = name("known.example");
    let loaded = provider.load(&name).await.expect("known.example");
    let Lookup::Found(found) = provider.lookup(&Hello::new(Some(&name))) else {
        panic!("known.example was loaded and is not found");
    };
    assert_eq!(found.key.cert, loaded.key.cert);
}

#[doc(hidden)]
pub async fn case_of_a_name_does_not_matter(provider: Arc<impl CertProvider>) {
    let lower = certificate(&*provider, "known.example").await;
    let upper = certificate(&*provider, "KNOWN.Example.").await;
    assert_eq!(lower.key.cert, upper.key.cert);
}

#[doc(hidden)]
pub async fn unknown_name_is_refused(provider: Arc<impl CertProvider>) {
    for unknown in ["unknown.example", "unknown.known.example.invalid"].map(name) {
        let cold = match provider.lookup(&Hello::new(Some(&unknown))) {
            Lookup::Unknown => continue,
            Lookup::Cold(cold) => cold,
            Lookup::Found(certificate) => panic!("{unknown} is unknown, not {certificate:?}"),
        };
        match provider.load(&cold).await {
            Err(CertError::NotFound(_)) => {}
            other => panic!("{unknown} is not found, not {other:?}"),
        }
    }
    let refused = Handshakes::with(provider).shake("unknown.example").await;
    assert!(
        refused.is_err(),
        "a handshake for an unknown name succeeded"
    );
}

#[doc(hidden)]
pub async fn what_is_found_covers_the_name(provider: Arc<impl CertProvider>) {
    certificate(&*provider, "known.example").await;
    for asked in [
        "known.example",
        "a.known.example",
        "a.b.known.example",
        "example",
        "xknown.example",
    ] {
        if let Lookup::Found(found) = provider.lookup(&Hello::new(Some(&name(asked)))) {
            assert!(found.covers(asked), "{found:?} was found for {asked}");
        }
    }
}

#[doc(hidden)]
pub async fn a_wildcard_stands_for_one_label(provider: Arc<impl CertProvider>) {
    let certificate = certificate(&*provider, "known.example").await;
    for parent in certificate
        .names
        .iter()
        .filter_map(|name| name.strip_prefix("*."))
    {
        let asked = format!("some-label.{parent}");
        assert!(self::certificate(&*provider, &asked).await.covers(&asked));
        let deeper = name(&format!("two.labels.{parent}"));
        if let Lookup::Found(found) = provider.lookup(&Hello::new(Some(&deeper))) {
            assert!(
                found.covers(deeper.as_str()),
                "{found:?} was found for {deeper}"
            );
        }
    }
}

#[doc(hidden)]
pub async fn a_client_without_a_name_gets_an_answer(provider: Arc<impl CertProvider>) {
    if let Lookup::Cold(cold) = provider.lookup(&Hello::new(None)) {
        provider
            .load(&cold)
            .await
            .expect("what a lookup without a name called cold");
        assert!(matches!(
            provider.lookup(&Hello::new(None)),
            Lookup::Found(_)
        ));
    }
}

#[doc(hidden)]
pub async fn concurrent_lookups_agree(provider: Arc<impl CertProvider>) {
    let expected = certificate(&*provider, "known.example").await;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let known = name("known.example");
                for _ in 0..1000 {
                    match provider.lookup(&Hello::new(Some(&known))) {
                        Lookup::Found(found) => assert_eq!(found.key.cert, expected.key.cert),
                        other => panic!("known.example was found before, now {other:?}"),
                    }
                }
            });
        }
    });
}

async fn certificate(provider: &impl CertProvider, asked: &str) -> Arc<Certificate> {
    match provider.lookup(&Hello::new(Some(&name(asked)))) {
        Lookup::Found(certificate) => certificate,
        Lookup::Cold(cold) => provider
            .load(&cold)
            .await
            .expect("what a lookup called cold"),
        Lookup::Unknown => panic!("{asked} is not served"),
    }
}

fn name(name: &str) -> ServerName {
    ServerName::new(name).expect("a DNS name")
}
