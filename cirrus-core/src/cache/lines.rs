//! The header of a hit as the bytes that HTTP/1 sends: those that it is stored as.

use std::sync::Arc;

use super::meta::Meta;
use super::outcome::CacheOutcome;
use crate::codec::write::decimal;

/// The header of one hit, in place of a map.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) meta: Arc<Meta>,
    pub(super) age: u64,
    /// For how many more seconds it is fresh.
    pub(super) ttl: i64,
}

// === impl Prepared ===

impl Prepared {
    /// Writes every field but those that frame the message.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.meta.headers.unframed());
        out.extend_from_slice(b"age: ");
        decimal(out, self.age);
        out.extend_from_slice(b"\r\n");
        CacheOutcome::Hit { ttl: self.ttl }.write(out);
    }
}
