//! The lines of the file.

use std::io;

use cirrus_core::cache::Purge;
use serde::{Deserialize, Serialize};

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of the format.
    cirrus_purges: u32,
    /// A name that no other log has.
    pub(super) log: String,
    /// The number of the first purge that is in the file, or will be.
    pub(super) first: u64,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) n: u64,
    pub(super) purge: Purge,
}

const VERSION: u32 = 1;

// === impl Head ===

impl Head {
    /// Of a new log.
    pub(super) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let random = || RandomState::new().hash_one(std::process::id());
        Self {
            cirrus_purges: VERSION,
            log: format!("{:016x}{:016x}", random(), random()),
            first: 1,
        }
    }

    /// The head of a file, and where the rest begins; `None` if it is not whole yet.
    pub(super) fn read(text: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some(end) = text.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let head = serde_json::from_slice::<Self>(&text[..end]).ok();
        match head.filter(|head| head.cirrus_purges == VERSION) {
            Some(head) => Ok(Some((head, end + 1))),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is no purge log of this version",
            )),
        }
    }

    /// The same log, of which only what follows is left.
    pub(super) fn from(self, first: u64) -> Self {
        Self { first, ..self }
    }
}

/// A value as a line.
pub(super) fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// The whole lines of a text, without their ends, and how long they are together.
pub(super) fn whole_lines(text: &[u8]) -> (impl Iterator<Item = &[u8]>, usize) {
    let len = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines = text[..len].split(|&byte| byte == b'\n');
    (lines.filter(|line| !line.is_empty()), len)
}
