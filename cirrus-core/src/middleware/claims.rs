//! What origins are told about who asks, made once for the requests of a connection.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::codec::write;

/// Header fields that follow from the connection and the host alone, also as the lines that HTTP/1 sends.
#[derive(Debug)]
pub(crate) struct Claims {
    fields: Vec<(HeaderName, HeaderValue)>,
    lines: Box<[u8]>,
}

// === impl Claims ===

impl Claims {
    pub(super) fn new(fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        let mut lines = Vec::new();
        for (name, value) in &fields {
            write::field(&mut lines, name, value);
        }
        Self {
            fields,
            lines: lines.into(),
        }
    }

    /// As lines.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Adds the fields to a map.
    pub(crate) fn append_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            headers.append(name, value.clone());
        }
    }
}
