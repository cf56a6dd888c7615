//! How old a response is when it comes (RFC 9111 §4.2.3).

use std::time::Duration;

use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderValue};

use super::{Times, parse_date_at, secs};
use crate::cache::control::{FOREVER, seconds};
use crate::clock::Timestamp;

/// `corrected_initial_age` (§4.2.3). Dates know whole seconds only, so the clock is cut to them as well.
pub(super) fn initial_age(headers: &HeaderMap, times: Times) -> Duration {
    let now = Timestamp::from_secs(times.received.as_secs());
    let apparent = now.since(date(headers, times.received));
    let corrected = secs(age_field(headers)) + times.received.since(times.asked);
    apparent.max(corrected).min(secs(FOREVER))
}

/// `Age` (§5.1): the first of several; zero if it is no number.
fn age_field(headers: &HeaderMap) -> u32 {
    let line = headers.get(AGE).map_or(&b""[..], HeaderValue::as_bytes);
    let first = line.split(|&byte| byte == b',').next().unwrap_or_default();
    seconds(first.trim_ascii()).unwrap_or(0)
}

/// When it was made; when it was received, if it does not say so.
pub(super) fn date(headers: &HeaderMap, received: Timestamp) -> Timestamp {
    let date = headers.get(DATE);
    date.and_then(|date| parse_date_at(date, received))
        .unwrap_or(received)
}
