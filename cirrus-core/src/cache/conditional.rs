//! Conditional requests: a client's, answered here, and our own, sent to revalidate (RFC 9111 §4.3).

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, PROXY_AUTHENTICATE,
    RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::header::StoredHeader;
use super::meta::Meta;
use super::policy::parse_date;

/// Whether a client that asks like this has the stored response already (RFC 9110 §13.2.2, RFC 9111 §4.3.2).
///
/// `If-None-Match` wins over `If-Modified-Since`, and both are void unless the answer would be a success.
pub(super) fn is_not_modified(request: &HeaderMap, stored: &Meta) -> bool {
    if !stored.status.is_success() {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        return names_etag(request, stored.headers.get(ETAG).as_ref());
    }
    request
        .get(IF_MODIFIED_SINCE)
        .is_some_and(|since| is_unmodified_since(since, &stored.headers))
}

fn names_etag(request: &HeaderMap, stored: Option<&HeaderValue>) -> bool {
    let stored = stored.map(|etag| opaque(etag.as_bytes()));
    request.get_all(IF_NONE_MATCH).iter().any(|line| {
        let line = line.as_bytes().trim_ascii();
        line == b"*" || stored.is_some_and(|stored| etags(line).any(|etag| opaque(etag) == stored))
    })
}

/// What remains of an entity tag for weak comparison (RFC 9110 §8.8.3.2).
fn opaque(etag: &[u8]) -> &[u8] {
    let etag = etag.trim_ascii();
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// The members of a list of entity tags, which may contain commas within their quotes.
pub(super) fn etags(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut quoted = false;
        let end = list.iter().position(|&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        });
        let etag = &list[..end.unwrap_or(list.len())];
        let more = !list.is_empty();
        list = end.map_or(&[], |end| &list[end + 1..]);
        more.then_some(etag)
    })
}

/// Without `Last-Modified`, `Date` is when it was last known to be new (RFC 9111 §4.3.2).
fn is_unmodified_since(since: &HeaderValue, stored: &StoredHeader) -> bool {
    let changed = stored
        .get(LAST_MODIFIED)
        .or_else(|| stored.get(DATE))
        .and_then(|date| parse_date(&date));
    changed
        .zip(parse_date(since))
        .is_some_and(|(changed, since)| changed <= since)
}

/// Whether the stored response is the very one that the client has a part of (`If-Range`, RFC 9110 §13.1.5).
///
/// Compared strongly: a weak tag never matches, a date only if it is the exact one and lies far enough before `Date`.
pub(super) fn matches_if_range(condition: &HeaderValue, stored: &StoredHeader) -> bool {
    let text = condition.as_bytes().trim_ascii();
    if text.starts_with(b"\"") {
        return stored.get(ETAG).is_some_and(|etag| etag.as_bytes() == text);
    }
    let parsed = |name| stored.get(name).and_then(|date| parse_date(&date));
    let (modified, date) = (parsed(LAST_MODIFIED), parsed(DATE));
    let is_strong = modified
        .zip(date)
        .is_some_and(|(modified, date)| modified < date);
    is_strong && modified == parse_date(condition)
}

/// Takes what is between this client and the stored response out of a request that fills the store.
pub(super) fn strip(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
}

/// Asks the origin whether the stored response still holds (RFC 9111 §4.3.1); `false` if there is nothing to ask by.
pub(super) fn validate(request: &mut HeaderMap, stored: &Meta) -> bool {
    // Only what the request would find there may be confirmed by its status alone: a stored error is fetched anew.
    if !stored.status.is_success() {
        return false;
    }
    let etag = stored
        .headers
        .get(ETAG)
        .map(|etag| request.insert(IF_NONE_MATCH, etag));
    let modified = stored
        .headers
        .get(LAST_MODIFIED)
        .map(|date| request.insert(IF_MODIFIED_SINCE, date));
    etag.is_some() || modified.is_some()
}

/// Whether a 304 speaks of the stored response: a tag that it carries must be the stored one (RFC 9111 §4.3.4).
pub(super) fn confirms(response: &HeaderMap, stored: &Meta) -> bool {
    let own = stored.headers.get(ETAG);
    response
        .get(ETAG)
        .is_none_or(|new| own.is_some_and(|own| opaque(new.as_bytes()) == opaque(own.as_bytes())))
}

/// Whether the answer to a HEAD is about the stored response (RFC 9111 §4.3.5), of this size.
///
/// Stricter than that: a validator must say so. An origin without any may well have something else by now.
pub(super) fn agrees(head: &HeaderMap, stored: &Meta, size: Option<u64>) -> bool {
    let same = |name| {
        head.get(&name)
            .map(|value| Some(value) == stored.headers.get(&name).as_ref())
    };
    let validators = [same(ETAG), same(LAST_MODIFIED)];
    let length = head
        .get(CONTENT_LENGTH)
        .map(|length| length.to_str().ok()?.parse().ok());
    stored.status == StatusCode::OK
        && validators.contains(&Some(true))
        && !validators.contains(&Some(false))
        && length.is_none_or(|length: Option<u64>| length.is_some() && length == size)
}

/// The stored header brought up to date by a 304's (RFC 9111 §3.2). A 304 without a date is from now.
pub(super) fn updated(stored: &StoredHeader, response: &HeaderMap, now: &HeaderValue) -> HeaderMap {
    let mut headers = stored.to_map();
    headers.insert(DATE, now.clone());
    let news = || response.iter().filter(|(name, _)| !describes_message(name));
    for (name, _) in news() {
        headers.remove(name);
    }
    for (name, value) in news() {
        headers.append(name, value.clone());
    }
    headers
}

/// Fields about the 304 itself or about bytes that it does not carry (RFC 9111 §3.1, §3.2).
fn describes_message(name: &HeaderName) -> bool {
    static OWN: [HeaderName; 9] = [
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        HeaderName::from_static("content-md5"),
        CONTENT_RANGE,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
    ];
    OWN.contains(name) || *name == UPGRADE
}

/// Fields that a 304 does without (RFC 9110 §15.4.5): the client has them, or gets them with the content. The last one
/// only beside an entity tag.
pub(super) static NOT_IN_304: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    LAST_MODIFIED,
];

/// A status that lets a stored response stand in for the origin's answer (RFC 5861 §4).
pub(super) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests;
