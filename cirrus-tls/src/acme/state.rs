//! What is known of a name's attempts, shared by all nodes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schedule::Window;
use super::store::{CertStore, Lease, Slot, StoreError};

/// Stored as JSON under [`Slot::State`]. Fields of other programs are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Failures in a row.
    pub(super) failures: u32,
    /// Seconds since 1970.
    pub(super) last_attempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_error: Option<String>,
    /// Not before; seconds since 1970.
    pub(super) next_attempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) renewal: Option<Window>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acme_dns: Option<Credentials>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Of an account with acme-dns, which is for one domain: what its `/register` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
    pub(super) fulldomain: String,
    pub(super) subdomain: String,
}

// === impl State ===

impl State {
    /// What is known of `name`. What cannot be read counts as nothing: at worst, a try comes too early.
    pub(super) async fn read(store: &dyn CertStore, name: &str) -> Result<Self, StoreError> {
        let text = store.read(&Slot::State(name)).await?;
        let parsed = text.as_deref().map(serde_json::from_str);
        Ok(parsed.transpose().unwrap_or_default().unwrap_or_default())
    }

    /// Changes it, and whatever others have written in the meantime stays.
    pub(super) async fn update(
        store: &dyn CertStore,
        lease: &Lease,
        name: &str,
        change: impl FnOnce(&mut Self) + Send,
    ) -> Result<(), StoreError> {
        let mut state = Self::read(store, name).await?;
        change(&mut state);
        let text = serde_json::to_string(&state).unwrap_or_default();
        store.write(&Slot::State(name), &text, lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_others_stay() {
        let text = r#"{"failures":2,"cname_checked":true,"acme_dns":
            {"username":"u","password":"p","fulldomain":"s.d","subdomain":"s","allowfrom":[]}}"#;
        let state: State = serde_json::from_str(text).unwrap();
        assert_eq!(state.failures, 2);
        let written: Value = serde_json::to_value(&state).unwrap();
        assert_eq!(written["cname_checked"], true);
        assert_eq!(written["acme_dns"]["subdomain"], "s");
    }
}
