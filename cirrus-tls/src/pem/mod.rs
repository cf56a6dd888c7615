//! Reads a chain and its key from PEM, and says in plain words what is wrong with them.

mod staple;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cirrus_core::Timestamp;
use cirrus_core::downstream::{Certificate, ServerName};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error as TlsError, InconsistentKeys};
use staple::Staple;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A chain that belongs to its key, ready to be served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// As the engine takes it. Its names are the certificate's DNS names and addresses (IPv6 in brackets, as in URLs).
    pub certificate: Arc<Certificate>,
    /// The beginning of its validity.
    pub not_before: Timestamp,
    repaired: bool,
    /// When the OCSP response that goes with it is no longer believed.
    stapled_until: Option<Timestamp>,
}

/// Why a chain and a key cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// Nothing in the chain's PEM is a certificate.
    #[error("there is no certificate in it (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// The chain is cut off or is not PEM.
    #[error("the chain is damaged: {0}")]
    DamagedChain(String),
    /// A certificate of the chain is not X.509.
    #[error("certificate {position} of the chain cannot be read: {reason}")]
    DamagedCertificate {
        /// Which one, from 1.
        position: usize,
        /// What the parser says.
        reason: String,
    },
    /// It names neither a host nor an address, so no client would accept it (RFC 9110 §4.3.4).
    #[error("the certificate is for no host: it has no subject alternative name")]
    NoNames,
    /// Nothing in the key's PEM is a private key.
    #[error("there is no private key in it (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    /// The key needs a password.
    #[error("the key is encrypted: decrypt it with `openssl pkey`")]
    EncryptedKey,
    /// The key is cut off or is not PEM.
    #[error("the key is damaged: {0}")]
    DamagedKey(String),
    /// The key's algorithm or form is not supported.
    #[error("the key cannot be used: {0}")]
    UnusableKey(String),
    /// Each is fine, but they are not a pair.
    #[error("the key does not match the certificate")]
    Mismatch,
}

/// What an operator should know about a certificate that is served all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Clients refuse it since then.
    Expired(Timestamp),
    /// Clients refuse it until then.
    NotYetValid(Timestamp),
    /// The chain was in the wrong order; it is served in the right one.
    ChainOrder,
}

/// One certificate of the chain.
struct Link {
    der: CertificateDer<'static>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

// === impl Loaded ===

impl Loaded {
    /// Reads a chain and its key. The same text may hold both.
    ///
    /// The certificate that belongs to the key comes first, whatever the order in the text, and the others in the
    /// order in which they sign each other.
    ///
    /// # Errors
    ///
    /// Whatever keeps them from being served. That a certificate is expired does not: see
    /// [`warnings`](Self::warnings).
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let links = links(chain)?;
        let key = signing_key(key)?;
        let own = links
            .iter()
            .position(|link| belongs(link, &key))
            .ok_or(PemError::Mismatch)?;
        let (chain, repaired) = in_order(links, own);
        let (names, not_before, not_after) = facts(&chain[0])?;
        let certificate = Certificate::new(CertifiedKey::new(chain, key), names, not_after);
        Ok(Self {
            certificate: Arc::new(certificate),
            not_before,
            repaired,
            stapled_until: None,
        })
    }

    /// With an OCSP response (DER) for clients that ask for one; an empty text takes it away.
    ///
    /// # Errors
    ///
    /// What is wrong with the response, for which clients would refuse the certificate.
    pub fn with_staple(mut self, response: &[u8], now: Timestamp) -> Result<Self, &'static str> {
        let staple = match response {
            [] => None,
            der => Some(Staple::read(der)?),
        };
        if staple.as_ref().is_some_and(|staple| staple.until <= now) {
            return Err("it is too old: clients do not believe it any more");
        }
        let certificate = &self.certificate;
        let mut key = CertifiedKey::clone(&certificate.key);
        self.stapled_until = staple.as_ref().map(|staple| staple.until);
        key.ocsp = staple.map(|staple| staple.der);
        let names = certificate.names.iter().map(ToString::to_string);
        self.certificate = Arc::new(Certificate::new(key, names, certificate.not_after));
        Ok(self)
    }

    /// Whether its OCSP response has become too old.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        self.stapled_until.is_some_and(|until| until <= now)
    }

    /// Everything worth a warning at `now`.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<Warning> {
        let order = self.repaired.then_some(Warning::ChainOrder);
        order.into_iter().chain(self.lapse(now)).collect()
    }

    /// Whether clients accept its dates at `now`, and if not, why.
    pub(crate) fn lapse(&self, now: Timestamp) -> Option<Warning> {
        match self.certificate.not_after {
            end if end <= now => Some(Warning::Expired(end)),
            _ if now < self.not_before => Some(Warning::NotYetValid(self.not_before)),
            _ => None,
        }
    }
}

