//! See [`crate::fuzzing`].

use super::*;
use crate::fuzzing::lines;

/// `traceparent` on the first line, `tracestate` on the others: what goes on is one valid parent, and a state only if
/// there was a parent.
pub fn traceparent(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let mut headers = lines(&TRACEPARENT, parts.next().unwrap_or_default());
    headers.extend(lines(&TRACESTATE, parts.next().unwrap_or_default()));
    let given = only(&headers, &TRACEPARENT).and_then(TraceParent::read);
    if let Some(given) = given {
        let written = HeaderValue::try_from(given.to_string()).ok();
        assert_eq!(written.as_ref().and_then(TraceParent::read), Some(given));
    }
    let trace = step(&mut headers).ok();
    let next = only(&headers, &TRACEPARENT).and_then(TraceParent::read);
    assert!(next.is_some() && next.map(|next| next.trace) == trace);
    assert!(given.is_none_or(|given| Some(given.trace) == trace));
    assert!(given.is_some() || !headers.contains_key(&TRACESTATE));
    assert!(is_valid_state(&headers));
}
