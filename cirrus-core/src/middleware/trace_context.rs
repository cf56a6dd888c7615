//! Distributed traces (W3C Trace Context, level 2): the request is one step of a trace that others began, or begins one.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_layer::Layer;

use super::request_id::only;
use super::{Context, Handler, chance};
use crate::body::{Request, Response};
use crate::error::{Error, Kind};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What version 00 knows: sampled, and random trace identifier. Others must be sent as zero.
const FLAGS: u8 = 0b11;

/// What begins here is recorded by whoever records: the origin is not kept from it.
const SAMPLED: u8 = 0b01;

/// The most members of a `tracestate`.
const MOST_MEMBERS: usize = 32;

/// Continues the client's trace, or begins one. No span is exported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceContextLayer;

/// See [`TraceContextLayer`].
#[derive(Clone, Debug)]
pub(crate) struct TraceContext<H> {
    inner: H,
}

/// Which trace a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

/// Where a request stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraceParent {
    trace: TraceId,
    parent: u64,
    flags: u8,
}

impl<H> Layer<H> for TraceContextLayer {
    type Service = TraceContext<H>;

    fn layer(&self, inner: H) -> TraceContext<H> {
        TraceContext { inner }
    }
}

// === impl TraceContext ===

impl<H: Handler> Handler for TraceContext<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        cx.trace_id = Some(step(request.headers_mut())?);
        self.inner.handle(cx, request).await
    }
}

/// Takes a step in the trace that the fields name, or begins one.
fn step(headers: &mut HeaderMap) -> Result<TraceId, Error> {
    let given = only(headers, &TRACEPARENT).and_then(TraceParent::read);
    // Without a valid parent nothing is known of the state it speaks of; nor is a broken state handed on.
    if given.is_none() || !is_valid_state(headers) {
        headers.remove(&TRACESTATE);
    }
    let next = match given {
        Some(given) => TraceParent {
            parent: not_zero(chance::bits() as u64),
            ..given
        },
        None => TraceParent::begin(),
    };
    let value = HeaderValue::try_from(next.to_string());
    let value = value.map_err(|error| Error::because(Kind::Internal, error))?;
    headers.insert(&TRACEPARENT, value);
    Ok(next.trace)
}

fn not_zero(bits: u64) -> u64 {
    bits.max(1)
}

// === impl TraceParent ===

impl TraceParent {
    fn begin() -> Self {
        Self {
            trace: TraceId(chance::bits().max(1)),
            parent: not_zero(chance::bits() as u64),
            flags: SAMPLED,
        }
    }

