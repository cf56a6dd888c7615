//! A stored response becomes an answer: whole, a part, or "you have it already".

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::conditional::NOT_IN_304;
use super::lines::Prepared;
use super::multipart::{Boundary, Multipart};
use super::outcome::{CACHE_STATUS, CacheOutcome};
use super::precondition::{Judgement, judge};
use super::range::{Part, Span};
use super::store::{BodyState, ByteRange, Stored};
use crate::body::{Body, Response};
use crate::clock::Timestamp;
use crate::codec::lines::HeaderLines;

/// The fields that are added here, at the most: `Content-Length`, `Content-Range`, `Age` and `Cache-Status`.
const ADDED: usize = 4;

/// Those that are added to most responses: `Age` and `Cache-Status`. Room for more often makes a map grow.
const REPEATED: usize = 2;

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Answers `request` from the store. The one allocation beyond the values written is the header's.
pub(super) fn respond(
    request: &Parts,
    stored: &Stored,
    outcome: &CacheOutcome,
    now: Timestamp,
) -> Response {
    let mut response = match judge(&request.headers, &stored.meta) {
        Judgement::NotModified => not_modified(stored),
        Judgement::Failed => precondition_failed(stored),
        // What only the origin can tell has been sent there, unless the origin cannot be asked.
        Judgement::Perform | Judgement::Unknown => with_content(request, stored),
    };
    let age = stored.meta.freshness().age(now).as_secs();
    // A response with `Age` was not made for this request (RFC 9111 §5.1); one that was may have spent time elsewhere.
    if age > 0 || is_reused(outcome) {
        response.headers_mut().insert(AGE, decimal(age));
    }
    mark(&mut response, outcome);
    response
}

/// Answers a GET for all of a response whose header nobody looks at any more but the codec that writes it. `None` if that
/// is not what the request asks for.
pub(super) fn respond_prepared(
    request: &Parts,
    stored: &Stored,
    ttl: i64,
    now: Timestamp,
) -> Option<Response> {
    let is_plain = request.method == Method::GET
        && stored.meta.status == StatusCode::OK
        && !request.headers.keys().any(is_condition);
    if !is_plain {
        return None;
    }
    let prepared = Prepared {
        meta: Arc::clone(&stored.meta),
        age: stored.meta.freshness().age(now).as_secs(),
        ttl,
    };
    let body = stored.body.read(ByteRange::ALL);
    Some(Response::new(
        body.with_lines(HeaderLines::Stored(prepared)),
    ))
}

/// A field that may make the answer another one than the whole response.
fn is_condition(name: &HeaderName) -> bool {
    *name == RANGE
        || *name == IF_NONE_MATCH
        || *name == IF_MODIFIED_SINCE
        || *name == IF_MATCH
        || *name == IF_UNMODIFIED_SINCE
}

/// Adds what the cache did, behind what caches nearer the origin said (RFC 9211 §2).
pub(super) fn mark(response: &mut Response, outcome: &CacheOutcome) {
    if let Some(member) = outcome.header() {
        response.headers_mut().append(&CACHE_STATUS, member);
    }
}

/// `only-if-cached`, and nothing is (RFC 9111 §5.2.1.7).
pub(super) fn refused() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    mark(&mut response, &CacheOutcome::Refused);
    response
}

