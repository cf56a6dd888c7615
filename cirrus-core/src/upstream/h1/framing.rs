//! What a response's header says about its body and its connection (RFC 9112 §6, §9).

use http::{Method, StatusCode, Version};

use super::decode::ResponseHead;
use crate::codec::Malformed;

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

/// What the fields say. What is wrong with them matters only if there is content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    length: Result<Option<u64>, Malformed>,
    coding: Option<Coding>,
    /// The connection ends with this response.
    closes: bool,
    /// It does not, though the origin speaks HTTP/1.0.
    keeps: bool,
    /// `Connection` names no field.
    pub(super) is_plain: bool,
}

/// What stands in `Transfer-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// `chunked` alone is the only coding there is; asking for others is not our habit (`TE` is never sent).
    Chunked,
    Other,
}

// === impl Said ===

impl Said {
    /// By these fields.
    pub(super) fn by(fields: &[httparse::Header<'_>]) -> Self {
        let mut said = Self {
            length: Ok(None),
            coding: None,
            closes: false,
            keeps: false,
            is_plain: true,
        };
        for field in fields {
            // Most names are ruled out by their length.
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            match field.name.len() {
                10 if is("connection") => said.take_connection(field.value),
                14 if is("content-length") => said.take_length(field.value),
                17 if is("transfer-encoding") => said.take_coding(field.value),
                _ => {}
            }
        }
        said
    }

    fn take_connection(&mut self, list: &[u8]) {
        for token in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            match token {
                token if token.eq_ignore_ascii_case(b"close") => self.closes = true,
                token if token.eq_ignore_ascii_case(b"keep-alive") => self.keeps = true,
                token => self.is_plain &= token.is_empty(),
            }
        }
    }

    /// At most one length, of digits only. RFC 9110 §8.6 would let us repair a repeated one; we do not guess.
    fn take_length(&mut self, digits: &[u8]) {
        self.length = match self.length {
            Ok(None) => number(digits).map(Some),
            _ => Err(Malformed("Content-Length is given twice")),
        };
    }

    fn take_coding(&mut self, coding: &[u8]) {
        let is_chunked = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        self.coding = Some(if is_chunked && self.coding.is_none() {
            Coding::Chunked
        } else {
            Coding::Other
        });
    }
}

fn number(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("Content-Length is not a number"));
    }
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    number.ok_or(Malformed("Content-Length is too large"))
}

/// How the body ends, by RFC 9112 §6.3; what could be read in two ways is refused.
pub(super) fn framing(method: &Method, head: &ResponseHead) -> Result<Framing, Malformed> {
    let length = head.said.length?;
    let chunked = is_chunked(head)?;
    if chunked && length.is_some() {
        return Err(Malformed("both Content-Length and Transfer-Encoding"));
    }
    Ok(match length {
        _ if *method == Method::HEAD || is_bodiless(head.status) => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if chunked => Framing::Chunked,
        None => Framing::Close,
    })
}

/// Whether responses of this status have no content whatever they say.
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn is_chunked(head: &ResponseHead) -> Result<bool, Malformed> {
    match head.said.coding {
        None => Ok(false),
        Some(_) if head.version == Version::HTTP_10 => {
            Err(Malformed("Transfer-Encoding in HTTP/1.0"))
        }
        Some(Coding::Other) => Err(Malformed("Transfer-Encoding is not `chunked`")),
        Some(Coding::Chunked) => Ok(true),
    }
}

/// Whether the origin keeps the connection open after this response (RFC 9112 §9.3).
pub(super) fn keeps_alive(head: &ResponseHead) -> bool {
    let Said { closes, keeps, .. } = head.said;
    !closes && (keeps || head.version == Version::HTTP_11)
}
