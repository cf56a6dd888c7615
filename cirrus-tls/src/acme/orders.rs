//! One visit to one name: look, and if it is time, order.

use std::sync::Arc;
use std::time::Duration;

use cirrus_core::{Clock, Timestamp};
use instant_acme::CertificateIdentifier;
use rcgen::KeyPair;
use tokio::time::{sleep, timeout};

use super::account::Member;
use super::error::{IssueError, Next};
use super::order::Job;
use super::schedule::{Window, pause, renew_at};
use super::served::Served;
use super::settings::{Renewal, Wanted};
use super::state::State;
use super::store::{CertRecord, CertStore, Lease, Slot};
use crate::pem::Loaded;

/// Obtains certificates, under leases, from whichever authority gives them.
pub(super) struct Orders {
    pub(super) store: Arc<dyn CertStore>,
    pub(super) served: Arc<Served>,
    pub(super) members: Vec<Member>,
    pub(super) contact: Vec<String>,
    pub(super) renewal: Renewal,
    pub(super) clock: Arc<dyn Clock>,
}

/// Whether it is done even though it is not time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    WhenDue,
    Now,
}

/// How a visit ended.
#[derive(Debug)]
pub(super) struct Visited {
    /// When to come back.
    pub(super) again: Timestamp,
    /// Why there is no new certificate although it was time for one.
    pub(super) failure: Option<IssueError>,
    /// There is one.
    pub(super) is_new: bool,
}

/// A node that dies is taken over after this; while it lives, it says so three times as often.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// When somebody else has the lease, or the store does not answer.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// When the authority says nothing of renewal, or nothing that can be read.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 60 * 60);

// === impl Orders ===

