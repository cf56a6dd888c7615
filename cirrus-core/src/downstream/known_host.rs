//! The host that the last request of a connection was for.

use std::sync::Arc;

use http::{HeaderValue, Version};
use parking_lot::Mutex;

use crate::cache::Scheme;
use crate::middleware::Claims;
use crate::routing::Host;

/// The host that the last request of a connection was for: nearly always the next one's too, and reading it again costs
/// more than looking whether the field is the same.
#[derive(Debug, Default)]
pub(crate) struct KnownHost(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    field: HeaderValue,
    scheme: Scheme,
    host: Host,
}

// === impl KnownHost ===

impl KnownHost {
    /// The host that this value of `Host` stands for, if it was read before.
    pub(crate) fn get(&self, field: &HeaderValue, scheme: Scheme) -> Option<Host> {
        let known = self.0.lock();
        let known = known.as_ref()?;
        (known.field == *field && known.scheme == scheme).then(|| known.host.clone())
    }

    /// Keeps what was read.
    pub(crate) fn set(&self, field: &HeaderValue, scheme: Scheme, host: &Host) {
        // The value shares the whole head's bytes, which must not stay for it.
        let Ok(field) = HeaderValue::from_bytes(field.as_bytes()) else {
            return;
        };
        let host = host.clone();
        *self.0.lock() = Some(Known {
            field,
            scheme,
            host,
        });
    }
}

/// What origins were told about who asks, with the connection's last request: the next one's is the same, unless it is
/// for another host.
#[derive(Debug, Default)]
pub(crate) struct KnownClaims(Mutex<Option<Told>>);

#[derive(Debug)]
struct Told {
    host: Host,
    scheme: Scheme,
    version: Version,
    claims: Arc<Claims>,
}

// === impl KnownClaims ===

impl KnownClaims {
    /// The fields for this host, made if the last request was for another one.
    pub(crate) fn of(
        &self,
        host: &Host,
        scheme: Scheme,
        version: Version,
        make: impl FnOnce() -> Arc<Claims>,
    ) -> Arc<Claims> {
        let mut known = self.0.lock();
        if let Some(told) = &*known
            && told.host == *host
            && (told.scheme, told.version) == (scheme, version)
        {
            return Arc::clone(&told.claims);
        }
        let claims = make();
        *known = Some(Told {
            host: host.clone(),
            scheme,
            version,
            claims: Arc::clone(&claims),
        });
        claims
    }
}
