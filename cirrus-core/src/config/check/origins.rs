//! Origins: each once, asked at all, and not this very server.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::ServerName;

use crate::config::faults::Faults;
use crate::config::model::{Config, OriginConfig};

/// Checks a list of origins that stands at `path`.
pub(super) fn origins(config: &Config, origins: &[OriginConfig], path: &str, faults: &mut Faults) {
    let mut seen = HashMap::new();
    for (index, origin) in origins.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(sni) = origin
            .sni
            .as_ref()
            .filter(|sni| ServerName::try_from(sni.as_str()).is_err())
        {
            faults.error(
                format!("{path}.sni"),
                Some(sni.clone()),
                "not a name: write for example \"shop.example\"",
            );
        }
        if origin.weight == 0 {
            faults.error(format!("{path}.weight"), Some("0".to_owned()), "an origin with weight 0 would never be asked; allowed is 1 to 65535, or remove the origin");
        }
        if let Some(listener) = config
            .listen
            .iter()
            .find(|listener| reaches(origin, listener.address))
        {
            let message = format!(
                "this is the listener {} of this very configuration: requests would go round in a circle",
                listener.address
            );
            faults.error(format!("{path}.url"), Some(origin.url.to_string()), message);
        }
        if let Some(earlier) = seen.insert((&origin.url, &origin.sni), index) {
            let message = format!(
                "the same address as number {} of this list; give it once, with the weights added up",
                earlier + 1
            );
            faults.error(format!("{path}.url"), Some(origin.url.to_string()), message);
        }
    }
}

/// Whether a connection to `origin` would arrive at `listener`, as far as can be told without asking anybody.
fn reaches(origin: &OriginConfig, listener: SocketAddr) -> bool {
    if origin.url.port() != listener.port() || listener.port() == 0 {
        return false;
    }
    let host = origin
        .url
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let local = |ip: IpAddr| {
        ip == listener.ip()
            || (listener.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified()))
    };
    match host.parse::<IpAddr>() {
        Ok(ip) => {
            let ip = ip.to_canonical();
            local(ip) || (ip.is_unspecified() && listener.ip().is_loopback())
        }
        Err(_) => {
            host == "localhost" && (listener.ip().is_loopback() || listener.ip().is_unspecified())
        }
    }
}
