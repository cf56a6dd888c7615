//! One order: from names to a record.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cirrus_core::{BoxError, Timestamp};
use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::dns::{self, DnsSolver, TxtRecord};
use super::error::IssueError;
use super::settings::{Challenge, Wanted};
use super::store::{CertRecord, CertStore, Slot};

/// What an order needs.
pub(super) struct Job<'a> {
    pub(super) store: &'a Arc<dyn CertStore>,
    pub(super) account: Account,
    pub(super) wanted: &'a Wanted,
    pub(super) profile: Option<&'a str>,
    /// What the new certificate is instead of, if the authority wants to know.
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
    pub(super) key: KeyPair,
}

/// Something that stands where the authority looks, until it is cleared.
enum Placed {
    Answer(Place),
    Record(Arc<dyn DnsSolver>, TxtRecord),
}

/// Where an answer stands.
enum Place {
    Token(String),
    Alpn(String),
}

/// Answers are of no use after a while, even if nobody clears them.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// How long the authority may take to look, and then to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

// === impl Job ===

impl Job<'_> {
    /// Orders, shows control over every name, and fetches the certificate.
    pub(super) async fn run(self, now: Timestamp) -> Result<CertRecord, IssueError> {
        let mut placed = Vec::new();
        let issued = self.issue(&mut placed).await;
        for placed in &placed {
            placed.clear(self.store).await;
        }
        let chain = issued?;
        let record = CertRecord::new(chain, self.key.serialize_pem(), now);
        // Nothing is stored that could not be served.
        record.load()?;
        Ok(record)
    }

    async fn issue(&self, placed: &mut Vec<Placed>) -> Result<String, IssueError> {
        let names = self.wanted.names.iter();
        let names: Vec<_> = names.map(|name| Identifier::Dns(name.clone())).collect();
        let mut order = NewOrder::new(&names);
        if let Some(profile) = self.profile {
            order = order.profile(profile);
        }
        if let Some(replaces) = &self.replaces {
            order = order.replaces(replaces.clone());
        }
        let mut order = self.account.new_order(&order).await?;
        self.place_all(&mut order, placed).await?;
        self.settle(placed).await?;
        self.confirm_all(&mut order).await?;
        let request = request(&self.wanted.names, &self.key).map_err(IssueError::Request)?;
        order.finalize_csr(&request).await?;
        Ok(order.poll_certificate(&PATIENCE).await?)
    }

    /// Everything is in its place before the authority looks for the first: DNS is waited for once.
    async fn place_all(
        &self,
        order: &mut Order,
        placed: &mut Vec<Placed>,
    ) -> Result<(), IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if is_open(&authorization)? {
                placed.push(self.place(&mut authorization).await?);
            }
        }
        Ok(())
    }

    async fn place<'a>(
        &self,
        authorization: &'a mut AuthorizationHandle<'a>,
    ) -> Result<Placed, IssueError> {
        let name = authorization.identifier().identifier.clone();
        let Identifier::Dns(name) = name else {
            return Err(IssueError::NotAllowed(format!("{name:?}")));
        };
        let challenge = authorization
            .challenge(self.kind())
            .ok_or_else(|| self.not_offered(&name))?;
        let answer = challenge.key_authorization();
        match &self.wanted.challenge {
            Challenge::Http01 => {
                let place = Place::Token(challenge.token.clone());
                place.fill(self.store, answer.as_str()).await
            }
            Challenge::TlsAlpn01 => {
                let digest = BASE64_STANDARD.encode(answer.digest());
                Place::Alpn(name).fill(self.store, &digest).await
            }
            Challenge::Dns01(solver) => {
                let mut record = TxtRecord::new(name, answer.dns_value());
                if let Some(propagation) = solver.propagation() {
                    record.name = dns::target(propagation, &record.name).await;
                }
                solver.present(&record).await?;
                Ok(Placed::Record(Arc::clone(solver), record))
            }
        }
    }

    /// Waits until the records are where the authority will look.
    async fn settle(&self, placed: &[Placed]) -> Result<(), IssueError> {
        for placed in placed {
            if let Placed::Record(solver, record) = placed
                && let Some(propagation) = solver.propagation()
            {
                dns::settle(propagation, record).await?;
            }
        }
        Ok(())
    }

    async fn confirm_all(&self, order: &mut Order) -> Result<(), IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if is_open(&authorization)?
                && let Some(mut challenge) = authorization.challenge(self.kind())
            {
                challenge.set_ready().await?;
            }
        }
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(unconfirmed(order).await.unwrap_or(IssueError::Timeout)),
            Err(error) => Err(unconfirmed(order).await.unwrap_or(error.into())),
        }
    }

    fn kind(&self) -> ChallengeType {
        match self.wanted.challenge {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Challenge::Dns01(_) => ChallengeType::Dns01,
        }
    }

    fn not_offered(&self, name: &str) -> IssueError {
        IssueError::NoChallenge {
            name: name.to_owned(),
            challenge: match self.wanted.challenge {
                Challenge::Http01 => "http-01",
                Challenge::TlsAlpn01 => "tls-alpn-01",
                Challenge::Dns01(_) => "dns-01",
            },
        }
    }
}

/// Whether it has to be shown yet: the authority remembers for a while what has been.
fn is_open(authorization: &AuthorizationHandle<'_>) -> Result<bool, IssueError> {
    match authorization.status {
        AuthorizationStatus::Pending => Ok(true),
        AuthorizationStatus::Valid => Ok(false),
        status => Err(IssueError::Unconfirmed {
            name: authorization.identifier().to_string(),
            reason: format!("the authorization is {status:?}"),
        }),
    }
}

/// What the authority says about the name that failed.
async fn unconfirmed(order: &mut Order) -> Option<IssueError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let state = authorization.refresh().await.ok()?;
        let mut challenges = state.challenges.iter();
        if let Some(problem) = challenges.find_map(|challenge| challenge.error.as_ref()) {
            return Some(IssueError::Unconfirmed {
                name: state.identifier().to_string(),
                reason: problem.to_string(),
            });
        }
    }
    None
}

/// PKCS #10, without a common name: names are where clients look for them.
fn request(names: &[String], key: &KeyPair) -> Result<Vec<u8>, BoxError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

// === impl Place ===

impl Place {
    async fn fill(self, store: &Arc<dyn CertStore>, answer: &str) -> Result<Placed, IssueError> {
        store.publish(&self.slot(), answer, LIFE).await?;
        Ok(Placed::Answer(self))
    }

    fn slot(&self) -> Slot<'_> {
        match self {
            Self::Token(token) => Slot::Token(token),
            Self::Alpn(name) => Slot::Alpn(name),
        }
    }
}

// === impl Placed ===

impl Placed {
    /// That something stays behind keeps nobody from being served.
    async fn clear(&self, store: &Arc<dyn CertStore>) {
        let cleared: Result<(), BoxError> = match self {
            Self::Answer(place) => store.remove(&place.slot()).await.map_err(Into::into),
            Self::Record(solver, record) => solver.cleanup(record).await.map_err(Into::into),
        };
        if let Err(error) = cleared {
            tracing::warn!(%error, "an answer to a challenge stays behind");
        }
    }
}
