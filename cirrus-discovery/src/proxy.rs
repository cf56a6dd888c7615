//! A configuration for programs that want none.

use std::fmt::Write as _;

use cirrus_core::config::{Config, Format, OriginUrl};

/// A caching site for every host, in front of these origins.
///
/// Everything else is as by default: nothing listens yet. The origins share the requests equally.
///
/// ```
/// use cirrus_core::config::ListenConfig;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = cirrus_discovery::proxy_to(["http://127.0.0.1:3000".parse()?]);
/// config.listen = vec![ListenConfig::plain("127.0.0.1:8080".parse()?)];
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn proxy_to(urls: impl IntoIterator<Item = OriginUrl>) -> Config {
    let mut text = String::from("[[site]]\nhosts = [\"*\"]\ncache = { enable = true }\n");
    for url in urls {
        // The normal form of a URL holds nothing that a string would have to escape.
        let _ = write!(text, "[[site.origin]]\nurl = \"{url}\"\n");
    }
    let mut config = Config::default();
    // Only the site is taken: faults found later must not point into a text that nobody has written.
    if let Ok((written, _)) = Config::parse(&text, Format::Toml) {
        config.site = written.site;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_every_host_in_front_of_its_origins() {
        let urls = ["http://127.0.0.1:3000", "https://[::1]:8443"];
        let config = proxy_to(urls.map(|url| url.parse().unwrap()));
        let [site] = &*config.site else {
            panic!("one site, not {:?}", config.site);
        };
        let origins: Vec<_> = site.origin.iter().map(|o| o.url.as_str()).collect();
        assert_eq!(origins, urls);
        assert!(site.origin.iter().all(|origin| origin.weight == 1));
        assert!(site.cache.enable);
        assert_eq!(site.hosts, ["*".parse().unwrap()]);
        assert!(config.listen.is_empty());
    }
}
