//! How often somebody is asked.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// Between two attempts after an error: at first, and at the most.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(8);

/// The rest after an error. It grows from one to the next, with jitter.
#[derive(Debug)]
pub(crate) struct Rest(Duration);

// === impl Rest ===

impl Default for Rest {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Rest {
    /// When it may be tried again.
    pub(crate) fn end(&mut self) -> Instant {
        let end = Instant::now() + about(self.0);
        self.0 = (self.0 * 2).min(LONGEST);
        end
    }
}

/// From half of it to one and a half: a fleet does not come all at once.
pub(crate) fn about(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) >> 32;
    let share = f64::from(u32::try_from(random).unwrap_or(0)) / f64::from(u32::MAX);
    time.mul_f64(0.5 + share)
}
