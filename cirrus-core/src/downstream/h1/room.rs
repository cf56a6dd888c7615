//! How much of a response may wait for its client.

use std::sync::Arc;

use crate::config::Limits;
use crate::metrics::Cells;

/// What waits at the most for each client while too much waits for all of them.
const SCARCE: usize = 16 * 1024;

/// The room that a connection has for what its client has not taken yet.
///
/// Only clients that are slower than their responses are counted: for the others nothing is noted at all.
#[derive(Debug)]
pub(super) struct Room {
    /// For this connection.
    most: usize,
    /// For all connections of this worker.
    share: u64,
    /// So much is noted as waiting.
    noted: usize,
    cells: Arc<Cells>,
}

// === impl Room ===

impl Room {
    pub(super) fn new(limits: &Limits, workers: usize, cells: &Arc<Cells>) -> Self {
        Self {
            most: limits.connection_buffer,
            share: limits.total_buffer / workers.max(1) as u64,
            noted: 0,
            cells: Arc::clone(cells),
        }
    }

    /// Whether more may be taken while so much waits.
    pub(super) fn is_left(&self, waiting: usize) -> bool {
        if waiting < SCARCE {
            return true;
        }
        let all = self.cells.buffered.get();
        let all = all.saturating_sub(self.cells.unbuffered.get());
        let is_scarce = all > self.share;
        if is_scarce {
            self.cells.held_back.add(1);
        }
        waiting < self.most && !is_scarce
    }

    /// The client has let something wait.
    pub(super) fn is_taken(&self) -> bool {
        self.noted > 0
    }

    /// So much waits for a client that does not take it.
    pub(super) fn wait(&mut self, waiting: usize) {
        if waiting == self.noted {
            return;
        }
        if waiting > self.noted {
            self.cells.buffered.add((waiting - self.noted) as u64);
        } else {
            self.cells.unbuffered.add((self.noted - waiting) as u64);
        }
        self.noted = waiting;
    }
}

#[cfg(test)]
impl Room {
    /// Room for 100 KiB, and for 1 MiB in all.
    pub(super) fn testing() -> Self {
        Self {
            most: 100 * 1024,
            share: 1024 * 1024,
            noted: 0,
            cells: Arc::default(),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.wait(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(cells: &Arc<Cells>) -> Room {
        Room {
            share: 64 * 1024,
            cells: Arc::clone(cells),
            ..Room::testing()
        }
    }

    #[test]
    fn when_others_hold_too_much_everybody_gets_small_pieces() {
        let cells = Arc::default();
        let (mut one, other) = (room(&cells), room(&cells));
        assert!(other.is_left(99 * 1024) && !other.is_left(100 * 1024));
        one.wait(65 * 1024);
        assert!(other.is_left(SCARCE - 1) && !other.is_left(SCARCE));
        assert_eq!(cells.held_back.get(), 1);
        one.wait(10);
        assert!(other.is_left(99 * 1024));
        one.wait(65 * 1024);
        drop(one);
        assert!(other.is_left(99 * 1024), "what left has no claims");
        assert_eq!(cells.buffered.get(), cells.unbuffered.get());
    }
}
