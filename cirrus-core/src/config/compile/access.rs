//! Who may come to a route: as it says itself, or else its site.

use std::cell::OnceCell;
use std::sync::Arc;

use super::policies::Written;
use super::upstream::limits;
use crate::config::model::{ForwardAuthConfig, HealthConfig, TimeoutsConfig};
use crate::discovery::Endpoint;
use crate::middleware::Guards;
use crate::middleware::access::{Address, ApiKeys, BasicAuth, ForwardAuth, Jwt};
use crate::upstream::Cluster;

/// The site's own policies, each made once for all its routes: they share what is read from files and remembered.
#[derive(Debug, Default)]
pub(super) struct Shared {
    access: OnceCell<Option<Arc<Address>>>,
    basic_auth: OnceCell<Option<Arc<BasicAuth>>>,
    api_keys: OnceCell<Option<Arc<ApiKeys>>>,
    jwt: OnceCell<Option<Arc<Jwt>>>,
    forward_auth: OnceCell<Option<Arc<ForwardAuth>>>,
}

// === impl Written ===

impl Written<'_> {
    pub(super) fn guards(self) -> Guards {
        let Self {
            site,
            route,
            shared,
            ..
        } = self;
        Guards {
            access: pick(
                route.and_then(|route| route.access.as_ref()),
                site.access.as_ref(),
                &shared.access,
                |written| Some(Address::new(written)),
            ),
            basic_auth: pick(
                route.and_then(|route| route.basic_auth.as_ref()),
                site.basic_auth.as_ref(),
                &shared.basic_auth,
                |written| written.enable.then(|| BasicAuth::new(written)),
            ),
            api_keys: pick(
                route.and_then(|route| route.api_keys.as_ref()),
                site.api_keys.as_ref(),
                &shared.api_keys,
                |written| written.enable.then(|| ApiKeys::new(written)),
            ),
            jwt: pick(
                route.and_then(|route| route.jwt.as_ref()),
                site.jwt.as_ref(),
                &shared.jwt,
                |written| written.enable.then(|| Jwt::new(written)),
            ),
            forward_auth: pick(
                route.and_then(|route| route.forward_auth.as_ref()),
                site.forward_auth.as_ref(),
                &shared.forward_auth,
                |written| written.enable.then(|| forward_auth(written)).flatten(),
            ),
        }
    }
}

/// The route's own, or else the one that it shares.
fn pick<C, P>(
    own: Option<&C>,
    site: Option<&C>,
    shared: &OnceCell<Option<Arc<P>>>,
    make: impl Fn(&C) -> Option<P>,
) -> Option<Arc<P>> {
    match own {
        Some(own) => make(own).map(Arc::new),
        None => shared
            .get_or_init(|| site.and_then(make).map(Arc::new))
            .clone(),
    }
}

/// The service is a cluster of one endpoint, which is never left out.
fn forward_auth(written: &ForwardAuthConfig) -> Option<ForwardAuth> {
    let url = written.url.as_ref()?;
    let timeout = written.timeout;
    let timeouts = TimeoutsConfig {
        connect: timeout,
        first_byte: timeout,
        idle: timeout,
    };
    let rules = limits(&timeouts, &HealthConfig::default());
    let endpoints = [Endpoint::new(url.origin().clone())].into_iter().collect();
    // Spaces keep its name apart from those of `[[cluster]]`.
    let name = format!("forward auth {url}").into();
    ForwardAuth::new(
        written,
        Arc::new(Cluster::new(name, rules, None, &endpoints, None)),
    )
}
