//! Passwords and tokens of other people's services.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A password or token as it was written. `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct SecretText(String);

// === impl SecretText ===

impl SecretText {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Format};

    #[test]
    fn no_secret_is_seen_where_a_configuration_is_printed() {
        let text = "
            consul.token = 'hidden-of-consul'
            discovery.etcd = { user = 'a', password = 'hidden-of-etcd' }
            discovery.redis.password = 'hidden-of-redis'
            [[site]]
            hosts = ['a.example']
            origin = [{ url = 'http://a:1' }]
            balance.sticky.secret = 'hidden-of-sessions'
        ";
        let (config, faults) = Config::parse(text, Format::Toml).unwrap();
        assert_eq!(faults.iter().count(), 0);
        let printed = format!("{config:?}");
        assert!(
            printed.contains("…") && !printed.contains("hidden"),
            "{printed}"
        );
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(written.matches("hidden-of-").count(), 4, "{written}");
    }
}
