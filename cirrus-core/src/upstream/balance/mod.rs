//! Chooses an endpoint; one policy a file.

pub(crate) mod chance;
mod hash;
mod key;
mod least;
pub(crate) mod load;
mod maglev;
mod order;
mod points;
mod random;
mod rendezvous;
mod ring;
mod round_robin;
mod selection;
mod session;
mod subset;
#[cfg(test)]
pub(crate) mod tests;
mod tier;
mod two_choices;

pub(crate) use hash::hash;
pub(crate) use key::{cookie, key};
use least::Least;
pub(crate) use load::{Busy, Load};
use maglev::Maglev;
pub(crate) use order::{Member, Order, Plan, Wanted};
use random::Random;
use rendezvous::Rendezvous;
use ring::Ring;
use round_robin::RoundRobin;
pub(crate) use selection::Selection;
pub(crate) use session::Sticky;
pub(crate) use subset::{Subset, name};
use two_choices::TwoChoices;
