//! What operators see, and have done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cirrus_core::downstream::{
    CertDone, CertReport, CertTask, Certificate, ManageError, ServerName,
};
use cirrus_core::{BoxError, Timestamp};
use instant_acme::{RevocationReason, RevocationRequest};

use super::error::IssueError;
use super::orders::LEASE;
use super::provider::Inner;
use super::schedule::renew_at;
use super::settings::Wanted;
use super::state::State;
use super::store::{CertRecord, Lease, Slot};
use crate::pem::facts;

/// What the last visit to each name has seen: reports are made from memory.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<String, Visit>>);

#[derive(Clone, Default)]
struct Visit {
    state: State,
    renewal: Option<Timestamp>,
}

const SOURCE: &str = "acme";

// === impl Seen ===

impl Seen {
    fn note(&self, id: &str, visit: Visit) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned(), visit);
    }

    #[cfg(test)]
    pub(super) fn has(&self, id: &str) -> bool {
        self.of(id).is_some()
    }

    fn of(&self, id: &str) -> Option<Visit> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned()
    }
}

// === impl Inner ===

impl Inner {
    /// Remembers how `wanted` is doing. That the store cannot be asked leaves what was known.
    pub(super) async fn note(&self, wanted: &Wanted) {
        let id = wanted.id();
        let Ok(state) = State::read(&*self.store, id).await else {
            return;
        };
        let certificate = self.served.peek(id);
        let due = match &certificate {
            Some(certificate) => self.due(id, certificate, &state),
            None => Timestamp::default(),
        };
        let renewal = Some(due.max(Timestamp::from_secs(state.next_attempt)));
        self.seen.note(id, Visit { state, renewal });
    }

    fn due(&self, id: &str, certificate: &Certificate, state: &State) -> Timestamp {
        let leaf = certificate.key.cert.first();
        let Some(Ok((_, begin, end))) = leaf.map(facts) else {
            return Timestamp::default();
        };
        let before = self.orders.renewal.before;
        renew_at(id, (begin, end), before, state.renewal.as_ref())
    }

    /// All that are wanted or in memory.
    pub(super) fn all_reports(&self) -> Vec<CertReport> {
        let mut kept: HashMap<Arc<str>, Arc<Certificate>> = self.served.all().collect();
        let wanted = self.wanted.iter();
        let mut reports: Vec<_> = wanted
            .map(|wanted| {
                let certificate = kept.remove(wanted.id());
                self.report(wanted.id(), &wanted.names, certificate.as_deref())
            })
            .collect();
        let others = kept.iter();
        reports.extend(others.map(|(id, one)| self.report(id, &[], Some(one))));
        reports
    }

    fn report(&self, id: &str, names: &[String], certificate: Option<&Certificate>) -> CertReport {
        let mut report = CertReport::new(id, SOURCE);
        report.names = names.to_vec();
        if let Some(certificate) = certificate {
            report = report.of(certificate);
        }
        if let Some(Visit { state, renewal }) = self.seen.of(id) {
            report.next_renewal = renewal;
            describe(&mut report, state);
        }
        report
    }

    /// See [`CertTask`].
    pub(super) async fn perform(&self, task: &CertTask) -> Result<CertDone, ManageError> {
        match task {
            CertTask::Show(name) => self.show(name, false).await,
            CertTask::Export(name) => self.show(name, true).await,
            CertTask::Issue(names) => self.issue(names).await,
            CertTask::Renew(name) => self.renew_stored(name).await,
            CertTask::Import { chain, key } => self.import(chain, key).await,
            CertTask::Revoke { name, compromised } => self.revoke(name, *compromised).await,
            _ => Err(ManageError::Unsupported),
        }
    }

