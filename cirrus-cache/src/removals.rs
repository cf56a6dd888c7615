//! What was removed lately by URL.

use std::collections::VecDeque;

use cirrus_core::cache::Moment;

/// How many removals are remembered: 256.
const MOST: usize = 256;

/// The last removals by URL, for responses that were asked for before and come after them.
#[derive(Default)]
pub(crate) struct Removals {
    /// Numbers, ascending, and the keys' hashes.
    latest: VecDeque<(u64, u64)>,
    /// The last one that is no longer among them.
    forgotten: u64,
}

// === impl Removals ===

impl Removals {
    /// Keys of this hash are removed now.
    pub(crate) fn note(&mut self, hash: u64, number: Moment) {
        if self.latest.len() >= MOST
            && let Some((oldest, _)) = self.latest.pop_front()
        {
            self.forgotten = oldest;
        }
        self.latest.push_back((number.0, hash));
    }

    /// Whether such a key was removed after `moment`; also if that is no longer known.
    pub(crate) fn since(&self, hash: u64, moment: Moment) -> bool {
        let later = self.latest.iter().rev();
        moment.0 < self.forgotten
            || later
                .take_while(|(number, _)| *number > moment.0)
                .any(|(_, other)| *other == hash)
    }
}
