//! One moment for the purges of several stores, each of which counts its own.

use std::collections::VecDeque;

use cirrus_core::cache::Moment;
use parking_lot::Mutex;

use super::place::{MOST_TIERS, Place};

/// Most moments that are remembered exactly.
const MOST: usize = 4096;

/// What each tier's clock of purges shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dials([u64; MOST_TIERS]);

/// The moments that were given out, with what the tiers' clocks showed then.
///
/// A moment is given out again as long as no clock has moved, so there are as many as there are purges, not requests.
/// Beyond [`MOST`], every second one of the older half is forgotten: who asks for it gets the one before. That is
/// always right, because an earlier moment only makes more purges concern an object.
#[derive(Debug, Default)]
pub(super) struct Moments(Mutex<Given>);

#[derive(Debug, Default)]
struct Given {
    last: u64,
    /// Ascending.
    dials: VecDeque<(u64, Dials)>,
}

// === impl Dials ===

impl Dials {
    pub(super) fn read(tiers: impl Iterator<Item = Moment>) -> Self {
        let mut dials = [0; MOST_TIERS];
        for (dial, moment) in dials.iter_mut().zip(tiers) {
            *dial = moment.0;
        }
        Self(dials)
    }

    /// No clock shows less than it does in `other`.
    fn has_reached(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
    }

    /// What the clock of this tier showed.
    pub(super) fn of(&self, place: Place) -> Moment {
        Moment(self.0[place])
    }
}

// === impl Moments ===

impl Moments {
    /// The moment at which the clocks show this.
    pub(super) fn give(&self, now: Dials) -> Moment {
        let mut given = self.0.lock();
        if let Some((number, dials)) = given.dials.back() {
            if *dials == now {
                return Moment(*number);
            }
            if !now.has_reached(dials) {
                // Read before somebody else read what has been given since: it must not come out later than that.
                return given.before(now);
            }
        }
        if given.dials.len() >= MOST {
            given.thin();
        }
        given.last += 1;
        let number = given.last;
        given.dials.push_back((number, now));
        Moment(number)
    }

    /// What the clocks showed at `moment`, or at one after it if it is forgotten.
    pub(super) fn since(&self, moment: Moment) -> Dials {
        let given = self.0.lock();
        let before = given
            .dials
            .partition_point(|(number, _)| *number < moment.0);
        match given.dials.get(before) {
            Some((_, dials)) => *dials,
            None => Dials([u64::MAX; MOST_TIERS]),
        }
    }

    /// What the clocks showed at `moment`, or at one before it.
    pub(super) fn at(&self, moment: Moment) -> Dials {
        let given = self.0.lock();
        let behind = given
            .dials
            .partition_point(|(number, _)| *number <= moment.0);
        match behind.checked_sub(1) {
            Some(place) => given.dials[place].1,
            None => Dials::default(),
        }
    }
}

// === impl Given ===

impl Given {
    /// The last moment at which no clock showed more than `now`.
    fn before(&self, now: Dials) -> Moment {
        let mut latest_first = self.dials.iter().rev();
        let before = latest_first.find(|(_, dials)| now.has_reached(dials));
        Moment(before.map_or(0, |(number, _)| *number))
    }

    fn thin(&mut self) {
        let mut place = 0;
        self.dials.retain(|_| {
            place += 1;
            place > MOST / 2 || place % 2 == 1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dials(one: u64, other: u64) -> Dials {
        Dials::read([Moment(one), Moment(other)].into_iter())
    }

    #[test]
    fn a_moment_lasts_until_a_clock_moves() {
        let moments = Moments::default();
        let first = moments.give(dials(1, 1));
        assert_eq!(moments.give(dials(1, 1)), first);
        let second = moments.give(dials(1, 2));
        assert!(second > first);
        assert_eq!(moments.at(first), dials(1, 1));
        assert_eq!(moments.at(second), dials(1, 2));
    }

    #[test]
    fn clocks_that_were_read_before_others_make_no_later_moment() {
        let moments = Moments::default();
        let first = moments.give(dials(1, 1));
        let second = moments.give(dials(3, 3));
        assert_eq!(moments.give(dials(2, 3)), first);
        assert_eq!(moments.give(dials(0, 0)), Moment(0));
        assert_eq!(moments.give(dials(3, 3)), second);
        assert!(moments.give(dials(3, 4)) > second);
    }

    #[test]
    fn what_is_left_out_since_a_forgotten_moment_is_more_and_never_less() {
        let moments = Moments::default();
        let given: Vec<_> = (1..20_000_u64)
            .map(|n| (n, moments.give(dials(n, n))))
            .collect();
        for (n, moment) in given {
            assert!(moments.since(moment).of(0).0 >= n);
        }
        assert_eq!(moments.since(Moment(20_000)).of(0), Moment(u64::MAX));
    }

    #[test]
    fn what_is_forgotten_becomes_earlier_and_never_later() {
        let moments = Moments::default();
        let given: Vec<_> = (1..20_000_u64)
            .map(|n| (n, moments.give(dials(n, n))))
            .collect();
        for (n, moment) in given {
            let shown = moments.at(moment).of(0).0;
            assert!(shown <= n, "{shown} for {n}");
            if n > 19_000 {
                assert_eq!(shown, n);
            }
        }
        assert!(moments.0.lock().dials.len() <= MOST);
    }
}
