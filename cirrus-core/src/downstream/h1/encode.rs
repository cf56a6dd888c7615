//! Response heads as bytes (RFC 9112 §4, §6, §7, §9).

use std::cell::RefCell;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, StatusCode, Version};

use super::link::COPIED;
use crate::clock::{Clock, Timestamp};
use crate::codec::lines::HeaderLines;
use crate::codec::write::{decimal, field};

/// How the client learns where the response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, and nothing says how long it would be but what the header says.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection: all that HTTP/1.0 leaves for a length nobody knows.
    Close,
}

/// What the response says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request may follow.
    KeepAlive,
    /// It ends with this response.
    Close,
    /// It speaks another protocol from here on.
    Switch,
}

// === impl Framing ===

impl Framing {
    /// Chosen by what is known of the body's length.
    pub(super) fn of(
        status: StatusCode,
        to_head: bool,
        length: Option<u64>,
        version: Version,
    ) -> Self {
        let bodiless = to_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match length {
            _ if bodiless => Self::None,
            Some(length) => Self::Length(length),
            None if version == Version::HTTP_11 => Self::Chunked,
            None => Self::Close,
        }
    }

    /// Whether there is content.
    pub(super) fn has_content(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}

/// A response's line and header.
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// In place of the map.
    pub(super) lines: Option<&'a HeaderLines>,
    pub(super) framing: Framing,
    pub(super) next: Next,
    pub(super) version: Version,
}

// === impl Head ===

impl Head<'_> {
    /// Writes it; framing and connection fields are made anew.
    pub(super) fn write(&self, out: &mut Vec<u8>, clock: &dyn Clock) {
        out.reserve(512 + self.headers.len() * 48 + self.room());
        status_line(out, self.status);
        let mut is_dated = self.status.is_informational();
        if let Some(lines) = self.lines {
            lines.write(out);
            is_dated |= lines.is_dated();
        }
        for (name, value) in self.headers {
            if *name == DATE {
                is_dated = true;
            } else if self.is_ours(name) {
                continue;
            }
            field(out, name, value);
        }
        if !is_dated {
            date(out, clock.now());
        }
        self.write_framing(out);
        out.extend_from_slice(self.connection());
        out.extend_from_slice(b"\r\n");
    }

    /// Bytes for content that goes out with it, so that the buffer does not grow twice.
    fn room(&self) -> usize {
        match self.framing {
            Framing::Length(length) if length < COPIED as u64 => length as usize,
            _ => 0,
        }
    }

    /// Whether a field is made anew by us, or must not stand there.
    fn is_ours(&self, name: &HeaderName) -> bool {
        *name == CONNECTION
            || *name == TRANSFER_ENCODING
            || (*name == CONTENT_LENGTH && !self.tells_length())
            || (*name == UPGRADE && self.next != Next::Switch)
    }

    /// Only what answers HEAD, or is a 304, says how long the content would be that it has not (RFC 9110 §8.6).
    fn tells_length(&self) -> bool {
        self.framing == Framing::None
            && !self.status.is_informational()
            && self.status != StatusCode::NO_CONTENT
    }

    fn write_framing(&self, out: &mut Vec<u8>) {
        match self.framing {
            Framing::Length(length) => {
                out.extend_from_slice(b"content-length: ");
                decimal(out, length);
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::None | Framing::Close => {}
        }
    }

    fn connection(&self) -> &'static [u8] {
        match self.next {
            Next::KeepAlive if self.version == Version::HTTP_11 => b"",
            Next::KeepAlive => b"connection: keep-alive\r\n",
            Next::Close => b"connection: close\r\n",
            Next::Switch => b"connection: upgrade\r\n",
        }
    }
}

/// HTTP/1.1 whatever the client speaks (RFC 9110 §6.2).
fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A recipient with a clock dates what comes without a date (RFC 9110 §6.6.1). Formatted once a second.
fn date(out: &mut Vec<u8>, now: Timestamp) {
    thread_local! {
        static LINE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
    }
    LINE.with_borrow_mut(|(second, line)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            *line = format!("date: {}\r\n", now).into_bytes();
        }
        out.extend_from_slice(line);
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::clock::ManualClock;

    fn written(status: u16, to_head: bool, length: Option<u64>) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        let head = Head {
            status,
            headers: &headers,
            lines: None,
            framing: Framing::of(status, to_head, length, Version::HTTP_11),
            next: Next::KeepAlive,
            version: Version::HTTP_11,
        };
        let mut out = Vec::new();
        head.write(&mut out, &ManualClock::at(Timestamp::from_secs(0)));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_length_is_said_once_and_only_where_it_may_be() {
        for (status, to_head, length, said) in [
            (200, false, Some(7), Some("7")),
            (200, false, None, None),
            (200, true, Some(0), Some("5")),
            (304, false, Some(0), Some("5")),
            (204, false, Some(0), None),
            (204, true, Some(0), None),
            (101, false, Some(0), None),
        ] {
            let head = written(status, to_head, length);
            let mut lines = head
                .lines()
                .filter_map(|line| line.strip_prefix("content-length: "));
            assert_eq!((lines.next(), lines.next()), (said, None), "{head}");
        }
    }
}
