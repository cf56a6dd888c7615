//! Which of several stored responses answers a request (RFC 9111 §4.1).

use std::fmt;

use http::header::{ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, FORWARDED, VARY, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::control::SURROGATE_CAPABILITY;
use super::header::Lines;
use crate::codec::write::field;

/// As many fields as a response may depend on: each one more makes it less likely that anybody else asks alike.
const MOST_FIELDS: usize = 16;

/// The request header fields named by `Vary`, with their values in the request that was answered, sorted by name.
///
/// Packed into one block of lines; that of a field which the request did not have is its name only.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Variant(Box<[u8]>);

/// The response depends on more than a cache can see, or does not say clearly on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknowable;

// === impl Variant ===

impl Variant {
    /// Chosen by these fields, which are sorted by name.
    #[must_use]
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, Option<HeaderValue>)>) -> Self {
        let mut lines = Vec::new();
        for (name, value) in fields {
            match value {
                Some(value) => field(&mut lines, &name, &value),
                None => {
                    lines.extend_from_slice(name.as_str().as_bytes());
                    lines.extend_from_slice(b"\r\n");
                }
            }
        }
        Self(lines.into())
    }

    /// Each field's name, in lower case, and its value, if the request had it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        Lines(&self.0)
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether every request is answered the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that it takes in memory beside itself.
    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }

    /// The fields of `request` that `response` says it was chosen by.
    ///
    /// `Vary: *` fails to match every request, and so does what names no field: neither can be used again.
    pub(super) fn of(
        response: &HeaderMap,
        request: &HeaderMap,
        routed_by: &[HeaderName],
    ) -> Result<Self, Unknowable> {
        let mut fields = routed_by.to_vec();
        for line in response.get_all(VARY) {
            for name in members(line) {
                let name = HeaderName::from_bytes(name)
                    .ok()
                    .filter(|name| name != "*" && !is_rewritten(name))
                    .ok_or(Unknowable)?;
                // It is the same in all that is stored.
                if name != SURROGATE_CAPABILITY {
                    fields.push(name);
                }
            }
        }
        fields.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        fields.dedup();
        if fields.len() > MOST_FIELDS + routed_by.len() {
            return Err(Unknowable);
        }
        let fields = fields.into_iter();
        Ok(Self::new(fields.map(|name| with_value(name, request))))
    }

    /// This request would have been answered the same.
    pub(super) fn matches(&self, request: &HeaderMap) -> bool {
        self.iter()
            .all(|(name, stored)| same(request, name, stored))
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self
            .iter()
            .map(|(name, value)| (name, value.map(String::from_utf8_lossy)));
        f.debug_map().entries(fields).finish()
    }
}

/// Fields that are written below the cache, from the connection: their value here is not what the origin has seen.
fn is_rewritten(name: &HeaderName) -> bool {
    name == FORWARDED
        || name == VIA
        || name == "cdn-loop"
        || name == "x-real-ip"
        || name.as_str().starts_with("x-forwarded-")
}

fn with_value(name: HeaderName, request: &HeaderMap) -> (HeaderName, Option<HeaderValue>) {
    let value = combined(request, name.as_str());
    let own = value.and_then(|value| HeaderValue::from_bytes(&canonical(&name, &value)).ok());
    (name, own)
}

/// A value as others with the same meaning are written too (RFC 9111 §4.1): for lists whose members know no case and may
/// have space around them, and whose order may matter.
fn canonical(name: &HeaderName, value: &HeaderValue) -> Vec<u8> {
    if is_folded(name.as_str()) {
        folded(value.as_bytes()).collect()
    } else {
        value.as_bytes().to_vec()
    }
}

fn is_folded(name: &str) -> bool {
    ACCEPT_ENCODING == name || ACCEPT_LANGUAGE == name || ACCEPT_CHARSET == name
}

/// In small letters, without empty members, with one space behind each comma and none elsewhere, which is how most write
/// it anyway.
fn folded(value: &[u8]) -> impl Iterator<Item = u8> {
    let members = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let members = members.filter(|member| !member.is_empty());
    members.enumerate().flat_map(|(index, member)| {
        let comma: &[u8] = if index == 0 { b"" } else { b", " };
        let letters = member.iter().filter(|byte| !byte.is_ascii_whitespace());
        comma.iter().chain(letters).map(u8::to_ascii_lowercase)
    })
}

fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// The value of a field; of several lines, one list (RFC 9110 §5.3).
fn combined(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first.clone());
    };
    let mut list = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        list.extend_from_slice(b", ");
        list.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&list).ok()
}

