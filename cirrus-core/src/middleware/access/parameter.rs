//! Credentials in cookies, query strings and header fields: read once, removed where they are not to go further.

use std::borrow::Cow;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};

/// Where a credential stands.
#[derive(Debug)]
pub(super) enum Place {
    /// A field that holds nothing else.
    Header(HeaderName),
    /// `Authorization: Bearer`.
    Bearer,
    Cookie(String),
    Query(String),
}

// === impl Place ===

impl Place {
    /// The credential, if there is exactly one: of two, the origin may read the other.
    pub(super) fn find(&self, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        match self {
            Self::Header(name) => only(headers.get_all(name)).map(ToOwned::to_owned),
            Self::Bearer => bearer(headers).map(ToOwned::to_owned),
            Self::Cookie(name) => one(crumbs(headers).filter_map(|crumb| named(crumb, name)))
                .and_then(|value| std::str::from_utf8(value).ok())
                .map(|value| value.trim().trim_matches('"').to_owned()),
            Self::Query(name) => one(pairs(uri.query().unwrap_or_default())
                .filter(|(key, _)| decoded(key) == *name)
                .map(|(_, value)| decoded(value).into_owned())),
        }
    }

    /// Removes it, however often it is there.
    pub(super) fn remove(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        match self {
            Self::Header(name) => drop(headers.remove(name)),
            Self::Bearer => drop(headers.remove(http::header::AUTHORIZATION)),
            Self::Cookie(name) => remove_cookie(headers, name),
            Self::Query(name) => remove_parameter(uri, name),
        }
    }
}

/// What follows the name of a scheme in the only `Authorization` (RFC 9110 §11.4).
pub(super) fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let field = only(headers.get_all(http::header::AUTHORIZATION))?;
    let (found, rest) = field.split_once(' ')?;
    found
        .eq_ignore_ascii_case(scheme)
        .then(|| rest.trim_matches(' '))
        .filter(|rest| !rest.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    authorization(headers, "Bearer")
}

fn only(values: http::header::GetAll<'_, HeaderValue>) -> Option<&str> {
    one(values.iter()).and_then(|value| value.to_str().ok())
}

fn one<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    all.next().filter(|_| all.next().is_none())
}

/// Every cookie. Bytes, since browsers send more than ASCII.
fn crumbs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let crumbs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    crumbs
        .map(<[u8]>::trim_ascii)
        .filter(|crumb| !crumb.is_empty())
}

/// The value of a cookie of this name.
fn named<'a>(crumb: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = crumb.strip_prefix(name.as_bytes())?.trim_ascii_start();
    rest.strip_prefix(b"=").or(rest.is_empty().then_some(rest))
}

fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let kept: Vec<&[u8]> = crumbs(headers)
        .filter(|crumb| named(crumb, name).is_none())
        .collect();
    let kept = kept.join(&b"; "[..]);
    headers.remove(COOKIE);
    // What has been a part of a value is one.
    if let Some(value) = HeaderValue::from_bytes(&kept)
        .ok()
        .filter(|_| !kept.is_empty())
    {
        headers.insert(COOKIE, value);
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// `%41` and `+`, as forms encode. What is no UTF-8 becomes what matches nothing.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(hex);
        out.push(match (byte, code) {
            (_, Some(code)) => code,
            (b'+', _) => b' ',
            (byte, _) => byte,
        });
        at += if code.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

fn remove_parameter(uri: &mut Uri, name: &str) {
    let Some(query) = uri.query() else { return };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| decoded(pair.split('=').next().unwrap_or_default()) != name)
        .collect();
    let target = if kept.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), kept.join("&"))
    };
    // A part of a target is one.
    if let Ok(target) = PathAndQuery::try_from(target) {
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(target);
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    fn find(place: &Place, headers: &HeaderMap, uri: &str) -> Option<String> {
        place.find(headers, &uri.parse().unwrap())
    }

    #[test]
    fn a_credential_stands_there_once_or_not_at_all() {
        let key = Place::Header(HeaderName::from_static("x-key"));
        assert_eq!(
            find(&key, &headers("x-key", &["a"]), "/").as_deref(),
            Some("a")
        );
        assert_eq!(find(&key, &headers("x-key", &["a", "b"]), "/"), None);
        let query = Place::Query("key".into());
        let none = HeaderMap::new();
        assert_eq!(
            find(&query, &none, "/?a=1&k%65y=b%2Bc+d").as_deref(),
            Some("b+c d")
        );
        assert_eq!(find(&query, &none, "/?key=a&key=a"), None);
        let cookie = Place::Cookie("token".into());
        let crumbs = headers("cookie", &["a=1; token=\"x\"; b=2"]);
        assert_eq!(find(&cookie, &crumbs, "/").as_deref(), Some("x"));
        assert_eq!(
            find(&cookie, &headers("cookie", &["token=a", "token=b"]), "/"),
            None
        );
        for (field, token) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bearer  x", Some("x")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic x", None),
        ] {
            assert_eq!(
                find(&Place::Bearer, &headers("authorization", &[field]), "/").as_deref(),
                token
            );
        }
        assert_eq!(
            find(
                &Place::Bearer,
                &headers("authorization", &["Bearer a", "Bearer a"]),
                "/"
            ),
            None
        );
    }

    #[test]
    fn removes_all_of_it_and_nothing_else() {
        let mut uri: Uri = "/p?a=1&key=x&k%65y=y&b=%20".parse().unwrap();
        let mut fields = headers("cookie", &["a=1; token=x; b=2", "token=y"]);
        Place::Query("key".into()).remove(&mut fields, &mut uri);
        Place::Cookie("token".into()).remove(&mut fields, &mut uri);
        assert_eq!(uri, "/p?a=1&b=%20");
        assert_eq!(fields["cookie"], "a=1; b=2");
        Place::Cookie("a".into()).remove(&mut fields, &mut uri);
        Place::Cookie("b".into()).remove(&mut fields, &mut uri);
        assert!(fields.is_empty());
        let mut alone: Uri = "/p?key=x".parse().unwrap();
        Place::Query("key".into()).remove(&mut fields, &mut alone);
        assert_eq!(alone, "/p");
    }

    proptest! {
        #[test]
        fn what_is_removed_is_not_found_again(query in "([a-c%+=&0-9]|%61|key){0,24}", name in "a|key") {
            let Ok(mut uri) = format!("/p?{query}").parse::<Uri>() else { return Ok(()) };
            let place = Place::Query(name.clone());
            place.remove(&mut HeaderMap::new(), &mut uri);
            let left: Vec<_> = pairs(uri.query().unwrap_or_default()).map(|(key, _)| decoded(key).into_owned()).collect();
            prop_assert!(!left.contains(&name), "{uri}");
            prop_assert_eq!(uri.path(), "/p");
        }
    }
}
