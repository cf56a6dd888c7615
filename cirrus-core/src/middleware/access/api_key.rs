//! A key that the client shows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};

use super::entries::entries;
use super::identity::{Identity, tell};
use super::parameter::Place;
use super::watched::Watched;
use super::{Check, Reason, Refused};
use crate::body::Request;
use crate::config::{ApiKeysConfig, KeyHash};
use crate::error::{Error, Kind};
use crate::middleware::Context;

/// Asks for a key.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    place: Place,
    keys: Keys,
    file: Option<Arc<Watched<Keys>>>,
    forward: bool,
    user_header: Option<HeaderName>,
    identity: Identity,
}

/// Names by the hashes of their keys. The time of a lookup tells something about a hash, which tells nothing about a key.
#[derive(Debug, Default)]
struct Keys(HashMap<[u8; 32], Arc<str>>);

// === impl ApiKeys ===

impl ApiKeys {
    pub(crate) fn new(config: &ApiKeysConfig) -> Self {
        let header = config.header.as_ref().map(|name| name.to_name());
        let place = match &config.query {
            Some(name) if header.is_none() => Place::Query(name.clone()),
            _ => Place::Header(header.unwrap_or(const { HeaderName::from_static("x-api-key") })),
        };
        let user_header = config.user_header.as_ref().map(|name| name.to_name());
        let file = config.keys_file.as_deref();
        Self {
            place,
            keys: Keys::new(config.keys.clone()),
            file: file.map(|path| Watched::open(path, |text| entries(text).map(Keys::new))),
            forward: config.forward,
            identity: Identity::new(user_header.clone()),
            user_header,
        }
    }

    /// The keys of those who may purge, in a field of their own: `x-api-key` may be asked for by a policy besides.
    pub(crate) fn of_purges(keys: &BTreeMap<String, KeyHash>) -> Self {
        Self {
            place: Place::Header(const { HeaderName::from_static("x-purge-key") }),
            keys: Keys::new(keys.clone()),
            file: None,
            forward: false,
            user_header: None,
            identity: Identity::new(None),
        }
    }

    /// Whose key this is.
    async fn owner(&self, cx: &Context, key: &str) -> Option<Arc<str>> {
        let hash = KeyHash::of(key.as_bytes());
        if let Some(known) = self.keys.0.get(hash.as_bytes()) {
            return Some(Arc::clone(known));
        }
        let file = self.file.as_ref()?.now(cx).await;
        file.0.get(hash.as_bytes()).cloned()
    }
}

impl Check for ApiKeys {
    const REASON: Reason = Reason::ApiKey;

    async fn check<'a>(
        &'a self,
        cx: &'a mut Context,
        request: &'a mut Request,
    ) -> Result<(), Refused> {
        let key = self.place.find(request.headers(), request.uri());
        let key = key.ok_or_else(refuse)?;
        let owner = self.owner(cx, &key).await.ok_or_else(refuse)?;
        if !self.forward {
            let mut uri = request.uri().clone();
            self.place.remove(request.headers_mut(), &mut uri);
            *request.uri_mut() = uri;
        }
        self.identity.strip(request.headers_mut());
        if let Some(field) = &self.user_header {
            tell(request.headers_mut(), field, &owner);
        }
        cx.personal |= self.forward || self.user_header.is_some();
        cx.user = Some(owner);
        Ok(())
    }
}

/// A 401 names a scheme (RFC 9110 §15.5.2); none is registered for keys.
fn refuse() -> Error {
    Error::new(Kind::Unauthorized).with_field(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"))
}

// === impl Keys ===

impl Keys {
    fn new(keys: BTreeMap<String, KeyHash>) -> Self {
        let by_hash = keys
            .into_iter()
            .map(|(name, hash)| (*hash.as_bytes(), name.into()));
        Self(by_hash.collect())
    }
}
