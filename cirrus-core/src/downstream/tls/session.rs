//! What a handshake has settled, for the requests that come on its connection.

use std::sync::Arc;

use rustls::{ProtocolVersion, ServerConnection};

use super::auth::ClientAuth;
use super::identity::ClientIdentity;
use super::rules::Rules;
use crate::config::TlsVersion;
use crate::error::{Error, Kind};

/// What a handshake has settled. A request may be for a site with other rules than those it was held under.
#[derive(Clone, Debug)]
pub(crate) struct TlsSession {
    version: TlsVersion,
    /// Under whose rules the client was asked for a certificate.
    auth: Option<Arc<ClientAuth>>,
    /// Its certificate, if it has shown one.
    client: Option<ClientIdentity>,
    /// The certificate must cover the host of HTTP/1.1 requests too.
    pub(crate) strict: bool,
}

// === impl TlsSession ===

impl TlsSession {
    pub(super) fn of(connection: &ServerConnection, rules: &Rules, strict: bool) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        };
        let client = rules
            .auth
            .as_ref()
            .and_then(|auth| ClientIdentity::of(connection.peer_certificates()?, auth.passed()));
        Self {
            version,
            auth: rules.auth.clone(),
            client,
            strict,
        }
    }

    /// Whether a request for a site with these rules may come on this connection, and whose it is.
    pub(crate) fn admit(
        &self,
        rules: &Rules,
        is_http2: bool,
    ) -> Result<Option<&ClientIdentity>, Error> {
        let misdirected = Err(Error::new(Kind::Misdirected));
        if !rules.allows(self.version) || (is_http2 && !rules.http2) {
            return misdirected;
        }
        match (&rules.auth, &self.auth) {
            (None, _) => Ok(None),
            (Some(asked), Some(held)) if Arc::ptr_eq(asked, held) => match &self.client {
                None if asked.is_required() => Err(Error::new(Kind::Forbidden)),
                client => Ok(client.as_ref()),
            },
            // Whatever the client has shown was for others to look at.
            _ => misdirected,
        }
    }
}
