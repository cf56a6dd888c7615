//! Which blocks of a body need no second look.

use std::sync::atomic::{AtomicU64, Ordering};

use super::record::BLOCK;

/// The blocks that were found to be what was written, since their record was read.
///
/// What the system still has of such a block in memory is what was checked; what it has to read from the disk again is
/// checked again.
#[derive(Debug, Default)]
pub(super) struct Intact(Box<[AtomicU64]>);

// === impl Intact ===

impl Intact {
    /// Of a body with so many blocks, none of which is known.
    pub(super) fn of(blocks: usize) -> Self {
        Self(
            (0..blocks.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
        )
    }

    /// Whether the block that starts at `start` is known.
    pub(super) fn has(&self, start: u64) -> bool {
        self.place(start)
            .is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    pub(super) fn add(&self, start: u64) {
        if let Some((word, bit)) = self.place(start) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn place(&self, start: u64) -> Option<(&AtomicU64, u64)> {
        let block = start / BLOCK;
        let word = self.0.get(usize::try_from(block / 64).ok()?)?;
        Some((word, 1 << (block % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_known_by_itself() {
        let intact = Intact::of(65);
        intact.add(64 * BLOCK);
        intact.add(3 * BLOCK);
        let known: Vec<u64> = (0..200).filter(|n| intact.has(n * BLOCK)).collect();
        assert_eq!(known, [3, 64]);
        intact.add(1000 * BLOCK);
        assert!(!intact.has(1000 * BLOCK));
    }
}
