//! What compression makes of a response's header.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, Entry, GetAll, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::ContentCoding;
use crate::middleware::headers::add_vary;

/// Digests of bytes that are not sent as they were (RFC 9530, RFC 3230, RFC 1864).
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// The entity tags by which somebody asks whether what they have still holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Vec<HeaderValue>);

/// It has content, and all of it.
pub(super) fn has_whole_content(status: StatusCode, headers: &HeaderMap) -> bool {
    !status.is_informational()
        && !matches!(status.as_u16(), 204 | 205 | 206 | 304)
        && !headers.contains_key(CONTENT_RANGE)
}

/// It has no coding yet, and may get one.
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_ENCODING) && !forbids(headers)
}

/// `no-transform` (RFC 9110 §7.7), of a response or of a request.
pub(super) fn forbids(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Another `Accept-Encoding` might get another response.
pub(super) fn vary(headers: &mut HeaderMap) {
    add_vary(headers, "Accept-Encoding");
}

/// The header of what is now coded. Its bytes are others each time they are made, so nothing is said about them, parts
/// of it are not offered, and its tag is for comparing what it means (RFC 9110 §8.8.1).
pub(super) fn coded(headers: &mut HeaderMap, coding: ContentCoding) {
    let name = HeaderValue::from_static(coding.name());
    headers.insert(CONTENT_ENCODING, name);
    headers.remove(CONTENT_LENGTH);
    forget_bytes(headers);
    weaken(headers);
}

fn forget_bytes(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_RANGES);
    for name in &DIGESTS {
        headers.remove(name);
    }
}

fn weaken(headers: &mut HeaderMap) {
    let strong = headers
        .get(ETAG)
        .filter(|etag| etag.as_bytes().starts_with(b"\""));
    let weak =
        strong.and_then(|etag| HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

/// Takes the `W/` off every tag of a list. Who changes something on condition that it is still what they were given
/// names a tag that was weakened here, which never matches (RFC 9110 §13.1.1). A tag that was weak from the beginning
/// does not match either way.
pub(super) fn strengthen(headers: &mut HeaderMap, name: &HeaderName) {
    let Entry::Occupied(mut lines) = headers.entry(name) else {
        return;
    };
    for value in lines.iter_mut() {
        if let Ok(strong) = HeaderValue::from_bytes(&strong(value.as_bytes())) {
            *value = strong;
        }
    }
}

fn strong(list: &[u8]) -> Vec<u8> {
    let mut strong = Vec::with_capacity(list.len());
    let (mut rest, mut is_quoted) = (list, false);
    while let Some((&byte, behind)) = rest.split_first() {
        if !is_quoted && rest.starts_with(b"W/\"") {
            rest = &rest[2..];
            continue;
        }
        is_quoted ^= byte == b'"';
        strong.push(byte);
        rest = behind;
    }
    strong
}

// === impl Known ===

impl Known {
    pub(super) fn of(lines: GetAll<'_, HeaderValue>) -> Self {
        Self(lines.iter().cloned().collect())
    }

    /// A 304 updates what is stored of the content that was coded here: it must not say of it what is true of the
    /// origin's content only.
    pub(super) fn not_modified(&self, headers: &mut HeaderMap) {
        forget_bytes(headers);
        let is_coded = headers
            .get(ETAG)
            .is_some_and(|etag| self.has_weakened(etag));
        if is_coded {
            weaken(headers);
        }
        // Its type is not known here. Where nothing is said, what is stored says it.
        if is_coded || headers.contains_key(VARY) {
            vary(headers);
        }
    }

    /// Whether they have the weak form of a strong tag.
    fn has_weakened(&self, etag: &HeaderValue) -> bool {
        let weak = [b"W/", etag.as_bytes()].concat();
        etag.as_bytes().starts_with(b"\"")
            && self
                .0
                .iter()
                .any(|line| line.as_bytes().windows(weak.len()).any(|part| part == weak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn tags_are_strengthened_outside_their_quotes_only() {
        for (list, meant) in [
            ("W/\"a\"", "\"a\""),
            ("\"a\", W/\"b\" ,W/\"c\"", "\"a\", \"b\" ,\"c\""),
            ("\"W/\"", "\"W/\""),
            ("\"a,W/\", W/\"\"", "\"a,W/\", \"\""),
            ("*", "*"),
            ("W/x", "W/x"),
        ] {
            assert_eq!(strong(list.as_bytes()), meant.as_bytes(), "{list}");
        }
    }

    #[test]
    fn no_transform_is_a_directive_and_not_a_part_of_one() {
        for (line, says) in [
            ("no-transform", true),
            ("max-age=60 , No-Transform", true),
            ("x-no-transform", false),
            ("max-age=60", false),
        ] {
            assert_eq!(
                forbids(&headers(&[("cache-control", line)])),
                says,
                "{line}"
            );
        }
    }

    #[test]
    fn a_304_speaks_of_what_is_had() {
        let mut asked = HeaderMap::new();
        asked.insert("if-none-match", HeaderValue::from_static("\"z\", W/\"a\""));
        let known = Known::of(asked.get_all("if-none-match"));
        let answer = |etag, vary: Option<&'static str>| {
            let mut headers =
                headers(&[("etag", etag), ("accept-ranges", "bytes"), ("digest", "x")]);
            headers.extend(vary.map(|vary| (VARY, HeaderValue::from_static(vary))));
            known.not_modified(&mut headers);
            assert!(!headers.contains_key("accept-ranges") && !headers.contains_key("digest"));
            let field = |name| {
                let values = headers
                    .get_all(name)
                    .iter()
                    .map(|value: &HeaderValue| value.to_str().unwrap());
                values.collect::<Vec<_>>().join(", ")
            };
            (field("etag"), field("vary"))
        };
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(answer("\"a\"", None), pair("W/\"a\"", "Accept-Encoding"));
        assert_eq!(
            answer("\"a\"", Some("Origin")),
            pair("W/\"a\"", "Origin, Accept-Encoding")
        );
        assert_eq!(answer("\"z\"", None), pair("\"z\"", ""));
        assert_eq!(
            answer("\"z\"", Some("Origin")),
            pair("\"z\"", "Origin, Accept-Encoding")
        );
    }
}
