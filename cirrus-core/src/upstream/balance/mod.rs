//! Chooses an endpoint; one policy a file.

mod round_robin;

pub(crate) use round_robin::RoundRobin;
