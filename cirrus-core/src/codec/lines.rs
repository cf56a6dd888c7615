//! A response's header as the lines that HTTP/1 sends, where nobody on the way looks at it.

use http::{HeaderName, HeaderValue};

use super::write;
use crate::cache::Prepared;

/// A header in place of a map: every field but those that frame the message or concern the connection.
#[derive(Debug)]
pub(crate) enum HeaderLines {
    /// Of a cache hit.
    Stored(Prepared),
    /// Of an origin's response that is passed on.
    Relayed(Relayed),
}

/// The header of an origin's response.
#[derive(Debug, Default)]
pub(crate) struct Relayed {
    lines: Vec<u8>,
    is_dated: bool,
}

// === impl HeaderLines ===

impl HeaderLines {
    /// Writes the lines.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stored(prepared) => prepared.write(out),
            Self::Relayed(relayed) => out.extend_from_slice(&relayed.lines),
        }
    }

    /// Whether `Date` is among them.
    pub(crate) fn is_dated(&self) -> bool {
        match self {
            Self::Stored(_) => true,
            Self::Relayed(relayed) => relayed.is_dated,
        }
    }
}

// === impl Relayed ===

impl Relayed {
    /// With room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            lines: Vec::with_capacity(bytes),
            is_dated: false,
        }
    }

    /// Adds a field's whole line, whose name is so long.
    pub(crate) fn push_line(&mut self, line: &[u8], name: usize) {
        let begin = self.lines.len();
        self.lines.extend_from_slice(line);
        let name = &mut self.lines[begin..begin + name];
        name.make_ascii_lowercase();
        self.is_dated |= name == b"date";
    }

    /// Adds a field as it was parsed; its name is written in lower case, as of every field that we write.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        self.is_dated |= name.len() == 4 && name.eq_ignore_ascii_case("date");
        // Names are short: byte by byte is quicker than a copy and a second pass.
        let name = name.bytes().map(|byte| byte.to_ascii_lowercase());
        self.lines.extend(name);
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Adds a field of ours.
    pub(crate) fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        write::field(&mut self.lines, name, value);
    }
}
