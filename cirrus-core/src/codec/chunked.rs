//! Chunked bodies (RFC 9112 §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::{Malformed, trailers};

/// The most that the line before a chunk may take, extensions included; ours to choose, none are known in the wild.
const MAX_LINE: usize = 1024;

/// Where in the body the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// Before a chunk's size.
    Size,
    /// So many bytes before the end of a chunk.
    Data(u64),
    /// Before the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    /// Behind the body.
    Done,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// Content.
    Data(Bytes),
    /// The end, with the trailers.
    End(HeaderMap),
    /// Not enough to tell.
    More,
}

// === impl Chunked ===

impl Chunked {
    /// Takes what there is off the front of `buffer`.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Found, Malformed> {
        loop {
            match *self {
                Self::Size => match line(buffer)? {
                    None => return Ok(Found::More),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(_) if buffer.is_empty() => return Ok(Found::More),
                Self::Data(left) => return Ok(Found::Data(self.take(buffer, left))),
                Self::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(Malformed("a chunk is longer than it says")),
                    None => return Ok(Found::More),
                },
                Self::Trailers => {
                    let Some(trailers) = trailers::take(buffer)? else {
                        return Ok(Found::More);
                    };
                    *self = Self::Done;
                    return Ok(Found::End(trailers));
                }
                Self::Done => return Ok(Found::End(HeaderMap::new())),
            }
        }
    }

    fn take(&mut self, buffer: &mut BytesMut, left: u64) -> Bytes {
        let now = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        *self = match left - now as u64 {
            0 => Self::DataEnd,
            rest => Self::Data(rest),
        };
        buffer.split_to(now).freeze()
    }
}

/// A chunk's size, off the front of `buffer` with its line; `None` if the line is not all there.
fn line(buffer: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = buffer.iter().take(MAX_LINE).position(|&byte| byte == b'\n') else {
        let fits = buffer.len() < MAX_LINE;
        return if fits {
            Ok(None)
        } else {
            Err(Malformed("the line before a chunk is too long"))
        };
    };
    let line = buffer[..end]
        .strip_suffix(b"\r")
        .ok_or(Malformed("a bare LF behind a chunk's size"))?;
    let size = size(line)?;
    buffer.advance(end + 1);
    Ok(Some(size))
}

/// Hexadecimal digits, then nothing or an extension; no sign, no space before it, no overflow.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let extension = &line[digits..];
    if digits == 0 || digits > 16 {
        return Err(Malformed("a chunk's size is not valid"));
    }
    // Bad whitespace before it is to be taken (RFC 9112 §7.1.1); alone it is no extension.
    let is_extension = extension.is_empty() || extension.trim_ascii_start().starts_with(b";");
    if !is_extension || extension.iter().any(|byte| is_control(*byte)) {
        return Err(Malformed("a chunk's size is not valid"));
    }
    let value = line[..digits].iter().fold(0u64, |value, &digit| {
        value << 4 | u64::from((digit as char).to_digit(16).unwrap_or_default())
    });
    Ok(value)
}

fn is_control(byte: u8) -> bool {
    byte != b'\t' && (byte < b' ' || byte == 0x7f)
}
