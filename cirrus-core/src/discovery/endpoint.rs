//! Services and their endpoints, as every backend names them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::Labels;
use crate::config::OriginUrl;

/// The name of a service, in the backend's own terms. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// One address that serves a service.
///
/// Its identity is its [`url`](Self::url) and [`sni`](Self::sni); the rest may change without making it another one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// Where it is and how it is spoken to.
    pub url: OriginUrl,
    /// Its share of the requests against the other weights; 0 takes none (draining).
    pub weight: u16,
    /// The name asked for and verified in TLS, if not the host of `url`.
    pub sni: Option<Arc<str>>,
    /// Where it is: clusters may ask the endpoints of their own zone first.
    pub zone: Option<Arc<str>>,
    /// Those of a higher number are asked only when too few of the lower ones are up.
    pub priority: u8,
    /// What routes may choose it by.
    pub labels: Labels,
}

/// Every endpoint of a service at one moment. No two with the same identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(Arc<[Endpoint]>);

/// Nobody knows this service: what a [`Discovery`](super::Discovery) says of one, so that it can be told from a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service `{0}` is unknown")]
pub struct UnknownService(ServiceName);

// === impl UnknownService ===

impl UnknownService {
    /// About this one.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self(service)
    }

    /// Which one.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.0
    }
}

// === impl ServiceName ===

impl ServiceName {
    /// `None` for an empty name.
    pub fn new(name: impl Into<Arc<str>>) -> Option<Self> {
        let name = name.into();
        (!name.is_empty()).then_some(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint of weight 1.
    #[must_use]
    pub fn new(url: OriginUrl) -> Self {
        Self {
            url,
            weight: 1,
            sni: None,
            zone: None,
            priority: 0,
            labels: Labels::default(),
        }
    }

    /// With these labels and no others.
    #[must_use]
    pub fn with_labels(mut self, labels: impl Into<Labels>) -> Self {
        self.labels = labels.into();
        self
    }

    /// In a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// With another priority.
    #[must_use]
    pub fn with_priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// With another weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// With another name for TLS.
    #[must_use]
    pub fn with_sni(mut self, sni: impl Into<Arc<str>>) -> Self {
        self.sni = Some(sni.into());
        self
    }

    /// The same address, whatever its weight.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.url == other.url && self.sni == other.sni
    }
}

// === impl Endpoints ===

impl Endpoints {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Known, but nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Endpoint> {
        self.0.iter()
    }
}

impl FromIterator<Endpoint> for Endpoints {
    /// Of several with the same identity the last one counts.
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut places = std::collections::HashMap::new();
        let mut all: Vec<Endpoint> = Vec::new();
        for endpoint in endpoints {
            let place = *places
                .entry((endpoint.url.clone(), endpoint.sni.clone()))
                .or_insert(all.len());
            match all.get_mut(place) {
                Some(earlier) => *earlier = endpoint,
                None => all.push(endpoint),
            }
        }
        Self(all.into())
    }
}

impl<'a> IntoIterator for &'a Endpoints {
    type Item = &'a Endpoint;
    type IntoIter = std::slice::Iter<'a, Endpoint>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
