//! Gateways: with something to find services by, and room for their names in a path.

use rustls::pki_types::ServerName;

use super::Abilities;
use super::site::SiteCheck;
use super::upstream_tls::upstream_tls;
use crate::config::faults::Faults;
use crate::config::model::{Config, RouteConfig};

impl SiteCheck<'_> {
    pub(super) fn gateway(&mut self, field: &str, route: &RouteConfig) {
        let Some(gateway) = &route.consul_gateway else {
            return;
        };
        let path = route.path.to_string();
        let prefix = path.strip_suffix("/*");
        if prefix.is_none_or(|prefix| prefix.contains(['{', '*'])) {
            let message = "a gateway's path is a prefix, such as \"/*\" or \"/services/*\": datacentre and service stand behind it";
            self.error(&format!("{field}.path"), Some(path), message);
        }
        let place = format!("{}.{field}.consul_gateway", self.path);
        upstream_tls(&gateway.tls, &format!("{place}.tls"), self.faults);
    }
}

/// Without a discovery nothing would ever be found. A token is given in one way.
pub(super) fn consul(config: &Config, abilities: &Abilities, faults: &mut Faults) {
    if let Some(consul) = &config.consul {
        if consul.token.is_some() && consul.token_file.is_some() {
            let message = "either `token` or `token_file`, not both";
            faults.error("consul.token_file", None, message);
        }
        if consul.certificate.is_some() != consul.key.is_some() {
            let message = "`certificate` and `key` go together";
            faults.error("consul", None, message);
        }
        let name = consul.server_name.as_deref();
        if let Some(name) = name.filter(|name| ServerName::try_from(*name).is_err()) {
            let message = "not a name: write for example \"server.dc1.consul\"";
            faults.error("consul.server_name", Some(name.to_owned()), message);
        }
    }
    if abilities.discovery {
        return;
    }
    for (index, site) in config.site.iter().enumerate() {
        for (number, route) in site.route.iter().enumerate() {
            if route.consul_gateway.is_some() {
                let message =
                    "this program has no service discovery; it finds one at its start only";
                let path = format!("site[{index}].route[{number}].consul_gateway");
                faults.error(path, None, message);
            }
        }
    }
}
