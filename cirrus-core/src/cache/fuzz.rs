//! See [`crate::fuzzing`].

use http::header::{CACHE_CONTROL, CONTENT_RANGE, DATE, RANGE, VARY};
use http::{HeaderMap, HeaderValue};

use super::control::{Control, FOREVER};
use super::header::StoredHeader;
use super::policy::parse_date;
use super::range::{MOST_RANGES, Part, Span};
use super::slice::ContentRange;
use super::vary::Variant;
use crate::clock::Timestamp;
use crate::fuzzing::lines;

/// Parts lie within the body, and apart; so does what an origin says that it sends.
pub fn ranges(bytes: &[u8]) {
    let request = lines(&RANGE, bytes);
    if let Some(range) = ContentRange::of(&lines(&CONTENT_RANGE, bytes)) {
        let span = range.span;
        assert!(span.start < span.end && span.end <= range.total);
        assert!(range.answers(span));
    }
    for size in [0, 1, 10, 1 << 40, u64::MAX] {
        let part = Part::of(&request, &StoredHeader::default(), size);
        let spans = match &part {
            Part::Whole | Part::Unsatisfiable => &[][..],
            Part::Of(span) => std::slice::from_ref(span),
            Part::Several(spans) => spans,
        };
        assert!(spans.len() <= MOST_RANGES);
        for span in spans {
            assert!(span.start < span.end && span.end <= size);
        }
        let overlap = |one: &Span, other: &Span| one.start < other.end && other.start < one.end;
        for (n, span) in spans.iter().enumerate() {
            assert!(!spans[n + 1..].iter().any(|other| overlap(span, other)));
        }
        let is_described = matches!(part, Part::Of(_) | Part::Unsatisfiable);
        assert_eq!(part.content_range(size).is_some(), is_described);
    }
}

/// However it is spread over fields, and whatever the letters' case, it says the same; and more of it allows no more.
pub fn cache_control(bytes: &[u8]) {
    let headers = lines(&CACHE_CONTROL, bytes);
    let control = Control::of_response(&headers);
    assert_eq!(Control::of_request(&headers), control);
    let numbers = [
        control.max_age,
        control.s_maxage,
        control.max_stale,
        control.min_fresh,
    ];
    assert!(numbers.iter().flatten().all(|&seconds| seconds <= FOREVER));
    assert_eq!(
        Control::of_response(&lines(&CACHE_CONTROL, &bytes.to_ascii_uppercase())),
        control
    );
    let mut more = headers;
    for strict in ["no-store", "max-age=0", "private"] {
        more.append(CACHE_CONTROL, HeaderValue::from_static(strict));
    }
    let more = Control::of_response(&more);
    assert!(more.no_store);
    // Behind a quoted string that never ends nothing is read, and nothing is stored.
    if !control.no_store {
        assert!(more.private && more.max_age == Some(0));
        assert_eq!(
            (more.no_cache, more.s_maxage),
            (control.no_cache, control.s_maxage)
        );
    }
}

/// `Vary` on the first line, then the request's `name: value` lines: a request matches its own variant.
pub fn vary(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let response = lines(&VARY, parts.next().unwrap_or_default());
    let request = fields(parts.next().unwrap_or_default());
    let Ok(variant) = Variant::of(&response, &request, &[]) else {
        return;
    };
    assert!(variant.matches(&request));
    let names = variant.iter().map(|(name, _)| name);
    assert!(names.is_sorted_by(|one, other| one < other));
    for (name, value) in variant.iter() {
        let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
            panic!("{name:?} is a name");
        };
        let mut other = request.clone();
        match value {
            Some(_) => drop(other.remove(&name)),
            None => drop(other.insert(&name, HeaderValue::from_static(""))),
        }
        assert!(!variant.matches(&other), "{name}");
    }
}

fn fields(bytes: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// A date is written and read as the same second.
pub fn dates(bytes: &[u8]) {
    for value in lines(&DATE, bytes).values() {
        let Some(date) = parse_date(value) else {
            continue;
        };
        let written = HeaderValue::try_from(date.to_string()).ok();
        assert_eq!(
            written.as_ref().and_then(parse_date),
            Some(date),
            "{value:?}"
        );
        let _ = Timestamp::default().since(date);
    }
}
