//! The policies of a route: its own, or else its site's.

use std::sync::Arc;

use crate::config::model::{
    AccessConfig, ApiKeysConfig, BasicAuthConfig, ForwardAuthConfig, HealthConfig, JwtConfig,
    RouteConfig, SiteConfig,
};
use crate::discovery::Endpoint;
use crate::health::Ejection;
use crate::middleware::Policies;
use crate::middleware::access::{Address, ApiKeys, BasicAuth, ForwardAuth, Jwt};
use crate::upstream::{Cluster, Rules, Times};

/// What is asked for around one route. A table in the route takes the place of the same table in the site, as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) site: &'a SiteConfig,
    /// `None` where no route matches and the site's own origins answer.
    pub(super) route: Option<&'a RouteConfig>,
}

// === impl Written ===

impl<'a> Written<'a> {
    pub(super) fn policies(self) -> Policies {
        Policies {
            access: self.access().map(Address::new),
            basic_auth: self.basic_auth().map(BasicAuth::new),
            api_keys: self.api_keys().map(ApiKeys::new),
            jwt: self.jwt().map(Jwt::new),
            forward_auth: self.forward_auth().and_then(forward_auth),
        }
    }

    fn access(self) -> Option<&'a AccessConfig> {
        self.pick(|site| site.access.as_ref(), |route| route.access.as_ref())
    }

    fn basic_auth(self) -> Option<&'a BasicAuthConfig> {
        self.pick(
            |site| site.basic_auth.as_ref(),
            |route| route.basic_auth.as_ref(),
        )
        .filter(|written| written.enable)
    }

    fn api_keys(self) -> Option<&'a ApiKeysConfig> {
        self.pick(
            |site| site.api_keys.as_ref(),
            |route| route.api_keys.as_ref(),
        )
        .filter(|written| written.enable)
    }

    fn jwt(self) -> Option<&'a JwtConfig> {
        self.pick(|site| site.jwt.as_ref(), |route| route.jwt.as_ref())
            .filter(|written| written.enable)
    }

    fn forward_auth(self) -> Option<&'a ForwardAuthConfig> {
        self.pick(
            |site| site.forward_auth.as_ref(),
            |route| route.forward_auth.as_ref(),
        )
        .filter(|written| written.enable)
    }

    fn pick<T>(
        self,
        site: fn(&'a SiteConfig) -> Option<&'a T>,
        route: fn(&'a RouteConfig) -> Option<&'a T>,
    ) -> Option<&'a T> {
        self.route.and_then(route).or_else(|| site(self.site))
    }
}

/// The service is a cluster of one endpoint, which is never left out.
fn forward_auth(written: &ForwardAuthConfig) -> Option<ForwardAuth> {
    let url = written.url.as_ref()?;
    let (health, timeout) = (HealthConfig::default(), written.timeout.as_duration());
    let rules = Rules {
        connect: timeout,
        times: Times {
            first_byte: timeout,
            idle: timeout,
        },
        ejection: Ejection {
            failures: health.failures,
            time: health.eject.as_duration(),
        },
    };
    let endpoints = [Endpoint::new(url.origin().clone())].into_iter().collect();
    // Spaces keep its name apart from those of `[[cluster]]`.
    let name = format!("forward auth {url}").into();
    ForwardAuth::new(
        written,
        Arc::new(Cluster::new(name, rules, None, &endpoints, None)),
    )
}
