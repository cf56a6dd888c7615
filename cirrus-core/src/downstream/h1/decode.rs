//! Request heads from bytes (RFC 9112 §2, §3, §5, §6): what has more than one reading is refused.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::uri::{self, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::codec::Malformed;
use crate::codec::fields::{self, Place, Span};
use crate::error::Kind;

/// The most header fields in a request; more are answered 431.
const MAX_FIELDS: usize = 100;

/// A request's line and header, and what they say about the connection.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The client wants another request on this connection.
    pub(super) keeps_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// The client would rather speak another protocol.
    pub(super) asks_upgrade: bool,
    /// The client takes trailers.
    pub(super) takes_trailers: bool,
}

/// How the request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// Why a head is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: Kind,
    pub(super) why: &'static str,
}

/// Reads heads off the front of a buffer.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The most bytes of a head.
    limit: usize,
    /// So many bytes have been looked at and were no whole head.
    seen: usize,
}

// === impl Decoder ===

impl Decoder {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, seen: 0 }
    }

    /// Takes a head off the front of `buffer`; `None` if it is not all there yet.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, Refused> {
        // Empty lines before a request are passed over (RFC 9112 §2.2).
        while self.seen == 0 && buffer.starts_with(b"\r\n") {
            buffer.advance(2);
        }
        if buffer.is_empty() || *buffer == b"\r"[..] || self.is_pointless(buffer) {
            return self.wait(buffer);
        }
        let mut places = [Place::default(); MAX_FIELDS];
        match parse(buffer, &mut places)? {
            Some(head) if head.length > self.limit => Err(too_large()),
            Some(head) => {
                self.seen = 0;
                head.build(buffer, &places).map(Some)
            }
            None => {
                self.seen = buffer.len();
                self.wait(buffer)
            }
        }
    }

    /// Nothing has come that could end a head, or be wrong in a way that need be known at once: who trickles bytes must
    /// not have all of them parsed again for each.
    fn is_pointless(&self, buffer: &[u8]) -> bool {
        self.seen > 0 && memchr::memchr(b'\n', &buffer[self.seen..]).is_none()
    }

    fn wait(&self, buffer: &[u8]) -> Result<Option<Head>, Refused> {
        if buffer.len() < self.limit {
            Ok(None)
        } else {
            Err(too_large())
        }
    }
}

/// A head that is valid, as places in the buffer.
struct Parsed {
    length: usize,
    method: Method,
    target: Span,
    version: Version,
    count: usize,
}

fn parse(buffer: &[u8], places: &mut [Place; MAX_FIELDS]) -> Result<Option<Parsed>, Refused> {
    // httparse would pass over a bare LF here.
    if !buffer[0].is_ascii_graphic() {
        return Err(bad("the request line is not valid"));
    }
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(buffer, &mut room);
    let length = match status {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return looks_whole(buffer).map(|()| None),
        Err(error) => return Err(refused(error)),
    };
    looks_whole(&buffer[..length])?;
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes())
        .map_err(|_| bad("the method is not valid"))?;
    let count = request.headers.len();
    for (place, field) in places.iter_mut().zip(request.headers.iter()) {
        *place = Place::of(field, buffer);
    }
    Ok(Some(Parsed {
        length,
        method,
        target: Span::of(request.path.unwrap_or_default().as_bytes(), buffer),
        version: match request.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        count,
    }))
}

/// A bare LF is a line's end to some and a part of the line to others.
fn looks_whole(lines: &[u8]) -> Result<(), Refused> {
    if fields::has_whole_line_ends(lines) {
        Ok(())
    } else {
        Err(bad("a line that does not end in CRLF"))
    }
}

// === impl Parsed ===

impl Parsed {
    fn build(self, buffer: &mut BytesMut, places: &[Place]) -> Result<Head, Refused> {
        let head = buffer.split_to(self.length).freeze();
        let headers = fields::headers(&head, &places[..self.count]).map_err(malformed)?;
        let says = Says::of(&headers, self.version)?;
        let is_http_11 = self.version == Version::HTTP_11;
        Ok(Head {
            uri: target(self.target.within(&head))?,
            method: self.method,
            version: self.version,
            framing: says.framing()?,
            keeps_alive: !says.close && (is_http_11 || says.keep_alive),
            expects: is_http_11 && says.expects,
            // Before HTTP/1.1 there are no upgrades.
            asks_upgrade: is_http_11 && says.upgrade,
            takes_trailers: is_http_11 && says.trailers,
            headers,
        })
    }
}