    /// `version-trace-parent-flags`. Of versions yet to come, what version 00 knows is read.
    fn read(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let (known, rest) = text.split_at_checked(55)?;
        let mut parts = known.split('-');
        let version = hex(parts.next()?, 2)?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let trace = hex(parts.next()?, 32).filter(|trace| *trace != 0)?;
        let parent = hex(parts.next()?, 16).filter(|parent| *parent != 0)?;
        let flags = hex(parts.next()?, 2)?;
        (is_whole && parts.next().is_none()).then_some(Self {
            trace: TraceId(trace),
            parent: parent as u64,
            flags: flags as u8 & FLAGS,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{:016x}-{:02x}",
            self.trace, self.parent, self.flags
        )
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A number of exactly so many digits; capital letters are not allowed.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hex = text.len() == digits && text.bytes().all(is_digit);
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Every member valid, none twice, and not too many. Several fields are one list.
fn is_valid_state(headers: &HeaderMap) -> bool {
    let mut keys: Vec<&str> = Vec::new();
    for field in headers.get_all(&TRACESTATE) {
        let Ok(list) = field.to_str() else {
            return false;
        };
        // Empty members are allowed.
        let members = list
            .split(',')
            .map(|member| member.trim_matches([' ', '\t']));
        for member in members.filter(|member| !member.is_empty()) {
            match member.split_once('=') {
                Some((key, value)) if is_key(key) && is_value(value) && !keys.contains(&key) => {
                    keys.push(key);
                }
                _ => return false,
            }
            if keys.len() > MOST_MEMBERS {
                return false;
            }
        }
    }
    true
}

/// A letter or digit first, then these; `@` parts a tenant from a system. At most 256 bytes.
fn is_key(key: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    key.len() <= 256
        && match key.split_once('@') {
            Some((tenant, system)) => is_part(tenant) && is_part(system),
            None => is_part(key),
        }
}

fn is_value(value: &str) -> bool {
    let is_allowed = |byte| matches!(byte, b' '..=b'~') && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_allowed)
}

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn read(text: &str) -> Option<TraceParent> {
        TraceParent::read(&HeaderValue::from_str(text).ok()?)
    }

    fn stepped(fields: &[(&'static str, &str)]) -> (TraceId, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        (step(&mut headers).unwrap(), headers)
    }

    #[test]
    fn a_valid_trace_is_continued_with_a_new_parent() {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let (trace, headers) = stepped(&[("traceparent", &parent), ("tracestate", "a=1,b@c=2")]);
        assert_eq!(trace.to_string(), TRACE);
        let next = headers["traceparent"].to_str().unwrap();
        assert!(next.starts_with(&format!("00-{TRACE}-")) && next.ends_with("-01"));
        assert!(!next.contains("b7ad6b7169203331"), "{next}");
        assert_eq!(headers["tracestate"], "a=1,b@c=2");
    }

    #[test]
    fn anything_else_begins_a_trace_without_state() {
        let long = format!("00-{TRACE}-b7ad6b7169203331-01-x");
        for invalid in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1x",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
            &long,
        ] {
            let (trace, headers) = stepped(&[("traceparent", invalid), ("tracestate", "a=1")]);
            assert_ne!(trace.to_string(), TRACE, "{invalid}");
            assert!(read(headers["traceparent"].to_str().unwrap()).is_some());
            assert!(!headers.contains_key("tracestate"), "{invalid}");
        }
    }

    #[test]
    fn several_parents_are_none() {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let (trace, headers) = stepped(&[("traceparent", &parent), ("traceparent", &parent)]);
        assert_ne!(trace.to_string(), TRACE);
        assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    }

    #[test]
    fn of_later_versions_what_is_known_is_read() {
        for text in [
            "cc-{}-b7ad6b7169203331-ff",
            "cc-{}-b7ad6b7169203331-ff-what-ever",
        ] {
            let parent = read(&text.replace("{}", TRACE)).unwrap();
            assert_eq!(
                parent.to_string(),
                format!("00-{TRACE}-b7ad6b7169203331-03")
            );
        }
    }

    #[test]
    fn a_broken_state_is_dropped_and_the_trace_goes_on() {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-00");
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
        let (many, most) = (many.join(","), many[..32].join(","));
        for (state, kept) in [
            ("a=1, ,b=2", true),
            (&most, true),
            (&many, false),
            ("a", false),
            ("A=1", false),
            ("a=1,a=2", false),
            ("a=b=c", false),
            ("@a=1", false),
        ] {
            let (trace, headers) = stepped(&[("traceparent", &parent), ("tracestate", state)]);
            assert_eq!(trace.to_string(), TRACE);
            assert_eq!(headers.contains_key("tracestate"), kept, "{state}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace in 1_u128.., parent in 1_u64.., flags in 0_u8..4) {
            let written = TraceParent { trace: TraceId(trace), parent, flags };
            prop_assert_eq!(read(&written.to_string()), Some(written));
        }

        #[test]
        fn no_text_breaks_it(text in "[0-9a-f-]{50,60}|\\PC{0,80}") {
            if let Some(parent) = read(&text) {
                prop_assert!(parent.trace.0 != 0 && parent.parent != 0 && &text[..2] != "ff");
            }
        }
    }
}
