//! Certificates for development, made on first use.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::LocalRoot;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use cirrus_core::downstream::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
use cirrus_core::{BoxError, Clock, SystemClock, Timestamp};
use rcgen::{CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

/// Makes a self-signed certificate (ECDSA P-256, 90 days) for any name when it is first asked for.
///
/// For development: no client trusts them. They live in memory, 1024 names at the most (then the oldest goes), and a
/// restart makes new ones. Clients that name no host get the one for `localhost`, which is for 127.0.0.1 and ::1 too.
pub struct SelfSigned {
    made: ArcSwap<HashMap<ServerName, Arc<Certificate>>>,
    only: Option<Vec<String>>,
    root: Option<LocalRoot>,
    clock: Arc<dyn Clock>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// From a day ago, because clients' clocks differ.
const VALID: Duration = DAY.saturating_mul(90);

/// With so little left, a new one is made.
const RENEW: Duration = DAY;

const MAX_NAMES: usize = 1024;

// === impl SelfSigned ===

impl SelfSigned {
    /// For every name.
    #[must_use]
    pub fn new() -> Self {
        Self {
            made: ArcSwap::default(),
            only: None,
            root: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// For these names and no others; `*.` in front stands for one label. Clients that name no host are refused unless
    /// `localhost` is among them.
    #[must_use]
    pub fn only(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let lower = |name: String| name.to_ascii_lowercase();
        let names = names.into_iter().map(|name| lower(name.into())).collect();
        Self {
            only: Some(names),
            ..Self::new()
        }
    }

    /// Signed by a local authority, which clients can be told to trust, instead of by themselves.
    #[must_use]
    pub fn signed_by(mut self, root: LocalRoot) -> Self {
        self.root = Some(root);
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn allows(&self, name: &ServerName) -> bool {
        let matches = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(parent) => name
                .as_str()
                .split_once('.')
                .is_some_and(|(_, rest)| rest == parent),
            None => pattern == name.as_str(),
        };
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(matches))
    }

    fn find(&self, name: &ServerName) -> Lookup {
        let limit = self.clock.now().after(RENEW);
        match self.made.load().get(name) {
            Some(made) if limit < made.not_after => Lookup::Found(Arc::clone(made)),
            _ if self.allows(name) => Lookup::Cold(name.clone()),
            _ => Lookup::Unknown,
        }
    }

    fn keep(&self, name: &ServerName, certificate: &Arc<Certificate>) {
        self.made.rcu(|made| {
            let mut made = HashMap::clone(made);
            made.insert(name.clone(), Arc::clone(certificate));
            if made.len() > MAX_NAMES {
                forget_oldest(&mut made, name);
            }
            made
        });
    }
}

impl Default for SelfSigned {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfSigned")
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CertProvider for SelfSigned {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        match hello.name {
            Some(name) => self.find(name),
            None => ServerName::new("localhost").map_or(Lookup::Unknown, |name| self.find(&name)),
        }
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        match self.find(name) {
            Lookup::Found(certificate) => return Ok(certificate),
            Lookup::Unknown => return Err(CertError::NotFound(name.clone())),
            Lookup::Cold(_) => {}
        }
        let certificate = Arc::new(make(name, self.root.as_ref(), self.clock.now()).map_err(
            |error| CertError::Invalid {
                name: name.clone(),
                reason: error.to_string(),
            },
        )?);
        self.keep(name, &certificate);
        Ok(certificate)
    }
}

fn forget_oldest(made: &mut HashMap<ServerName, Arc<Certificate>>, but: &ServerName) {
    let others = made.iter().filter(|(name, _)| *name != but);
    let oldest = others.min_by_key(|(_, certificate)| certificate.not_after);
    if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
        made.remove(&oldest);
    }
}

fn make(
    name: &ServerName,
    root: Option<&LocalRoot>,
    now: Timestamp,
) -> Result<Certificate, BoxError> {
    let mut sans = vec![name.to_string()];
    let mut names = sans.clone();
    if name.as_str() == "localhost" {
        sans.extend(["127.0.0.1", "::1"].map(str::to_owned));
        names.extend(["127.0.0.1", "[::1]"].map(str::to_owned));
    }
    // X.509 counts whole seconds.
    let now = Timestamp::from_secs(now.as_secs());
    let not_after = now.after(VALID);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let params = params(sans, now, not_after)?;
    let made = match root {
        Some(root) => root.sign(&params, &key)?,
        None => params.self_signed(&key)?,
    };
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let provider = aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(vec![made.der().clone()], key, &provider)?;
    Ok(Certificate::new(key, names, not_after))
}

fn params(
    names: Vec<String>,
    now: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.as_secs()).saturating_sub(DAY);
    params.not_after = epoch + Duration::from_secs(not_after.as_secs());
    params
        .extended_key_usages
        .push(ExtendedKeyUsagePurpose::ServerAuth);
    let title = DnValue::Utf8String("Cirrus, self-signed for development".to_owned());
    params.distinguished_name.push(DnType::CommonName, title);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use cirrus_core::ManualClock;
    use cirrus_core::testing::cert_provider_suite;
    use cirrus_core::testing::cert_suite::Handshakes;
    use cirrus_core::testing::certs::client_trusting;

    use super::*;

    cert_provider_suite!(|| SelfSigned::only(["Known.example", "*.known.example"]));

    #[tokio::test]
    async fn serves_any_name() {
        let handshakes = Handshakes::with(Arc::new(SelfSigned::new()));
        for name in ["localhost", "a.example", "a.example", "b.example"] {
            handshakes.shake(name).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_trusts_it_accepts_name_and_addresses() {
        let provider = Arc::new(SelfSigned::new());
        let made = provider.load(&name("localhost")).await.unwrap();
        let client = client_trusting(&made.key.cert, &[]);
        let handshakes = Handshakes::between(client, provider);
        for name in ["localhost", "127.0.0.1", "::1"] {
            handshakes.shake(name).await.unwrap();
        }
        assert!(made.covers("127.0.0.1") && made.covers("[::1]"));
    }

    #[test]
    fn without_localhost_a_nameless_client_is_refused() {
        let provider = SelfSigned::only(["shop.example"]);
        assert!(matches!(
            provider.lookup(&Hello::new(None)),
            Lookup::Unknown
        ));
    }

    #[tokio::test]
    async fn makes_another_before_the_first_expires() {
        let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
        let provider = SelfSigned::new().with_clock(Arc::new(clock.clone()));
        let shop = name("shop.example");
        let first = provider.load(&shop).await.unwrap();
        assert_eq!(
            first.not_after,
            Timestamp::from_secs(1_800_000_000).after(VALID)
        );
        clock.advance(DAY * 88);
        assert!(matches!(
            provider.lookup(&Hello::new(Some(&shop))),
            Lookup::Found(_)
        ));
        clock.advance(DAY);
        assert!(matches!(
            provider.lookup(&Hello::new(Some(&shop))),
            Lookup::Cold(_)
        ));
        let second = provider.load(&shop).await.unwrap();
        assert!(first.not_after < second.not_after);
    }

    #[test]
    fn what_it_says_is_what_stands_in_the_certificate() {
        let made = make(
            &name("localhost"),
            None,
            Timestamp::from_millis(1_800_000_000_789),
        )
        .unwrap();
        let (parsed_names, parsed_end) = parsed(&made);
        assert_eq!(parsed_names, made.names);
        assert_eq!(parsed_end, made.not_after);
    }

    #[test]
    fn names_are_bounded_and_the_oldest_goes() {
        let provider = SelfSigned::new();
        let base = make(&name("base.example"), None, Timestamp::from_secs(0)).unwrap();
        for n in 0..=MAX_NAMES as u64 {
            let not_after = Timestamp::from_secs(4_000_000_000 + n);
            let certificate = Certificate::new(CertifiedKey::clone(&base.key), [], not_after);
            provider.keep(&name(&format!("n{n}.example")), &Arc::new(certificate));
        }
        assert_eq!(provider.made.load().len(), MAX_NAMES);
        assert!(!provider.made.load().contains_key(&name("n0.example")));
    }

    fn parsed(made: &Certificate) -> (Arc<[Arc<str>]>, Timestamp) {
        let (names, _, end) = crate::pem::facts(&made.key.cert[0]).unwrap();
        (names.into_iter().map(Into::into).collect(), end)
    }

    fn name(name: &str) -> ServerName {
        ServerName::new(name).unwrap()
    }
}
