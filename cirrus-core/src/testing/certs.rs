//! Certificates for tests, and TLS clients that believe them.
//!
//! ```
//! use cirrus_core::testing::certs;
//!
//! let pair = certs::for_names(&["shop.example", "*.shop.example"]);
//! assert!(pair.chain_pem.starts_with("-----BEGIN CERTIFICATE-----"));
//! assert!(pair.certificate().covers("www.shop.example"));
//! ```
//!
//! Everything here panics on what no test means, such as a name that is none.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{self, CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Timestamp;
use crate::downstream::Certificate;

/// A certificate with its key, as they stand in files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pair {
    /// The chain, the certificate itself first.
    pub chain_pem: String,
    /// Its key (PKCS #8).
    pub key_pem: String,
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    names: Vec<String>,
    not_after: Timestamp,
}

/// Signs certificates, so that their chains have two links.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// Believes everybody who holds the key of the certificate shown.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

/// 2020-01-01 and 2100-01-01: as good as always.
const ALWAYS: (Timestamp, Timestamp) = (
    Timestamp::from_secs(1_577_836_800),
    Timestamp::from_secs(4_102_444_800),
);

/// A self-signed certificate for `names` (wildcards and addresses too), valid from 2020 to 2100.
#[must_use]
pub fn for_names(names: &[&str]) -> Pair {
    valid_between(names, ALWAYS.0, ALWAYS.1)
}

/// One that ended in 2021.
#[must_use]
pub fn expired(names: &[&str]) -> Pair {
    valid_between(names, ALWAYS.0, Timestamp::from_secs(1_609_459_200))
}

/// One that ends at `not_after`.
#[must_use]
pub fn not_after(names: &[&str], not_after: Timestamp) -> Pair {
    valid_between(names, ALWAYS.0, not_after)
}

/// One that is valid within these two, whole seconds each.
#[must_use]
pub fn valid_between(names: &[&str], from: Timestamp, until: Timestamp) -> Pair {
    let (params, key) = (params(names, from, until), key());
    let made = params.self_signed(&key).expect("a self-signed certificate");
    pair(names, until, &made, made.pem(), &key)
}

/// A client that trusts these certificates, and nothing else.
#[must_use]
pub fn client_trusting(roots: &[CertificateDer<'static>], alpn: &[&[u8]]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    speaking(config, alpn)
}

/// A client that trusts any certificate, valid or not, whose key the server holds.
#[must_use]
pub fn client_trusting_anyone(
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions that the provider has")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider())))
        .with_no_client_auth();
    speaking(config, alpn)
}

fn speaking(mut config: ClientConfig, alpn: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn params(names: &[&str], from: Timestamp, until: Timestamp) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names that a certificate can hold");
    params
        .distinguished_name
        .push(DnType::CommonName, "Cirrus test");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from.as_secs());
    params.not_after = epoch + Duration::from_secs(until.as_secs());
    params
}

fn pair(
    names: &[&str],
    not_after: Timestamp,
    made: &rcgen::Certificate,
    chain_pem: String,
    key: &KeyPair,
) -> Pair {
    Pair {
        chain_pem,
        key_pem: key.serialize_pem(),
        der: made.der().clone(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        not_after,
    }
}

// === impl Pair ===

impl Pair {
    /// As a provider gives it.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        let chain = CertificateDer::pem_slice_iter(self.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .expect("our own chain");
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("our own key");
        let key = CertifiedKey::from_der(chain, key, &provider()).expect("our own pair");
        Certificate::new(key, self.names.iter().cloned(), self.not_after)
    }
}

// === impl Authority ===

impl Authority {
    /// One with a key of its own.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every one is another")]
    pub fn new() -> Self {
        let (mut params, key) = (params(&[], ALWAYS.0, ALWAYS.1), key());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Cirrus test authority");
        let made = params.self_signed(&key).expect("a self-signed certificate");
        let (der, pem) = (made.der().clone(), made.pem());
        Self {
            issuer: Issuer::new(params, key),
            der,
            pem,
        }
    }

    /// A certificate for `names`; its chain ends with the authority's own.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Pair {
        let (params, key) = (params(names, ALWAYS.0, ALWAYS.1), key());
        let made = params
            .signed_by(&key, &self.issuer)
            .expect("a signed certificate");
        pair(names, ALWAYS.1, &made, made.pem() + &self.pem, &key)
    }

    /// Its list of revoked certificates, these ones, valid from 2020 to 2100.
    #[must_use]
    pub fn revoking(&self, pairs: &[&Pair]) -> String {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let at = |time: Timestamp| epoch + Duration::from_secs(time.as_secs());
        let revoked = |pair: &&Pair| {
            let (_, parsed) = X509Certificate::from_der(&pair.der).expect("our own certificate");
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: at(ALWAYS.0),
                reason_code: None,
                invalidity_date: None,
            }
        };
        let params = CertificateRevocationListParams {
            this_update: at(ALWAYS.0),
            next_update: at(ALWAYS.1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a signed list");
        list.pem().expect("a list as text")
    }

    /// Its own certificate, for clients to trust.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// The same in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

// === impl Anyone ===

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &pki_types::ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
