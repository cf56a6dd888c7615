//! Which endpoints may be asked.
//!
//! Health belongs to an endpoint and survives every update of its cluster; it ends with the endpoint. Three things speak:
//! [probes](crate::health::Probe) that look after endpoints at intervals (`checks` keeps one for each check and endpoint), the traffic
//! itself (failures in a row, rates, latency), and conditions that join both. A `Guard` in the background hears them
//! all and tells the endpoints; requests read one or two atomics.

mod breaker;
mod checks;
mod condition;
mod guard;
mod outlier;
mod passive;
mod probe;
mod rules;
mod tally;
mod watch;

pub(crate) use breaker::{Breaker, Pass};
pub(crate) use checks::Checks;
pub(crate) use guard::Guard;
pub(crate) use passive::{Cause, Ejection, Passive};
pub(crate) use probe::script::user as user_of_script;
pub use probe::{Probe, Target};
pub(crate) use rules::{Watching, watching};
pub(crate) use watch::Seen;
