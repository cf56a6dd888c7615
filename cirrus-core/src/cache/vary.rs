//! Which of several stored responses answers a request (RFC 9111 §4.1).

use http::header::{FORWARDED, VARY, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::meta::Variant;

/// The response depends on more than a cache can see, or does not say clearly on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknowable;

// === impl Variant ===

impl Variant {
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
                fields.push(name);
            }
        }
        fields.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        fields.dedup();
        Ok(Self(
            fields
                .into_iter()
                .map(|name| with_value(name, request))
                .collect(),
        ))
    }

    /// This request would have been answered the same.
    pub(super) fn matches(&self, request: &HeaderMap) -> bool {
        self.0
            .iter()
            .all(|(name, stored)| same(request, name, stored.as_ref()))
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
    // A copy: the request's own value would keep the whole buffer that it was read into.
    let value = combined(request, &name);
    let own = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    (name, own)
}

fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// The value of a field; of several lines, one list (RFC 9110 §5.3).
fn combined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
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

fn same(request: &HeaderMap, name: &HeaderName, stored: Option<&HeaderValue>) -> bool {
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => stored.is_none(),
        // Nearly always one line: compared where it is.
        (Some(only), None) => stored == Some(only),
        (Some(_), Some(_)) => stored == combined(request, name).as_ref(),
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
    fn an_asterisk_or_nonsense_matches_nothing() {
        for line in ["*", "accept, *", "*, accept", "a b", "\"accept\""] {
            assert_eq!(vary(line, &HeaderMap::new()), Err(Unknowable), "{line}");
        }
    }
}