    async fn show(&self, name: &str, with_key: bool) -> Result<CertDone, ManageError> {
        let id = self.id(name)?;
        let record = self.record(&id).await?;
        let done = self.done(&id, record.as_ref()).await?;
        let Some(record) = record else {
            // Wanted, and not there yet: what keeps it away is worth telling.
            let is_wanted = !with_key && self.wanted.iter().any(|one| one.id() == id);
            return match is_wanted {
                true => Ok(done),
                false => Err(ManageError::Unknown(name.to_owned())),
            };
        };
        let done = done.with_chain(&*record.chain);
        Ok(match with_key {
            true => done.with_key(&*record.key),
            false => done,
        })
    }

    async fn issue(&self, names: &[String]) -> Result<CertDone, ManageError> {
        let names = names.iter().map(|name| checked(name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let wanted = Wanted::new(names).by(self.challenge.clone());
        let written = self.wanted.iter().find(|one| one.id() == wanted.id());
        if let Some(written) = written {
            if !wanted.names.iter().all(|name| written.names.contains(name)) {
                let detail = format!(
                    "the configuration has a certificate `{}` with other names: add them there",
                    wanted.id()
                );
                return Err(ManageError::Invalid(detail));
            }
            return self.obtain_and_tell(written).await;
        }
        self.obtain_and_tell(&wanted).await
    }

    async fn renew_stored(&self, name: &str) -> Result<CertDone, ManageError> {
        let wanted = self.wanted_or_stored(name).await?;
        self.obtain_and_tell(&wanted).await
    }

    /// As the configuration has it, or else as it is stored.
    async fn wanted_or_stored(&self, name: &str) -> Result<Arc<Wanted>, ManageError> {
        let id = self.id(name)?;
        if let Some(wanted) = self.wanted.iter().find(|one| one.id() == id) {
            return Ok(Arc::clone(wanted));
        }
        let record = self.record(&id).await?;
        let record = record.ok_or_else(|| ManageError::Unknown(name.to_owned()))?;
        let loaded = record.load().map_err(failed)?;
        // It is stored under the first.
        let others = loaded.certificate.names.iter().filter(|one| ***one != *id);
        let names = std::iter::once(id.clone()).chain(others.map(ToString::to_string));
        Ok(Arc::new(Wanted::new(names).by(self.challenge.clone())))
    }

    async fn obtain_and_tell(&self, wanted: &Wanted) -> Result<CertDone, ManageError> {
        let obtained = self.obtain(wanted).await;
        self.note(wanted).await;
        obtained.map_err(failed)?;
        // From now on it is looked after, like one that was asked for by a client. If there is no room, the next reading
        // comes again.
        let _ = self.asks.try_send(Arc::new(wanted.clone()));
        let record = self.record(wanted.id()).await?;
        self.done(wanted.id(), record.as_ref()).await
    }

    async fn import(&self, chain: &str, key: &str) -> Result<CertDone, ManageError> {
        let record = CertRecord::new(chain, key, self.orders.clock.now());
        let loaded = record.load();
        let loaded = loaded.map_err(|error| ManageError::Invalid(error.to_string()))?;
        if loaded.certificate.not_after <= self.orders.clock.now() {
            let detail = format!("it has expired: {}", loaded.certificate.not_after);
            return Err(ManageError::Invalid(detail));
        }
        let first = loaded.certificate.names.first();
        let id = checked(first.map_or("", |name| name))?;
        let lease = self.lease(&id).await?;
        let text = record.to_text();
        let written = self.store.write(&Slot::Cert(&id), &text, &lease).await;
        self.give_back(lease).await;
        written.map_err(failed)?;
        self.served.keep(&id, loaded.certificate, &text);
        self.done(&id, Some(&record)).await
    }

    /// A certificate that is wanted is replaced afterwards; another one is forgotten.
    async fn revoke(&self, name: &str, compromised: bool) -> Result<CertDone, ManageError> {
        let id = self.id(name)?;
        let record = self.record(&id).await?;
        let record = record.ok_or_else(|| ManageError::Unknown(name.to_owned()))?;
        let report = self.done(&id, Some(&record)).await?;
        self.revoke_record(&record, compromised).await?;
        tracing::warn!(name = id, compromised, "a certificate is revoked");
        if compromised {
            let removed = self.store.remove(&Slot::CertKey(&id)).await;
            removed.map_err(failed)?;
        }
        match self.wanted.iter().find(|one| one.id() == id).cloned() {
            Some(wanted) => self.obtain_and_tell(&wanted).await.map_err(|error| {
                ManageError::Failed(
                    format!("it is revoked, and served until there is another: {error}").into(),
                )
            }),
            None => {
                let removed = self.store.remove(&Slot::Cert(&id)).await;
                removed.map_err(failed)?;
                self.served.forget(&id);
                Ok(report)
            }
        }
    }

    async fn revoke_record(
        &self,
        record: &CertRecord,
        compromised: bool,
    ) -> Result<(), ManageError> {
        let orders = &self.orders;
        let authority = record.authority.as_deref();
        let mut members = orders.members.iter();
        let member = members.find(|member| authority == Some(member.authority.name.as_str()));
        let Some(member) = member else {
            let detail = "none of the configured authorities has issued it: ask whoever has";
            return Err(ManageError::Invalid(detail.to_owned()));
        };
        let loaded = record.load().map_err(failed)?;
        let account = member.account(&orders.store, &orders.contact).await;
        let request = RevocationRequest {
            certificate: &loaded.certificate.key.cert[0],
            reason: Some(match compromised {
                true => RevocationReason::KeyCompromise,
                false => RevocationReason::Superseded,
            }),
        };
        let revoked = account.map_err(failed)?.revoke(&request).await;
        revoked.map_err(|error| failed(IssueError::from(error)))
    }

    /// What `name` is stored under.
    fn id(&self, name: &str) -> Result<String, ManageError> {
        let name = checked(name)?;
        let wanted = self.wanted_by(&name);
        Ok(wanted.map_or(name, |wanted| wanted.id().to_owned()))
    }

    async fn record(&self, id: &str) -> Result<Option<CertRecord>, ManageError> {
        let text = self.store.read(&Slot::Cert(id)).await.map_err(failed)?;
        let record = text.map(|text| CertRecord::from_text(&text));
        record.transpose().map_err(failed)
    }

    async fn done(&self, id: &str, record: Option<&CertRecord>) -> Result<CertDone, ManageError> {
        let loaded = record.map(CertRecord::load).transpose().map_err(failed)?;
        let certificate = loaded.map(|loaded| loaded.certificate);
        let wanted = self.wanted.iter().find(|one| one.id() == id);
        let names = wanted.map_or(&[][..], |wanted| &wanted.names);
        let mut report = self.report(id, names, certificate.as_deref());
        report.authority = record.and_then(|record| record.authority.clone());
        let state = State::read(&*self.store, id).await.map_err(failed)?;
        describe(&mut report, state);
        Ok(CertDone::new(report))
    }

    async fn lease(&self, id: &str) -> Result<Lease, ManageError> {
        let lease = self.store.acquire(id, LEASE).await.map_err(failed)?;
        let busy = || failed(IssueError::Busy("this name: try again"));
        lease.ok_or_else(busy)
    }

    async fn give_back(&self, lease: Lease) {
        if let Err(error) = self.store.release(lease).await {
            tracing::warn!(%error, "the lease stays until it ends");
        }
    }
}

fn describe(report: &mut CertReport, state: State) {
    report.failures = state.failures;
    report.last_error = state.last_error;
    let attempted = (state.last_attempt > 0).then_some(state.last_attempt);
    report.last_attempt = attempted.map(Timestamp::from_secs);
}

/// A host, or `*.` and a host: nothing else may become a key or a path of a store.
fn checked(name: &str) -> Result<String, ManageError> {
    let name = name.to_ascii_lowercase();
    let (star, host) = match name.strip_prefix("*.") {
        Some(host) => ("*.", host),
        None => ("", name.as_str()),
    };
    match ServerName::new(host) {
        Some(host) => Ok(format!("{star}{host}")),
        None => Err(ManageError::Invalid(format!("`{name}` is no DNS name"))),
    }
}

fn failed(error: impl Into<BoxError>) -> ManageError {
    ManageError::Failed(error.into())
}
