//! The smallest values of a configuration. Each parses from its text, says what is allowed when it cannot, and writes
//! itself back so that reading it again gives the same value.

mod header;
mod method;
mod origin;
mod password;
mod period;
mod service;
mod size;
mod status;
mod text;

pub use header::{HeaderText, HeaderTitle};
pub use method::MethodName;
pub use origin::OriginUrl;
pub use password::{KeyHash, PasswordHash};
pub use period::Period;
pub use service::ServiceUrl;
pub use size::Size;
pub use status::StatusNumber;

#[cfg(test)]
mod tests;
