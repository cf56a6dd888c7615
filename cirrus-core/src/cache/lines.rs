//! The header of a hit as the bytes that HTTP/1 sends: written once for a stored response, not for every answer.

use std::sync::{Arc, OnceLock};

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};

use super::meta::Meta;
use super::outcome::CacheOutcome;
use crate::codec::write::{decimal, field};

/// A stored header's lines, made when they are first asked for. A copy makes its own: its header may be another one.
#[derive(Debug, Default)]
pub(crate) struct Lines(OnceLock<Box<[u8]>>);

/// The header of one hit, in place of a map.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) meta: Arc<Meta>,
    pub(super) age: u64,
    /// For how many more seconds it is fresh.
    pub(super) ttl: i64,
}

// === impl Lines ===

impl Clone for Lines {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Lines {
    /// They follow from the header, which is compared.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

// === impl Prepared ===

impl Prepared {
    /// Writes every field but those that frame the message.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let lines = self.meta.lines.0.get_or_init(|| written(&self.meta));
        out.extend_from_slice(lines);
        out.extend_from_slice(b"age: ");
        decimal(out, self.age);
        out.extend_from_slice(b"\r\n");
        CacheOutcome::Hit { ttl: self.ttl }.write(out);
    }
}

fn written(meta: &Meta) -> Box<[u8]> {
    let mut lines = Vec::with_capacity(meta.headers.len() * 48);
    let ours = |name: &HeaderName| [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name);
    for (name, value) in meta.headers.iter().filter(|(name, _)| !ours(name)) {
        field(&mut lines, name, value);
    }
    lines.into()
}
