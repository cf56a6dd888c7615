//! Which endpoints may be asked.
//!
//! Health belongs to an endpoint and survives every update of its cluster; it ends with the endpoint.

mod passive;

pub(crate) use passive::{Ejection, Passive};
