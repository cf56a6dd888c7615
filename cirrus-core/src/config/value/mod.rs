//! The smallest values of a configuration. Each parses from its text, says what is allowed when it cannot, and writes
//! itself back so that reading it again gives the same value.

mod bound;
mod cookie_name;
mod hash_key;
mod header;
mod health_term;
mod media;
mod method;
mod name_pattern;
mod origin;
mod password;
mod pattern_text;
mod period;
mod rate;
mod rate_key;
mod redis;
mod retry_on;
mod secret;
mod secret_text;
mod service;
mod size;
mod status;
mod status_set;
mod text;
mod web_origin;

pub use bound::{PeriodBound, SizeBound};
pub(crate) use cookie_name::cookie_name;
pub use hash_key::{HashKey, SplitKey};
pub use header::{HeaderText, HeaderTitle};
pub use health_term::HealthTerm;
pub(crate) use health_term::is_name;
pub use media::MediaRange;
pub use method::MethodName;
pub use name_pattern::NamePattern;
pub use origin::OriginUrl;
pub use password::{KeyHash, PasswordHash};
pub use pattern_text::PatternText;
pub use period::Period;
pub use rate::Rate;
pub use rate_key::RateKey;
pub use redis::RedisUrl;
pub use retry_on::{HedgeAfter, RetryOn};
pub use secret::Secret;
pub use secret_text::SecretText;
pub use service::ServiceUrl;
pub use size::Size;
pub use status::StatusNumber;
pub use status_set::StatusSet;
pub use web_origin::WebOrigin;

#[cfg(test)]
mod tests;
