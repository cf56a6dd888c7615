//! The form of all logs: records one behind the other, each with its length and checksums.
//!
//! A record's checksums also depend on the log and on its place there: one that is moved is no record.

use std::io::{self, Read};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes before each record: its length, a checksum of that, and one of the record.
pub(super) const HEADER: usize = 16;

/// Longer ones are never written.
const LONGEST: usize = 64 << 20;

/// Reads a log from its beginning.
pub(super) struct Scanner<R> {
    input: R,
    seed: u64,
    /// Where the next record starts.
    at: u64,
    /// How long the log is.
    len: u64,
    payload: Vec<u8>,
}

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A record that starts there.
    Whole { at: u64 },
    /// One that is not what was written; the next may be.
    Damaged,
    /// Nobody knows where the next one would start.
    Lost,
    /// The log breaks off within a record.
    Torn,
    /// The log ends.
    End,
}

/// A record as it is written at `at` in the log of this seed.
pub(super) fn framed(seed: u64, at: u64, payload: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    if payload.len() > LONGEST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(&guard(seed, at, len).to_le_bytes());
    frame.extend_from_slice(&checksum(seed, at, payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// The record in a frame that starts at `at`; `None` if it is not what was written.
pub(super) fn unframed(seed: u64, at: u64, frame: &[u8]) -> Option<&[u8]> {
    let (header, payload) = frame.split_first_chunk::<HEADER>()?;
    let (len, expected) = parse(seed, at, header)?;
    (len == payload.len() && checksum(seed, at, payload) == expected).then_some(payload)
}

fn parse(seed: u64, at: u64, header: &[u8; HEADER]) -> Option<(usize, u64)> {
    let (len, rest) = header.split_first_chunk::<4>()?;
    let (found, expected) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    let intact = u32::from_le_bytes(*found) == guard(seed, at, len);
    let expected = u64::from_le_bytes(expected.try_into().ok()?);
    intact.then_some((usize::try_from(len).ok()?, expected))
}

fn checksum(seed: u64, at: u64, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, seed ^ at)
}

/// The low half of a checksum of the length.
fn guard(seed: u64, at: u64, len: u32) -> u32 {
    let sum = xxh3_64_with_seed(&len.to_le_bytes(), seed ^ at ^ 0x6775_6172_6421);
    u32::try_from(sum & u64::from(u32::MAX)).unwrap_or_default()
}

// === impl Scanner ===

impl<R: Read> Scanner<R> {
    pub(super) fn new(input: R, len: u64, seed: u64) -> Self {
        Self {
            input,
            seed,
            at: 0,
            len,
            payload: Vec::new(),
        }
    }

    /// The record that [`next`](Self::next) has found.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Where what was read so far ends.
    pub(super) fn end(&self) -> u64 {
        self.at
    }

    /// What was not read yet.
    pub(super) fn into_rest(self) -> R {
        self.input
    }

    pub(super) fn next(&mut self) -> io::Result<Frame> {
        let (at, left) = (self.at, self.len.saturating_sub(self.at));
        if left == 0 {
            return Ok(Frame::End);
        }
        if left < HEADER as u64 {
            return Ok(Frame::Torn);
        }
        let mut header = [0; HEADER];
        self.input.read_exact(&mut header)?;
        let Some((len, expected)) = parse(self.seed, at, &header) else {
            return Ok(Frame::Lost);
        };
        if left < (HEADER + len) as u64 {
            return Ok(Frame::Torn);
        }
        self.payload.resize(len, 0);
        self.input.read_exact(&mut self.payload)?;
        self.at += (HEADER + len) as u64;
        let intact = checksum(self.seed, at, &self.payload) == expected;
        Ok(if intact {
            Frame::Whole { at }
        } else {
            Frame::Damaged
        })
    }
}
