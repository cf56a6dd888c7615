//! The fields behind a chunked body (RFC 9112 §7.1.2).

use bytes::{Buf, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Malformed, fields};

/// The most that trailers may take.
const MAX_BYTES: usize = 16 * 1024;

/// The most trailer fields.
const MAX_FIELDS: usize = 100;

/// Takes trailers off the front of `buffer`; `None` if they are not all there yet.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut parsed = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (length, parsed) = match httparse::parse_headers(buffer, &mut parsed) {
        Ok(httparse::Status::Complete(done)) if done.0 <= MAX_BYTES => done,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_BYTES => return Ok(None),
        Ok(_) => return Err(Malformed("the trailers are too large")),
        Err(_) => return Err(Malformed("the trailers are not valid")),
    };
    if !fields::has_whole_line_ends(&buffer[..length]) {
        return Err(Malformed("a bare LF in the trailers"));
    }
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Malformed("a trailer's name is not valid"))?;
        if [CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&name) {
            return Err(Malformed("a trailer that speaks of framing"));
        }
        let value = HeaderValue::from_bytes(field.value)
            .map_err(|_| Malformed("a trailer's value is not valid"))?;
        headers.append(name, value);
    }
    buffer.advance(length);
    Ok(Some(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_taken_because_all_of_them_came_at_once() {
        let trailers = |length: usize| format!("x: {}\r\n\r\n", "a".repeat(length - 7));
        for (length, is_taken) in [(MAX_BYTES, true), (MAX_BYTES + 1, false)] {
            let mut buffer = BytesMut::from(trailers(length).as_bytes());
            assert_eq!(take(&mut buffer).is_ok(), is_taken, "{length}");
        }
    }
}
