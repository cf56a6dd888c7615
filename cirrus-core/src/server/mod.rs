//! Puts it all together: builder, workers, drain, admin listener.

pub(crate) mod admin;
mod builder;
mod engine;
mod plug;
mod proxy;
mod purging;
mod running;
mod supervise;
mod worker;

pub use builder::{Builder, Server, StartError};
pub(crate) use engine::Engine;
pub use plug::Plugged;
pub(crate) use plug::{Outer, Plug};
pub use proxy::Proxy;
pub use running::Running;
pub(crate) use supervise::{Drain, TaskExecutor, Tasks};
pub(crate) use worker::{Admission, Worker, Writer};
