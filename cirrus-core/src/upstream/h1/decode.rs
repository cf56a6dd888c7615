//! Response heads from bytes (RFC 9112 §4).

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, StatusCode, Version};

use super::framing::{Said, is_bodiless};
use super::{MAX_FIELDS, MAX_HEAD};
use crate::codec::Malformed;
use crate::codec::fields::{self, Place};
use crate::codec::lines::Relayed;
use crate::downstream::hygiene::is_for_one_hop;

/// Bytes for what is added to a header's lines on the way to the client.
const ROOM: usize = 64;

/// A response's status line and header.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// Empty if there are `lines`.
    pub(super) headers: HeaderMap,
    /// The header's end-to-end fields, if lines are what was asked for.
    pub(super) lines: Option<Relayed>,
    pub(super) said: Said,
}

/// What becomes of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A map, for whoever looks at them.
    Map,
    /// Lines, where nobody does. A header that is out of the ordinary becomes a map all the same.
    Lines,
}

// === impl ResponseHead ===

impl ResponseHead {
    /// Nothing about it needs a map: there may be content, and no field is for this hop but those that always are.
    fn is_ordinary(&self) -> bool {
        self.said.is_plain && !is_bodiless(self.status)
    }
}

/// Takes a head off the front of `buffer`; `None` if it is not all there yet.
pub(super) fn head(buffer: &mut BytesMut, form: Form) -> Result<Option<ResponseHead>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err(Malformed("the header is too large")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("too many header fields")),
        Err(_) => return Err(Malformed("the status line or header is not valid")),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("the status is not valid"))?;
    let version = match parsed.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    let said = Said::by(parsed.headers);
    let mut head = ResponseHead {
        status,
        version,
        headers: HeaderMap::new(),
        lines: None,
        said,
    };
    if form == Form::Lines && head.is_ordinary() {
        head.lines = Some(lines(parsed.headers, &buffer[..length]));
        buffer.advance(length);
        return Ok(Some(head));
    }
    let mut places = [Place::default(); MAX_FIELDS];
    let count = parsed.headers.len();
    for (place, field) in places.iter_mut().zip(parsed.headers.iter()) {
        *place = Place::of(field, buffer);
    }
    head.headers = fields::headers(&buffer.split_to(length).freeze(), &places[..count])?;
    Ok(Some(head))
}

/// The fields without those that concern this connection only.
fn lines(fields: &[httparse::Header<'_>], head: &[u8]) -> Relayed {
    let mut lines = Relayed::with_capacity(head.len() + ROOM);
    for field in fields {
        if !is_for_one_hop(field.name) {
            match as_written(field, head) {
                Some(line) => lines.push_line(line, field.name.len()),
                None => lines.push(field.name, field.value),
            }
        }
    }
    lines
}

/// The line that a field was parsed from, if it stands there as we would write it, but for the case of its name.
fn as_written<'a>(field: &httparse::Header<'_>, head: &'a [u8]) -> Option<&'a [u8]> {
    let begin = (field.name.as_ptr() as usize).checked_sub(head.as_ptr() as usize)?;
    let value = field.name.len() + 2;
    let line = head.get(begin..)?.get(..value + field.value.len() + 2)?;
    let is_ours = std::ptr::eq(line[value..].as_ptr(), field.value.as_ptr())
        && line[value - 2..].starts_with(b": ")
        && line.ends_with(b"\r\n");
    is_ours.then_some(line)
}
