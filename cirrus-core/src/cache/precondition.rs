//! What a client makes its request depend on, judged against a stored response in the order of RFC 9110 §13.2.2.

use http::HeaderMap;
use http::header::{ETAG, IF_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED};

use super::conditional::{etags, is_not_modified};
use super::meta::Meta;
use super::policy::parse_date;

/// What becomes of a conditional request. Of its range nothing is said: that is judged last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing stands against an answer with content.
    Perform,
    /// The client has it already: 304.
    NotModified,
    /// It is not what the client means: 412.
    Failed,
    /// Only the origin can tell.
    Unknown,
}

/// Whether a request depends on what the origin has at this moment: only a fresh response can stand in for that.
pub(super) fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Judges a GET or HEAD. Conditions are void unless the answer without them would be a success (§13.2.1).
pub(super) fn judge(request: &HeaderMap, stored: &Meta) -> Judgement {
    if !stored.status.is_success() {
        return Judgement::Perform;
    }
    match first(request, stored) {
        Judgement::Perform if is_not_modified(request, stored) => Judgement::NotModified,
        judgement => judgement,
    }
}

/// `If-Match` if it is there, else `If-Unmodified-Since` (§13.2.2, steps 1 and 2).
fn first(request: &HeaderMap, stored: &Meta) -> Judgement {
    if request.contains_key(IF_MATCH) {
        return if_match(request, stored);
    }
    let Some(since) = request.get(IF_UNMODIFIED_SINCE).and_then(parse_date) else {
        return Judgement::Perform;
    };
    let changed = stored.headers.get(LAST_MODIFIED);
    match changed.and_then(|date| parse_date(&date)) {
        Some(changed) if changed > since => Judgement::Failed,
        // A response without a date cannot be said to have changed or not (§13.1.4).
        _ => Judgement::Perform,
    }
}

/// Compared strongly (§13.1.1). A tag that was made weak on the way here may be strong at the origin.
fn if_match(request: &HeaderMap, stored: &Meta) -> Judgement {
    let Some(stored) = stored.headers.get(ETAG) else {
        let is_any = request.get_all(IF_MATCH).iter().any(|line| line == "*");
        return if is_any {
            Judgement::Perform
        } else {
            Judgement::Unknown
        };
    };
    if stored.as_bytes().starts_with(b"W/") {
        return Judgement::Unknown;
    }
    let names = |line: &http::HeaderValue| {
        let line = line.as_bytes().trim_ascii();
        line == b"*" || etags(line).any(|etag| etag.trim_ascii() == stored.as_bytes())
    };
    if request.get_all(IF_MATCH).iter().any(names) {
        Judgement::Perform
    } else {
        Judgement::Failed
    }
}

#[cfg(test)]
mod tests {
    use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
    use http::{HeaderName, HeaderValue, StatusCode};

    use super::*;

    const OLD: &str = "Fri, 20 Nov 2026 11:00:00 GMT";
    const NEW: &str = "Fri, 20 Nov 2026 12:00:00 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn judged(request: &[(HeaderName, &str)], stored: &[(HeaderName, &str)]) -> Judgement {
        judge(
            &headers(request),
            &Meta::new(StatusCode::OK, headers(stored)),
        )
    }

    #[test]
    fn if_match_compares_strongly() {
        let a = [(ETAG, "\"a\"")];
        for (asked, expected) in [
            ("\"a\"", Judgement::Perform),
            ("\"x\", \"a\"", Judgement::Perform),
            ("*", Judgement::Perform),
            ("\"b\"", Judgement::Failed),
            ("W/\"a\"", Judgement::Failed),
            ("", Judgement::Failed),
        ] {
            assert_eq!(judged(&[(IF_MATCH, asked)], &a), expected, "{asked}");
        }
        let weak = [(ETAG, "W/\"a\"")];
        assert_eq!(judged(&[(IF_MATCH, "W/\"a\"")], &weak), Judgement::Unknown);
        assert_eq!(judged(&[(IF_MATCH, "\"a\"")], &[]), Judgement::Unknown);
        assert_eq!(judged(&[(IF_MATCH, "*")], &[]), Judgement::Perform);
    }

    #[test]
    fn if_unmodified_since_compares_dates() {
        let is = |since: &str, stored: &[_]| judged(&[(IF_UNMODIFIED_SINCE, since)], stored);
        assert_eq!(is(OLD, &[(LAST_MODIFIED, NEW)]), Judgement::Failed);
        assert_eq!(is(OLD, &[(LAST_MODIFIED, OLD)]), Judgement::Perform);
        assert_eq!(is(NEW, &[(LAST_MODIFIED, OLD)]), Judgement::Perform);
        assert_eq!(is("yesterday", &[(LAST_MODIFIED, NEW)]), Judgement::Perform);
        assert_eq!(is(OLD, &[]), Judgement::Perform);
    }

    #[test]
    fn conditions_are_judged_in_order() {
        let stored = [(ETAG, "\"a\""), (LAST_MODIFIED, NEW)];
        for (request, expected) in [
            // If-Match makes If-Unmodified-Since void.
            (
                vec![(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, OLD)],
                Judgement::Perform,
            ),
            (
                vec![(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")],
                Judgement::Failed,
            ),
            (
                vec![(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")],
                Judgement::NotModified,
            ),
            (
                vec![(IF_UNMODIFIED_SINCE, NEW), (IF_MODIFIED_SINCE, NEW)],
                Judgement::NotModified,
            ),
            (
                vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, NEW)],
                Judgement::Perform,
            ),
        ] {
            assert_eq!(judged(&request, &stored), expected, "{request:?}");
        }
    }

    #[test]
    fn conditions_on_what_is_no_success_are_void() {
        let mut missing = Meta::new(StatusCode::NOT_FOUND, headers(&[(ETAG, "\"a\"")]));
        let request = headers(&[(IF_MATCH, "\"b\"")]);
        assert_eq!(judge(&request, &missing), Judgement::Perform);
        missing.status = StatusCode::OK;
        assert_eq!(judge(&request, &missing), Judgement::Failed);
    }
}