fn same(request: &HeaderMap, name: &str, stored: Option<&[u8]>) -> bool {
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => stored.is_none(),
        // Nearly always one line: compared where it is.
        (Some(only), None) => stored.is_some_and(|stored| alike(name, stored, only)),
        (Some(_), Some(_)) => combined(request, name)
            .zip(stored)
            .is_some_and(|(value, stored)| alike(name, stored, &value)),
    }
}

/// `stored` is in its canonical form already.
fn alike(name: &str, stored: &[u8], value: &HeaderValue) -> bool {
    stored == value.as_bytes()
        || (is_folded(name) && folded(value.as_bytes()).eq(stored.iter().copied()))
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

    fn vary(line: &'static str, request: &HeaderMap) -> Result<Variant, Unknowable> {
        Variant::of(&headers(&[("vary", line)]), request, &[])
    }

    #[test]
    fn without_vary_every_request_matches() {
        let variant = Variant::of(&HeaderMap::new(), &headers(&[("accept", "a")]), &[]).unwrap();
        assert_eq!(variant, Variant::default());
        assert!(variant.matches(&headers(&[("accept", "b")])));
    }

    #[test]
    fn named_fields_must_be_the_same() {
        let variant = vary("Accept, X-B", &headers(&[("accept", "a")])).unwrap();
        assert!(variant.matches(&headers(&[("accept", "a"), ("cookie", "c")])));
        assert!(!variant.matches(&headers(&[("accept", "b")])));
        assert!(
            !variant.matches(&headers(&[("accept", "a"), ("x-b", "1")])),
            "an absent field matches absence only"
        );
        assert!(
            !variant.matches(&headers(&[("accept", "a"), ("x-b", "")])),
            "empty is not absent"
        );
        assert!(!variant.matches(&headers(&[])));
    }

    #[test]
    fn lines_of_one_field_are_one_list() {
        let variant = vary("accept", &headers(&[("accept", "a"), ("accept", "b")])).unwrap();
        assert!(variant.matches(&headers(&[("accept", "a, b")])));
        assert!(variant.matches(&headers(&[("accept", "a"), ("accept", "b")])));
        assert!(
            !variant.matches(&headers(&[("accept", "a")])),
            "not by its first line alone"
        );
        assert!(!variant.matches(&headers(&[("accept", "a"), ("accept", "c")])));
    }

    #[test]
    fn order_and_case_of_names_make_no_other_variant() {
        let request = headers(&[("accept", "a")]);
        assert_eq!(
            vary("Cookie,Accept", &request),
            vary(" accept ,, cookie, ACCEPT", &request)
        );
    }

    #[test]
    fn section_4_1_what_means_the_same_is_the_same() {
        for (name, stored, others) in [
            (
                "accept-language",
                "en-GB, de;q=0.5",
                [
                    "en-gb,de;q=0.5",
                    "EN-GB ,  de ; q=0.5",
                    ",en-GB,, de;q=0.5,",
                ],
            ),
            (
                "accept-encoding",
                "gzip, br",
                ["gzip,br", "GZIP, BR", " gzip ,br"],
            ),
        ] {
            let variant = vary(name, &headers(&[(name, stored)])).unwrap();
            for other in others {
                assert!(variant.matches(&headers(&[(name, other)])), "{other}");
                assert_eq!(vary(name, &headers(&[(name, other)])), Ok(variant.clone()));
            }
            let first = stored.split(',').next().unwrap();
            assert!(!variant.matches(&headers(&[(name, first)])));
        }
    }

    #[test]
    fn section_4_1_what_might_mean_something_else_is_not() {
        for (name, one, other) in [
            ("accept-language", "en, de", "de, en"),
            ("accept-language", "en, de", "en; de"),
            ("accept-language", "en", ""),
            ("cookie", "a=b", "a=B"),
            ("x-any", "1,2", "1, 2"),
            ("user-agent", "One", "one"),
        ] {
            let variant = vary(name, &headers(&[(name, one)])).unwrap();
            assert!(
                !variant.matches(&headers(&[(name, other)])),
                "{name}: {other}"
            );
        }
    }

    #[test]
    fn too_many_fields_are_as_good_as_all() {
        let vary = |count: usize| {
            let names: Vec<_> = (0..count).map(|n| format!("x-{n}")).collect();
            let response = HeaderMap::from_iter([(VARY, names.join(",").parse().unwrap())]);
            Variant::of(&response, &HeaderMap::new(), &[])
        };
        assert!(vary(MOST_FIELDS).is_ok());
        assert_eq!(vary(MOST_FIELDS + 1), Err(Unknowable));
    }

    #[test]
    fn an_asterisk_or_nonsense_matches_nothing() {
        for line in ["*", "accept, *", "*, accept", "a b", "\"accept\""] {
            assert_eq!(vary(line, &HeaderMap::new()), Err(Unknowable), "{line}");
        }
    }
}