/// What a header says about framing and the connection.
#[derive(Debug, Default)]
struct Says {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
    upgrade: bool,
    trailers: bool,
}

// === impl Says ===

impl Says {
    fn of(headers: &HeaderMap, version: Version) -> Result<Self, Refused> {
        let mut says = Self::default();
        for (name, value) in headers {
            if *name == CONTENT_LENGTH {
                says.length(value)?;
            } else if *name == TRANSFER_ENCODING {
                says.coding(value, version)?;
            } else if *name == CONNECTION {
                says.close |= lists(value, b"close");
                says.keep_alive |= lists(value, b"keep-alive");
            } else if *name == EXPECT {
                says.expects |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            } else if *name == UPGRADE {
                says.upgrade = true;
            } else if *name == http::header::TE {
                says.trailers |= lists(value, b"trailers");
            }
        }
        Ok(says)
    }

    /// Exactly one, of digits only (RFC 9112 §6.3: a recipient may refuse what it could repair).
    fn length(&mut self, value: &HeaderValue) -> Result<(), Refused> {
        if self.length.is_some() {
            return Err(bad("more than one Content-Length"));
        }
        let digits = value.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let number = value.to_str().ok().and_then(|digits| digits.parse().ok());
        self.length = number.filter(|_| is_number);
        match self.length {
            Some(_) => Ok(()),
            None => Err(bad("Content-Length is not one number")),
        }
    }

    /// `chunked` is the one transfer coding there is.
    fn coding(&mut self, value: &HeaderValue, version: Version) -> Result<(), Refused> {
        if version < Version::HTTP_11 {
            return Err(bad("Transfer-Encoding in HTTP/1.0"));
        }
        if self.chunked {
            return Err(bad("more than one Transfer-Encoding"));
        }
        self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        if self.chunked {
            Ok(())
        } else {
            Err(bad("Transfer-Encoding is not `chunked`"))
        }
    }

    fn framing(&self) -> Result<Framing, Refused> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(bad("both Transfer-Encoding and Content-Length")),
            (true, None) => Ok(Framing::Chunked),
            (false, None | Some(0)) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }
}

/// Whether a comma-separated list has this member, whatever its case.
fn lists(value: &HeaderValue, member: &[u8]) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(member))
}

fn target(bytes: Bytes) -> Result<Uri, Refused> {
    let invalid = || bad("the target is not valid");
    // A fragment is no part of a target (RFC 9112 §3.2); silently dropped it would be another one.
    if memchr::memchr(b'#', &bytes).is_some() {
        return Err(invalid());
    }
    if bytes.first() != Some(&b'/') {
        return Uri::from_maybe_shared(bytes).map_err(|_| invalid());
    }
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(bytes).map_err(|_| invalid())?);
    Uri::from_parts(parts).map_err(|_| invalid())
}

fn refused(error: httparse::Error) -> Refused {
    match error {
        httparse::Error::TooManyHeaders => Refused {
            kind: Kind::HeaderTooLarge,
            why: "more than 100 header fields",
        },
        httparse::Error::HeaderName => bad("a field's name is not valid"),
        httparse::Error::HeaderValue => bad("a field's value is not valid"),
        httparse::Error::NewLine => bad("a line that does not end in CRLF"),
        _ => bad("the request line is not valid"),
    }
}

fn malformed(malformed: Malformed) -> Refused {
    bad(malformed.0)
}

fn too_large() -> Refused {
    Refused {
        kind: Kind::HeaderTooLarge,
        why: "larger than limits.header_bytes",
    }
}