/// A chain as PEM.
pub(crate) fn chain_pem(chain: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for der in chain {
        text += "-----BEGIN CERTIFICATE-----\n";
        for line in BASE64_STANDARD.encode(der).as_bytes().chunks(64) {
            // Base64 is ASCII.
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text += "-----END CERTIFICATE-----\n";
    }
    text
}

fn links(chain: &[u8]) -> Result<Vec<Link>, PemError> {
    let links: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .enumerate()
        .map(|(n, der)| {
            link(
                n + 1,
                der.map_err(|error| PemError::DamagedChain(plain(&error)))?,
            )
        })
        .collect::<Result<_, _>>()?;
    if links.is_empty() {
        Err(PemError::NoCertificate)
    } else {
        Ok(links)
    }
}

fn link(position: usize, der: CertificateDer<'static>) -> Result<Link, PemError> {
    let (subject, issuer) = match X509Certificate::from_der(&der) {
        Ok((_, parsed)) => (
            parsed.subject().as_raw().to_vec(),
            parsed.issuer().as_raw().to_vec(),
        ),
        Err(error) => {
            return Err(PemError::DamagedCertificate {
                position,
                reason: error.to_string(),
            });
        }
    };
    Ok(Link {
        der,
        subject,
        issuer,
    })
}

fn signing_key(text: &[u8]) -> Result<Arc<dyn SigningKey>, PemError> {
    if is_encrypted(text) {
        return Err(PemError::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => PemError::NoKey,
        damaged => PemError::DamagedKey(plain(&damaged)),
    })?;
    let load = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key);
    load.map_err(|error| PemError::UnusableKey(unusable(&error.to_string())))
}

fn unusable(reason: &str) -> String {
    // What the library says of keys of less than 2048 bits is no help to anybody.
    format!("{reason}; ECDSA (P-256, P-384, P-521), Ed25519 and RSA of 2048 to 8192 bits are taken")
}

/// By PKCS #8 (RFC 7468 §11) or, before it, by a header (RFC 1421 §4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    let contains = |mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED")
}

fn plain(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it is cut off".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is broken".to_owned(),
        pem::Error::Base64Decode(_) => "it is not base64".to_owned(),
        other => other.to_string(),
    }
}

fn belongs(link: &Link, key: &Arc<dyn SigningKey>) -> bool {
    let pair = CertifiedKey::new(vec![link.der.clone()], Arc::clone(key));
    // A key that cannot tell its public half is believed.
    matches!(
        pair.keys_match(),
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown))
    )
}

/// The own certificate, its issuer, the issuer's issuer; then whatever else there was. And whether that is news.
fn in_order(mut links: Vec<Link>, own: usize) -> (Vec<CertificateDer<'static>>, bool) {
    let mut repaired = false;
    let mut next = Some(own);
    let mut chain = Vec::with_capacity(links.len());
    while let Some(position) = next {
        let link = links.remove(position);
        repaired |= position != 0;
        next = links.iter().position(|other| other.subject == link.issuer);
        chain.push(link.der);
    }
    chain.extend(links.into_iter().map(|link| link.der));
    (chain, repaired)
}

/// Names, beginning and end of validity.
pub(crate) fn facts(
    der: &CertificateDer<'_>,
) -> Result<(Vec<String>, Timestamp, Timestamp), PemError> {
    let damaged = |reason: String| PemError::DamagedCertificate {
        position: 1,
        reason,
    };
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
    let alternative = parsed.subject_alternative_name();
    let alternative = alternative.map_err(|error| damaged(error.to_string()))?;
    let names: Vec<_> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(name)
        .collect();
    if names.is_empty() {
        return Err(PemError::NoNames);
    }
    let instant = |seconds: i64| Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0));
    let validity = parsed.validity();
    Ok((
        names,
        instant(validity.not_before.timestamp()),
        instant(validity.not_after.timestamp()),
    ))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => match name.strip_prefix("*.") {
            Some(parent) => ServerName::new(parent).map(|parent| format!("*.{parent}")),
            None => ServerName::new(name).map(|name| name.to_string()),
        },
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(format!("[{}]", IpAddr::from(sixteen)))
}

// === impl PemError ===

impl PemError {
    /// The key is to blame; otherwise the chain.
    #[must_use]
    pub fn is_about_key(&self) -> bool {
        match self {
            Self::NoKey
            | Self::EncryptedKey
            | Self::DamagedKey(_)
            | Self::UnusableKey(_)
            | Self::Mismatch => true,
            Self::NoCertificate
            | Self::DamagedChain(_)
            | Self::DamagedCertificate { .. }
            | Self::NoNames => false,
        }
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(since) => write!(f, "the certificate expired on {since}"),
            Self::NotYetValid(until) => write!(f, "the certificate is not valid before {until}"),
            Self::ChainOrder => f.write_str(
                "the chain is in the wrong order: the certificate itself belongs first, then its issuer",
            ),
        }
    }
}