/// The origin has told somebody else, who asked for all, that it failed. What it said in which words is not for others.
pub(super) fn failed(outcome: &CacheOutcome, status: StatusCode) -> Response {
    let mut response = Response::new(Body::from(format!("{status}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    explain(
        &mut response,
        &format!("received-status={}", status.as_u16()),
    );
    mark(&mut response, outcome);
    response
}

/// Says what went wrong between here and the origin (RFC 9209), though the response does not show it.
pub(super) fn explain(response: &mut Response, what: &str) {
    if let Ok(value) = HeaderValue::try_from(format!("cirrus; {what}")) {
        response.headers_mut().append(PROXY_STATUS.clone(), value);
    }
}

fn is_reused(outcome: &CacheOutcome) -> bool {
    match outcome {
        CacheOutcome::Hit { .. } => true,
        CacheOutcome::Forwarded(forwarded) => forwarded.collapsed || forwarded.ttl.is_some(),
        CacheOutcome::Unused | CacheOutcome::Refused => false,
    }
}

fn not_modified(stored: &Stored) -> Response {
    let mut headers = stored.meta.headers.to_map_with(REPEATED);
    let has_etag = headers.contains_key(ETAG);
    for name in NOT_IN_304
        .iter()
        .filter(|name| **name != LAST_MODIFIED || has_etag)
    {
        headers.remove(name);
    }
    assemble(StatusCode::NOT_MODIFIED, headers, Body::empty())
}

/// It is not what the client means (RFC 9110 §15.5.13); these say what there is instead.
fn precondition_failed(stored: &Stored) -> Response {
    let mut headers = HeaderMap::with_capacity(4 + ADDED);
    for name in [DATE, ETAG, LAST_MODIFIED, VARY] {
        for value in stored.meta.headers.get_all(name.as_str()) {
            headers.append(&name, value);
        }
    }
    assemble(StatusCode::PRECONDITION_FAILED, headers, Body::empty())
}

fn with_content(request: &Parts, stored: &Stored) -> Response {
    let size = size(stored);
    let headers = stored.meta.headers.to_map_with(REPEATED);
    match size.map(|size| (size, part(request, stored, size))) {
        Some((size, Part::Of(span))) => single(stored, headers, span, size),
        Some((size, Part::Several(spans))) => several(stored, headers, &spans, size),
        Some((size, part @ Part::Unsatisfiable)) => unsatisfiable(&part, size),
        _ => whole(request, stored, headers, size),
    }
}

fn single(stored: &Stored, mut headers: HeaderMap, span: Span, size: u64) -> Response {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(span.len()));
    headers.insert(CONTENT_RANGE, span.content_range(size));
    let body = stored.body.read(span.into());
    assemble(StatusCode::PARTIAL_CONTENT, headers, body)
}

fn several(stored: &Stored, mut headers: HeaderMap, spans: &[Span], size: u64) -> Response {
    let boundary = Boundary::random();
    let own_type = headers.insert(CONTENT_TYPE, boundary.content_type());
    let body = Arc::clone(&stored.body);
    let parts = Multipart::new(body, spans, size, own_type.as_ref(), boundary);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(parts.len()));
    assemble(StatusCode::PARTIAL_CONTENT, headers, Body::stream(parts))
}

fn whole(request: &Parts, stored: &Stored, mut headers: HeaderMap, size: Option<u64>) -> Response {
    let status = stored.meta.status;
    // These have no content and must not say how long it is (RFC 9110 §8.6).
    let size = size.filter(|_| status != StatusCode::NO_CONTENT && !status.is_informational());
    if let Some(size) = size.filter(|size| !says(&headers, *size)) {
        headers.insert(CONTENT_LENGTH, decimal(size));
    }
    let body = if request.method == Method::HEAD {
        Body::empty()
    } else {
        stored.body.read(ByteRange::ALL)
    };
    assemble(status, headers, body)
}

/// Whether the header has this length and no other.
fn says(headers: &HeaderMap, size: u64) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next().and_then(|value| value.to_str().ok());
    first.is_some_and(|text| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse() == Ok(size)
    }) && lengths.next().is_none()
}

/// A number in one allocation; [`HeaderValue::from`] takes two.
fn decimal(number: u64) -> HeaderValue {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&digits[at..]).unwrap_or_else(|_| number.into())
}

fn unsatisfiable(part: &Part, size: u64) -> Response {
    let mut headers = HeaderMap::with_capacity(4);
    if let Some(range) = part.content_range(size) {
        headers.insert(CONTENT_RANGE, range);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    assemble(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty())
}

/// Only a successful GET has parts (RFC 9110 §14.2).
fn part(request: &Parts, stored: &Stored, size: u64) -> Part {
    if request.method == Method::GET && stored.meta.status == StatusCode::OK {
        Part::of(&request.headers, &stored.meta.headers, size)
    } else {
        Part::Whole
    }
}

/// A body that outgrows or falls short of what was announced breaks, so the announcement can be relied upon.
fn size(stored: &Stored) -> Option<u64> {
    let announced = || {
        stored
            .meta
            .length
            .filter(|_| stored.body.state() != BodyState::Failed)
    };
    stored.body.size().or_else(announced)
}

fn assemble(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_out() {
        for number in [0, 7, 10, 1024, u64::MAX] {
            assert_eq!(decimal(number), number.to_string());
        }
    }

    #[test]
    fn a_length_is_told_once_and_as_it_is() {
        let with = |lengths: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for length in lengths {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            headers
        };
        assert!(says(&with(&["12"]), 12));
        for wrong in [
            &[][..],
            &["13"],
            &["+12"],
            &["12, 12"],
            &["12", "12"],
            &[""],
        ] {
            assert!(!says(&with(wrong), 12), "{wrong:?}");
        }
    }
}
