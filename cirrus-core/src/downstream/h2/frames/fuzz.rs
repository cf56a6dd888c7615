//! See [`crate::fuzzing`].

use super::*;
use crate::fuzzing::PIECES;

/// The same frames are found however the bytes come.
pub fn h2_frames(bytes: &[u8]) {
    let whole = found(bytes, usize::MAX);
    let least = PREFACE + whole.len() * HEADER;
    assert!(whole.is_empty() || least <= bytes.len());
    for size in PIECES {
        assert_eq!(found(bytes, size), whole);
    }
}

fn found(bytes: &[u8], size: usize) -> Vec<Frame> {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for mut piece in bytes.chunks(size) {
        found.extend(std::iter::from_fn(|| frames.next(&mut piece)));
        assert!(piece.is_empty());
    }
    found
}
