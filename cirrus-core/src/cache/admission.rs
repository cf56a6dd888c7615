//! From an origin's response to what is kept of it.

use http::header::{AGE, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::control::SURROGATE_CONTROL;
use super::meta::Meta;
use super::policy::{Refusal, Rules, Times, admit, left_out};
use super::tag::tags;
use super::vary::Variant;
use crate::clock::Timestamp;

/// Everything about a response to a GET that the store is to keep, or why it must not.
pub(super) fn describe(
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
    times: Times,
) -> Result<Meta, Refusal> {
    let freshness = admit(request, status, headers, rules, times)?;
    let variant = Variant::of(headers, request, &rules.routed_by).map_err(|_| Refusal::Vary)?;
    let omitted = left_out(headers, rules);
    let mut headers = kept(headers, times.received);
    for name in omitted {
        headers.remove(name);
    }
    let (tags, length) = (tags(&headers), content_length(&headers));
    let mut meta = Meta::new(status, headers)
        .with_vary(variant)
        .with_freshness(freshness)
        .with_length(length)
        .with_asked(times.moment);
    meta.tags = tags;
    Ok(meta)
}

/// The header without what is not to be stored (RFC 9111 §3.1), and with a date: it says how old the response is.
pub(super) fn kept(headers: &HeaderMap, received: Timestamp) -> HeaderMap {
    let mut headers = compact(headers);
    headers.remove(AGE);
    // It was for us.
    headers.remove(&SURROGATE_CONTROL);
    for name in [
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        HeaderName::from_static("proxy-authentication-info"),
    ] {
        headers.remove(name);
    }
    // A recipient with a clock dates what came without (RFC 9110 §6.6.1).
    headers.entry(DATE).or_insert_with(|| date(received));
    headers
}

/// What whoever asked gets of a response beyond what is stored of it.
pub(super) fn omitted(headers: &HeaderMap, rules: &Rules) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for name in left_out(headers, rules) {
        for value in headers.get_all(&name) {
            fields.append(&name, value.clone());
        }
    }
    fields
}

/// A copy with values of their own: those of an origin's response share the buffer that it was read into, which each
/// of them would keep in memory as a whole.
fn compact(headers: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        // What has been a value is one.
        if let Ok(mut own) = HeaderValue::from_bytes(value.as_bytes()) {
            own.set_sensitive(value.is_sensitive());
            copy.append(name, own);
        }
    }
    copy
}

/// A time as a field's value.
pub(super) fn date(time: Timestamp) -> HeaderValue {
    HeaderValue::try_from(time.to_string())
        .unwrap_or(const { HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT") })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