fn bad(why: &'static str) -> Refused {
    Refused {
        kind: Kind::BadRequest,
        why,
    }
}

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(bytes: &str) -> Result<Option<Head>, Refused> {
        Decoder::new(16 * 1024).decode(&mut BytesMut::from(bytes))
    }

    fn with(lines: &str) -> Result<Framing, &'static str> {
        head(&format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n"))
            .map(|head| head.unwrap().framing)
            .map_err(|refused| refused.why)
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(with(""), Ok(Framing::None));
        assert_eq!(with("Content-Length: \t5 \r\n"), Ok(Framing::Length(5)));
        assert_eq!(with("content-length:0\r\n"), Ok(Framing::None));
        assert_eq!(with("content-lengths: a\r\n"), Ok(Framing::None));
        for value in [
            "",
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5,5",
            "5, 5",
            "18446744073709551616",
        ] {
            let answer = with(&format!("content-length: {value}\r\n"));
            assert_eq!(answer, Err("Content-Length is not one number"), "{value}");
        }
    }

    #[test]
    fn the_one_coding_is_chunked() {
        assert_eq!(
            with("Transfer-Encoding: CHUNKED \r\n"),
            Ok(Framing::Chunked)
        );
        for value in [
            "",
            "chunk",
            "chunkedd",
            "gzip, chunked",
            "chunked, chunked",
            "chunked;a",
        ] {
            assert!(
                with(&format!("transfer-encoding: {value}\r\n")).is_err(),
                "{value}"
            );
        }
        let (length, coding) = ("content-length: 1\r\n", "transfer-encoding: chunked\r\n");
        assert!(with(&format!("{length}{coding}")).is_err());
        assert!(with(&format!("{coding}{length}")).is_err());
        assert!(with(&format!("{coding}{coding}")).is_err());
        assert!(with(&format!("{length}{length}")).is_err());
    }

    #[test]
    fn what_the_client_wants_of_the_connection() {
        let keeps = |version: &str, field: &str| {
            let head = head(&format!("GET / HTTP/{version}\r\nhost: a\r\n{field}\r\n"));
            head.unwrap().unwrap().keeps_alive
        };
        assert!(keeps("1.1", ""));
        assert!(!keeps("1.1", "connection: x, Close\r\n"));
        assert!(!keeps("1.0", ""));
        assert!(keeps("1.0", "connection: Keep-Alive\r\n"));
        assert!(!keeps("1.0", "connection: keep-alive, close\r\n"));
    }

    #[test]
    fn a_head_larger_than_the_limit_is_refused_as_soon_as_that_is_known() {
        let mut decoder = Decoder::new(64);
        let mut buffer = BytesMut::from(&b"GET / HTTP/1.1\r\nhost: a\r\nx: "[..]);
        assert!(decoder.decode(&mut buffer).unwrap().is_none());
        buffer.extend_from_slice(&[b'a'; 64]);
        assert_eq!(
            decoder.decode(&mut buffer).unwrap_err().kind,
            Kind::HeaderTooLarge
        );
    }

    #[test]
    fn what_can_be_no_request_is_refused_before_it_ends() {
        for bytes in [
            "GET /a#b HTTP/1.1\r\n\r\n",
            "\0",
            "\n",
            " GET",
            "GET / HTTP/1.1\r\nhost : a",
            "GET /\n",
        ] {
            assert!(head(bytes).is_err(), "{bytes:?}");
        }
        for bytes in [
            "",
            "\r",
            "\r\n",
            "\r\n\r\nG",
            "GET / HTTP/1.1\r\nhost: a\r\n",
        ] {
            assert!(head(bytes).unwrap().is_none(), "{bytes:?}");
        }
    }

    proptest! {
        /// However the bytes come in, the outcome is the same.
        #[test]
        fn any_splitting_gives_the_same_head(
            line in "[A-Z]{1,4} [/a-z?=%.]{1,9} HTTP/1\\.[01]",
            fields in proptest::collection::vec("[a-z-]{1,8}:[ \\t]?[ -~]{0,12}", 0..6),
            size in 1usize..9,
        ) {
            let text = format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n")).replace("\r\n\r\n\r\n", "\r\n\r\n");
            let whole = head(&text);
            let mut decoder = Decoder::new(16 * 1024);
            let mut buffer = BytesMut::new();
            let mut pieces = Ok(None);
            for piece in text.as_bytes().chunks(size) {
                buffer.extend_from_slice(piece);
                pieces = decoder.decode(&mut buffer);
                if !matches!(pieces, Ok(None)) {
                    break;
                }
            }
            match (whole, pieces) {
                (Ok(Some(a)), Ok(Some(b))) => {
                    prop_assert_eq!(a.headers, b.headers);
                    prop_assert_eq!(a.uri, b.uri);
                    prop_assert_eq!(a.framing, b.framing);
                }
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::new(128).decode(&mut BytesMut::from(&bytes[..]));
        }
    }
}
