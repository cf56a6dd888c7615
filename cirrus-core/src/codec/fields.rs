//! Header fields out of a head's bytes, none of which is copied.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;

/// Where a field's name and value stand in a head. Heads are far shorter than 4 GiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    name: Span,
    value: Span,
}

/// A part of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(u32, u32);

/// Room for what is added on the way; a larger map costs every request, a second one those that need it.
const ADDED: usize = 2;

// === impl Place ===

impl Place {
    /// Of a field that was parsed from `head`.
    pub(crate) fn of(field: &httparse::Header<'_>, head: &[u8]) -> Self {
        Self {
            name: Span::of(field.name.as_bytes(), head),
            value: Span::of(field.value, head),
        }
    }
}

// === impl Span ===

impl Span {
    /// Of a part of `whole`.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let begin = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self(begin as u32, (begin + part.len()) as u32)
    }

    /// Its bytes.
    pub(crate) fn within(self, head: &Bytes) -> Bytes {
        head.slice(self.0 as usize..self.1 as usize)
    }
}

/// The header, with room for what is added on the way. The values share the head's bytes.
pub(crate) fn headers(head: &Bytes, places: &[Place]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(places.len() + ADDED);
    for place in places {
        let name = HeaderName::from_bytes(&head[place.name.0 as usize..place.name.1 as usize])
            .map_err(|_| Malformed("a field's name is not valid"))?;
        let value = HeaderValue::from_maybe_shared(place.value.within(head))
            .map_err(|_| Malformed("a field's value is not valid"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Whether every line ends in CRLF. httparse takes a bare LF for a line's end, others do not: two readings.
pub(crate) fn has_whole_line_ends(lines: &[u8]) -> bool {
    let mut rest = lines;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        if at == 0 || rest[at - 1] != b'\r' {
            return false;
        }
        rest = &rest[at + 1..];
    }
    true
}
