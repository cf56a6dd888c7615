//! Response heads from bytes (RFC 9112 §4, §6).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use super::{MAX_FIELDS, MAX_HEAD};
use crate::codec::Malformed;
use crate::codec::fields::{self, Place};

/// A response's status line and header.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

/// How the response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Takes a head off the front of `buffer`; `None` if it is not all there yet.
pub(super) fn head(buffer: &mut BytesMut) -> Result<Option<ResponseHead>, Malformed> {
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
    let mut places = [Place::default(); MAX_FIELDS];
    let count = parsed.headers.len();
    for (place, field) in places.iter_mut().zip(parsed.headers.iter()) {
        *place = Place::of(field, buffer);
    }
    let headers = fields::headers(&buffer.split_to(length).freeze(), &places[..count])?;
    Ok(Some(ResponseHead {
        status,
        version,
        headers,
    }))
}

/// How the body ends, by RFC 9112 §6.3; what could be read in two ways is refused.
pub(super) fn framing(method: &Method, head: &ResponseHead) -> Result<Framing, Malformed> {
    let length = content_length(&head.headers)?;
    let chunked = is_chunked(head)?;
    if chunked && length.is_some() {
        return Err(Malformed("both Content-Length and Transfer-Encoding"));
    }
    let bodiless = *method == Method::HEAD
        || head.status.is_informational()
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    Ok(match length {
        _ if bodiless => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if chunked => Framing::Chunked,
        None => Framing::Close,
    })
}

/// At most one length, of digits only. RFC 9110 §8.6 would let us repair a repeated one; we do not guess.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed("Content-Length is given twice"));
    }
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("Content-Length is not a number"));
    }
    let length = value.to_str().ok().and_then(|digits| digits.parse().ok());
    length
        .map(Some)
        .ok_or(Malformed("Content-Length is too large"))
}

/// `chunked` alone is the only coding there is; asking for others is not our habit (`TE` is never sent).
fn is_chunked(head: &ResponseHead) -> Result<bool, Malformed> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(false);
    };
    if head.version == Version::HTTP_10 {
        return Err(Malformed("Transfer-Encoding in HTTP/1.0"));
    }
    if codings.next().is_some()
        || !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    {
        return Err(Malformed("Transfer-Encoding is not `chunked`"));
    }
    Ok(true)
}

/// Whether the origin keeps the connection open after this response (RFC 9112 §9.3).
pub(super) fn keeps_alive(head: &ResponseHead) -> bool {
    let has = |token: &str| {
        head.headers.get_all(CONNECTION).iter().any(|value| {
            value.to_str().is_ok_and(|list| {
                list.split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(token))
            })
        })
    };
    match head.version {
        Version::HTTP_11 => !has("close"),
        _ => has("keep-alive") && !has("close"),
    }
}
