//! The request finds its site and route.
//!
//! [`Hosts`] goes from a request's [`Host`] to a site, the site's [`Table`] from method, path, query and header to a
//! route, and a route's [`Template`] can be filled with what its [`PathPattern`] captured. Nothing here knows what a
//! site or a route holds, and a lookup allocates only for captured [`Params`].
//!
//! Paths are compared byte by byte. Both sides are in normal form: the request's after `downstream::hygiene`,
//! a pattern's after parsing (RFC 3986 §6.2.2).
//!
//! [`Host`]: crate::routing::Host
//! [`Hosts`]: crate::routing::Hosts
//! [`Params`]: crate::routing::Params
//! [`PathPattern`]: crate::routing::PathPattern
//! [`Table`]: crate::routing::Table
//! [`Template`]: crate::routing::Template

mod host;
mod host_pattern;
mod hosts;
mod matcher;
mod path;
mod path_parse;
mod table;
mod template;

pub use host::Host;
pub use host_pattern::{HostPattern, InvalidHost};
pub use hosts::{Duplicate, Hosts, HostsBuilder};
pub use matcher::Matcher;
pub use path::{Params, PathPattern, Specificity};
pub use path_parse::InvalidPath;
pub use table::{Found, Shadowed, Table};
pub use template::{InvalidTemplate, Template};
