//! What an unsafe request makes void (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::key::{CacheKey, Scheme};

/// Whether the origin may have done what an unsafe request asked for.
pub(super) fn has_changed(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// The target itself, and what `Location` and `Content-Location` name within the same origin: another origin's
/// responses are not this one's to remove.
pub(super) fn affected(target: &CacheKey, response: &HeaderMap) -> Vec<CacheKey> {
    let named = [LOCATION, CONTENT_LOCATION];
    let fields = named.iter().flat_map(|name| response.get_all(name));
    let mut keys = vec![target.clone()];
    keys.extend(fields.filter_map(|reference| resolve(target, reference)));
    keys.dedup();
    keys
}

/// Relative references other than absolute paths are left alone, which §4.4 allows.
fn resolve(target: &CacheKey, reference: &HeaderValue) -> Option<CacheKey> {
    let text = reference.to_str().ok()?.split('#').next()?;
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let path = if is_path {
        text.parse().ok()?
    } else {
        path_within(target, text)?
    };
    let scheme = if target.scheme() == Scheme::Https.as_str() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    Some(CacheKey::new(scheme, target.host(), &path))
}

fn path_within(target: &CacheKey, text: &str) -> Option<PathAndQuery> {
    let uri: Uri = text.parse().ok()?;
    let is_same = uri.scheme_str() == Some(target.scheme()) && is_host(target, uri.authority()?);
    uri.into_parts().path_and_query.filter(|_| is_same)
}

fn is_host(target: &CacheKey, authority: &Authority) -> bool {
    let port = if target.scheme() == Scheme::Https.as_str() {
        ":443"
    } else {
        ":80"
    };
    let host = authority.as_str();
    host.strip_suffix(port)
        .unwrap_or(host)
        .eq_ignore_ascii_case(target.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(location: &'static str) -> Vec<String> {
        let target = CacheKey::new(
            Scheme::Https,
            "a.example",
            &PathAndQuery::from_static("/form"),
        );
        let mut response = HeaderMap::new();
        response.insert(LOCATION, HeaderValue::from_static(location));
        affected(&target, &response)
            .iter()
            .skip(1)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_same_origin_is_affected() {
        for location in [
            "/new?x=1",
            "https://a.example/new?x=1",
            "https://A.example:443/new?x=1#top",
        ] {
            assert_eq!(named(location), ["https://a.example/new?x=1"], "{location}");
        }
    }

    #[test]
    fn other_origins_are_not() {
        for location in [
            "http://a.example/new",
            "https://b.example/new",
            "https://a.example:8443/new",
            "https://u@a.example/new",
            "//a.example/new",
            "new",
            "",
            "https://",
        ] {
            assert!(named(location).is_empty(), "{location}");
        }
    }
}
