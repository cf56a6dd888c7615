//! One account with each authority, shared by all nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, Key, NewAccount};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::error::IssueError;
use super::http::Http;
use super::settings::Authority;
use super::store::{CertStore, Lease, Slot, StoreError};

/// An authority, and the account with it once there is one.
pub(super) struct Member {
    pub(super) authority: Authority,
    pub(super) http: Http,
    account: tokio::sync::Mutex<Option<Account>>,
}

/// Credentials by the URL of the directory.
type Known = BTreeMap<String, Value>;

/// What the lease for new accounts is called: no DNS name.
const LEASE: &str = "_account";
const LIFE: Duration = Duration::from_secs(60);

/// How often somebody else's registration is waited for, and how long between.
const PATIENCE: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

// === impl Member ===

impl Member {
    pub(super) fn new(authority: Authority, http: Http) -> Self {
        Self {
            authority,
            http,
            account: tokio::sync::Mutex::default(),
        }
    }

    /// The account; registered when there is none.
    pub(super) async fn account(
        &self,
        store: &Arc<dyn CertStore>,
        contact: &[String],
    ) -> Result<Account, IssueError> {
        let mut slot = self.account.lock().await;
        if let Some(account) = &*slot {
            return Ok(account.clone());
        }
        let account = match self.restored(&known(&**store).await?).await? {
            Some(account) => account,
            None => self.register(store, contact).await?,
        };
        *slot = Some(account.clone());
        Ok(account)
    }

    /// The authority does not know it (any more): the next one is new.
    pub(super) async fn forget(&self, store: &Arc<dyn CertStore>) -> Result<(), IssueError> {
        *self.account.lock().await = None;
        let Some(lease) = store.acquire(LEASE, LIFE).await? else {
            return Ok(());
        };
        let mut known = known(&**store).await?;
        known.remove(&self.authority.directory);
        write(&**store, &known, &lease).await?;
        Ok(store.release(lease).await?)
    }

    async fn restored(&self, known: &Known) -> Result<Option<Account>, IssueError> {
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let Some(credentials) = known.get(&self.authority.directory) else {
            return Ok(None);
        };
        let credentials: AccountCredentials = serde_json::from_value(credentials.clone())
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Some(builder.from_credentials(credentials).await?))
    }

    async fn register(
        &self,
        store: &Arc<dyn CertStore>,
        contact: &[String],
    ) -> Result<Account, IssueError> {
        for _ in 0..PATIENCE {
            if let Some(lease) = store.acquire(LEASE, LIFE).await? {
                let registered = self.register_under(&**store, contact, &lease).await;
                store.release(lease).await?;
                return registered;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(IssueError::Busy("the registration of an account"))
    }

    async fn register_under(
        &self,
        store: &dyn CertStore,
        contact: &[String],
        lease: &Lease,
    ) -> Result<Account, IssueError> {
        let mut known = known(store).await?;
        // Somebody else was faster.
        if let Some(account) = self.restored(&known).await? {
            return Ok(account);
        }
        let (account, credentials) = self.create(store, contact).await?;
        let credentials = serde_json::to_value(&credentials).unwrap_or_default();
        known.insert(self.authority.directory.clone(), credentials);
        write(store, &known, lease).await?;
        tracing::info!(authority = %self.authority.name, account = account.id(), "registered");
        Ok(account)
    }

    async fn create(
        &self,
        store: &dyn CertStore,
        contact: &[String],
    ) -> Result<(Account, AccountCredentials), IssueError> {
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let directory = self.authority.directory.clone();
        let binding = self.authority.binding.as_ref();
        let binding = binding.map(|(id, key)| ExternalAccountKey::new(id.clone(), key));
        if let (None, Some(key)) = (&binding, bare_key(store).await?) {
            return Ok(builder.create_from_key(key, directory).await?);
        }
        Ok(builder.create(&wanted, directory, binding.as_ref()).await?)
    }
}

/// What stands there may also be nothing but a key (PEM, ECDSA P-256): that of the system before.
async fn bare_key(
    store: &dyn CertStore,
) -> Result<Option<(Key, PrivateKeyDer<'static>)>, IssueError> {
    let Some(text) = store.read(&Slot::Account).await? else {
        return Ok(None);
    };
    if !text.trim_start().starts_with("-----BEGIN") {
        return Ok(None);
    }
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(der)) => {
            let key = Key::from_pkcs8_der(der.clone_key())?;
            Ok(Some((key, PrivateKeyDer::Pkcs8(der))))
        }
        _ => Err(damaged(
            "the account's key is not PKCS #8 in PEM".to_owned(),
        )),
    }
}

async fn known(store: &dyn CertStore) -> Result<Known, IssueError> {
    let text = store.read(&Slot::Account).await?;
    match text.as_deref().map(str::trim_start) {
        None | Some("") => Ok(Known::new()),
        Some(text) if text.starts_with("-----BEGIN") => Ok(Known::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| damaged(error.to_string())),
    }
}

async fn write(store: &dyn CertStore, known: &Known, lease: &Lease) -> Result<(), StoreError> {
    let text = serde_json::to_string(known).unwrap_or_default();
    store.write(&Slot::Account, &text, lease).await
}

fn damaged(reason: String) -> IssueError {
    let name = "the ACME account".to_owned();
    StoreError::Damaged { name, reason }.into()
}