impl Orders {
    /// Looks after `wanted`; only one node at a time does.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives the lease back late: when it ends.
    pub(super) async fn visit(&self, wanted: &Wanted, haste: Haste) -> Visited {
        let lease = match self.store.acquire(wanted.id(), LEASE).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return self.soon(None),
            Err(error) => return self.soon(Some(error.into())),
        };
        let visited = tokio::select! {
            visited = self.under(&lease, wanted, haste) => visited,
            lost = self.keep(&lease) => Err(lost),
        };
        if let Err(error) = self.store.release(lease).await {
            tracing::warn!(name = wanted.id(), %error, "the lease stays until it ends");
        }
        visited.unwrap_or_else(|error| self.soon(Some(error)))
    }

    fn soon(&self, failure: Option<IssueError>) -> Visited {
        Visited {
            again: self.clock.now().after(SOON),
            failure,
            is_new: false,
        }
    }

    /// Resolves when the lease is lost. That the store does not answer for a moment does not mean that.
    async fn keep(&self, lease: &Lease) -> IssueError {
        loop {
            sleep(LEASE / 3).await;
            match self.store.extend(lease, LEASE).await {
                Err(error @ super::StoreError::Fenced(_)) => return error.into(),
                Err(error) => tracing::warn!(name = %lease.name, %error, "the lease may end"),
                Ok(()) => {}
            }
        }
    }

    async fn under(
        &self,
        lease: &Lease,
        wanted: &Wanted,
        haste: Haste,
    ) -> Result<Visited, IssueError> {
        let id = wanted.id();
        let now = self.clock.now();
        let current = self.current(id).await?;
        let mut state = State::read(&*self.store, id).await?;
        if let Some((record, loaded)) = &current {
            self.ask_window(lease, id, record, loaded, &mut state)
                .await?;
            let due = self.due(wanted, loaded, &state);
            if now < due && haste == Haste::WhenDue {
                let ask_at = state
                    .renewal
                    .map(|window| Timestamp::from_secs(window.ask_at));
                return Ok(Visited {
                    again: ask_at.map_or(due, |ask_at| due.min(ask_at)),
                    failure: None,
                    is_new: false,
                });
            }
        }
        let not_before = Timestamp::from_secs(state.next_attempt);
        if now < not_before && haste == Haste::WhenDue {
            return Ok(Visited {
                again: not_before,
                failure: None,
                is_new: false,
            });
        }
        let replaced = current.filter(|_| state.renewal.is_some_and(|w| w.start < w.end));
        match self.order(lease, wanted, replaced.as_ref()).await {
            Ok(record) => self.succeed(lease, wanted, &record).await,
            Err(error) => self.fail(lease, wanted, &state, error).await,
        }
    }

    /// What there is. What cannot be read is as good as nothing: a new one takes its place.
    async fn current(&self, id: &str) -> Result<Option<(CertRecord, Loaded)>, IssueError> {
        let Some(text) = self.store.read(&Slot::Cert(id)).await? else {
            return Ok(None);
        };
        let read = CertRecord::from_text(&text).and_then(|record| Ok((record.load()?, record)));
        match read {
            Ok((loaded, record)) => {
                let certificate = Arc::clone(&loaded.certificate);
                self.served.keep(id, certificate, &text);
                Ok(Some((record, loaded)))
            }
            Err(error) => {
                tracing::error!(name = id, %error, "what is stored cannot be served");
                Ok(None)
            }
        }
    }

    /// When the certificate is to be replaced: at once if it lacks a name.
    fn due(&self, wanted: &Wanted, loaded: &Loaded, state: &State) -> Timestamp {
        let certificate = &loaded.certificate;
        let has = |name: &String| certificate.names.iter().any(|one| **one == **name);
        if !wanted.names.iter().all(has) {
            return Timestamp::default();
        }
        let life = (loaded.not_before, certificate.not_after);
        renew_at(
            wanted.id(),
            life,
            self.renewal.before,
            state.renewal.as_ref(),
        )
    }

    /// Learns when the authority would like it to be renewed, if it is time to ask.
    async fn ask_window(
        &self,
        lease: &Lease,
        id: &str,
        record: &CertRecord,
        loaded: &Loaded,
        state: &mut State,
    ) -> Result<(), IssueError> {
        let now = self.clock.now();
        if state
            .renewal
            .is_some_and(|window| now.as_secs() < window.ask_at)
        {
            return Ok(());
        }
        let issuer = self
            .members
            .iter()
            .find(|member| record.authority.as_deref() == Some(member.authority.name.as_str()));
        let Some(member) = issuer else { return Ok(()) };
        let Some(window) = self.window(member, loaded, now).await else {
            return Ok(());
        };
        state.renewal = Some(window);
        let change = |state: &mut State| state.renewal = Some(window);
        Ok(State::update(&*self.store, lease, id, change).await?)
    }

    /// `None` if the authority does not do that.
    async fn window(&self, member: &Member, loaded: &Loaded, now: Timestamp) -> Option<Window> {
        let silent = Window {
            start: 0,
            end: 0,
            ask_at: now.after(ASK_AGAIN).as_secs(),
        };
        let Ok(account) = member.account(&self.store, &self.contact).await else {
            return Some(silent);
        };
        let id = CertificateIdentifier::try_from(&loaded.certificate.key.cert[0]).ok()?;
        match account.renewal_info(&id).await {
            Ok((info, wait)) => {
                let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
                let wait = wait.clamp(Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
                Some(Window {
                    start: seconds(info.suggested_window.start.unix_timestamp()),
                    end: seconds(info.suggested_window.end.unix_timestamp()),
                    ask_at: now.after(wait).as_secs(),
                })
            }
            Err(instant_acme::Error::Unsupported(_)) => None,
            Err(error) => {
                tracing::warn!(authority = %member.authority.name, %error, "no renewal information");
                Some(silent)
            }
        }
    }

    /// Asks one authority after the other.
    async fn order(
        &self,
        lease: &Lease,
        wanted: &Wanted,
        replaced: Option<&(CertRecord, Loaded)>,
    ) -> Result<CertRecord, IssueError> {
        let mut last = IssueError::NoAuthority;
        for member in &self.members {
            if member.http.quiet_until().is_some() {
                continue;
            }
            let ordered = timeout(
                self.renewal.limit,
                self.order_from(member, lease, wanted, replaced),
            );
            last = match ordered.await.unwrap_or(Err(IssueError::Timeout)) {
                Ok(record) => return Ok(record),
                Err(error) => error,
            };
            let authority = &member.authority.name;
            tracing::warn!(name = wanted.id(), %authority, error = %last, "no certificate");
            match last.next() {
                Next::Ask => {}
                Next::Register => member.forget(&self.store).await?,
                Next::Wait => break,
            }
        }
        Err(last)
    }

    async fn order_from(
        &self,
        member: &Member,
        lease: &Lease,
        wanted: &Wanted,
        replaced: Option<&(CertRecord, Loaded)>,
    ) -> Result<CertRecord, IssueError> {
        let name = &member.authority.name;
        let replaced = replaced.filter(|(record, _)| record.authority.as_ref() == Some(name));
        let mut replaces = replaced.and_then(|(_, loaded)| {
            let id = CertificateIdentifier::try_from(&loaded.certificate.key.cert[0]);
            id.ok().map(CertificateIdentifier::into_owned)
        });
        for tries in 1.. {
            let profile = wanted
                .profile
                .as_ref()
                .or(member.authority.profile.as_ref());
            let job = Job {
                store: &self.store,
                account: member.account(&self.store, &self.contact).await?,
                wanted,
                profile: profile.map(String::as_str),
                replaces: replaces.take(),
                key: self.key(lease, wanted.id()).await?,
            };
            let is_replacement = job.replaces.is_some();
            match job.run(self.clock.now()).await {
                // The order stands on its own then.
                Err(error) if is_replacement && is_replaced_already(&error) => {}
                // A client of the authority's tries three times with each request; that can be bad luck.
                Err(error) if tries < 3 && error.is_bad_nonce() => {}
                done => return Ok(done?.by(name)),
            }
        }
        Err(IssueError::NoAuthority)
    }

    /// A new key, or the one that renewals reuse.
    async fn key(&self, lease: &Lease, id: &str) -> Result<KeyPair, IssueError> {
        let slot = Slot::CertKey(id);
        if self.renewal.reuse_key
            && let Some(pem) = self.store.read(&slot).await?
        {
            let key = KeyPair::from_pem(&pem);
            return key.map_err(|error| IssueError::Request(error.into()));
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|error| IssueError::Request(error.into()))?;
        if self.renewal.reuse_key {
            self.store.write(&slot, &key.serialize_pem(), lease).await?;
        }
        Ok(key)
    }

    async fn succeed(
        &self,
        lease: &Lease,
        wanted: &Wanted,
        record: &CertRecord,
    ) -> Result<Visited, IssueError> {
        let (id, text) = (wanted.id(), record.to_text());
        self.store.write(&Slot::Cert(id), &text, lease).await?;
        let loaded = record.load()?;
        let certificate = Arc::clone(&loaded.certificate);
        self.served.keep(id, certificate, &text);
        let now = self.clock.now();
        let change = |state: &mut State| {
            state.failures = 0;
            state.last_attempt = now.as_secs();
            state.last_error = None;
            state.next_attempt = 0;
            state.renewal = None;
        };
        State::update(&*self.store, lease, id, change).await?;
        let authority = record.authority.as_deref().unwrap_or_default();
        let not_after = loaded.certificate.not_after;
        tracing::info!(name = id, authority, %not_after, "a new certificate");
        Ok(Visited {
            // Soon, to ask the authority when it would like the next one.
            again: now.after(SOON),
            failure: None,
            is_new: true,
        })
    }

    async fn fail(
        &self,
        lease: &Lease,
        wanted: &Wanted,
        state: &State,
        error: IssueError,
    ) -> Result<Visited, IssueError> {
        let failures = state.failures.saturating_add(1);
        let now = self.clock.now();
        let again = self.again(wanted.id(), failures, now);
        let change = |state: &mut State| {
            state.failures = failures;
            state.last_attempt = now.as_secs();
            state.last_error = Some(error.to_string());
            state.next_attempt = again.as_secs();
        };
        State::update(&*self.store, lease, wanted.id(), change).await?;
        tracing::error!(name = wanted.id(), %error, %again, "no new certificate; tried again then");
        Ok(Visited {
            again,
            failure: Some(error),
            is_new: false,
        })
    }

    /// Not while every authority wants to be left alone.
    fn again(&self, id: &str, failures: u32, now: Timestamp) -> Timestamp {
        let paused = now.after(pause(id, failures));
        let quiet: Option<Vec<_>> = self
            .members
            .iter()
            .map(|member| member.http.quiet_until())
            .collect();
        let quiet = quiet.and_then(|until| until.into_iter().min());
        quiet.map_or(paused, |until| until.max(paused))
    }
}

fn is_replaced_already(error: &IssueError) -> bool {
    matches!(error.problem(), Some("alreadyReplaced" | "malformed"))
}
