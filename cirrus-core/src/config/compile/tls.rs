//! What clients have to do with TLS, as meant.

use std::sync::Arc;

use http::HeaderValue;

use super::status;
use crate::config::model::{ClientAuthConfig, HstsConfig, SiteTlsConfig, TlsConfig};
use crate::downstream::tls::{ClientAuth, Rules};
use crate::middleware::limit::States;
use crate::middleware::{SiteTls, ToTls};

pub(super) fn site_tls(config: &TlsConfig, site: &SiteTlsConfig, states: &States) -> Arc<SiteTls> {
    let auth = site.client_auth.as_ref();
    let auth = auth.map(|settings| client_auth(settings, states));
    let redirect = site.redirect.map(|number| ToTls {
        status: status(number.0),
        port: site.redirect_port,
    });
    Arc::new(SiteTls {
        rules: Arc::new(Rules::new(config, site, auth)),
        redirect,
    })
}

/// Sites with the same settings believe the same clients: one connection serves them all.
fn client_auth(settings: &ClientAuthConfig, states: &States) -> Arc<ClientAuth> {
    let name = format!("{settings:?}");
    states.client_auths.of(name, || ClientAuth::open(settings))
}

/// RFC 6797 §6.1.
pub(super) fn hsts(config: &HstsConfig) -> HeaderValue {
    let mut text = format!("max-age={}", config.max_age.as_duration().as_secs());
    if config.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if config.preload {
        text.push_str("; preload");
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| super::unchecked())
}
