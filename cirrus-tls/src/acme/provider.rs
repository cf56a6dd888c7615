//! The certificates of a store, with somebody who looks after them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::downstream::{
    CertDone, CertError, CertProvider, CertReport, CertTask, Certificate, Hello, Lookup,
    ManageError, ServerName,
};
use cirrus_core::{BoxError, Timestamp};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::sign::CertifiedKey;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::agenda::Agenda;
use super::builder::AcmeBuilder;
use super::challenge;
use super::error::IssueError;
use super::manage::Seen;
use super::on_demand::OnDemand;
use super::orders::{Haste, Orders, SOON};
use super::served::Served;
use super::settings::{Challenge, Wanted};
use super::state::State;
use super::store::{CertStore, Slot};

/// Serves the certificates of a store, and obtains and renews those that are wanted.
///
/// **Choice.** A certificate that is wanted is found by each of its names; what else is in the store by the name that it
/// is stored under. An exact name goes before a wildcard. Clients that name no host are refused.
///
/// **Many nodes** may share a store. One order per name is under way at a time, and all of them answer challenges.
///
/// **Failure.** What is served goes on being served, whatever fails. Names are tried again after pauses that double from
/// a minute to a day.
#[derive(Clone)]
pub struct Acme(pub(super) Arc<Inner>);

/// How one certificate is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertStatus {
    /// What it is stored under.
    pub name: String,
    /// The names in it; those that are wanted if there is none.
    pub names: Vec<String>,
    /// The end of its validity; `None` if there is none.
    pub not_after: Option<Timestamp>,
    /// The authority that issued it, if one did.
    pub authority: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// The last order, whatever came of it.
    pub last_attempt: Option<Timestamp>,
    /// What came of it, if nothing good.
    pub last_error: Option<String>,
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn CertStore>,
    pub(super) served: Arc<Served>,
    pub(super) orders: Orders,
    pub(super) wanted: Vec<Arc<Wanted>>,
    /// By every name in them.
    pub(super) routes: HashMap<String, Arc<str>>,
    pub(super) on_demand: Option<OnDemand>,
    /// Names that are asked for, and whoever looks after them.
    pub(super) asks: mpsc::Sender<Arc<Wanted>>,
    pub(super) asked: Mutex<Option<mpsc::Receiver<Arc<Wanted>>>>,
    /// Changes whenever something was obtained, or was not.
    pub(super) news: watch::Sender<u64>,
    /// Reading answers to challenges, which anybody may ask for.
    pub(super) answering: Semaphore,
    /// How control is shown over names that an operator has ordered.
    pub(super) challenge: Challenge,
    pub(super) seen: Seen,
}

/// How often somebody else's lease is waited for who wants a certificate now, and how long between.
const PATIENCE: u32 = 60;
const TURN: Duration = Duration::from_millis(500);

/// The longest wait for a turn and the answer to a challenge.
const ANSWER: Duration = Duration::from_secs(5);

// === impl Acme ===

impl Acme {
    pub(super) fn of(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Serves what is in `store`.
    pub fn builder(store: Arc<dyn CertStore>) -> AcmeBuilder {
        AcmeBuilder::new(store)
    }

    /// Obtains the certificate with this name now, whether it is time or not.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn renew(&self, name: &str) -> Result<(), IssueError> {
        let wanted = self.0.wanted_by(name);
        let wanted = wanted.ok_or_else(|| IssueError::NotAllowed(name.to_owned()))?;
        self.obtain(&wanted).await
    }

    /// Obtains `wanted` now, whether it is time or not.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn obtain(&self, wanted: &Wanted) -> Result<(), IssueError> {
        self.0.obtain(wanted).await
    }

    /// How every certificate is doing that is wanted or stored.
    ///
    /// # Errors
    ///
    /// The store cannot be asked.
    pub async fn status(&self) -> Result<Vec<CertStatus>, super::StoreError> {
        let mut names = self.0.store.names().await?;
        names.extend(self.0.wanted.iter().map(|wanted| wanted.id().to_owned()));
        names.sort_unstable();
        names.dedup();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(self.0.status(name).await?);
        }
        Ok(all)
    }
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme")
            .field("wanted", &self.0.wanted)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CertProvider for Acme {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        match hello.name {
            Some(name) => self.0.find(name),
            None => Lookup::Unknown,
        }
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        if let Some(certificate) = self.0.fetch(name).await? {
            return Ok(certificate);
        }
        match self.0.is_wanted(name) {
            true => Err(CertError::Unavailable {
                name: name.clone(),
                source: "it has not been obtained yet".into(),
            }),
            false => self.0.demand(name).await,
        }
    }

    async fn maintain(&self) {
        self.0.maintain().await;
    }

    async fn http_challenge(&self, token: &str) -> Option<String> {
        let slot = challenge::is_token(token).then_some(Slot::Token(token))?;
        self.0.answer(&slot).await
    }

    async fn alpn_challenge(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        let digest = self.0.answer(&Slot::Alpn(name.as_str())).await?;
        challenge::certificate(name, &digest)
            .inspect_err(|error| tracing::error!(%name, %error, "no answer to TLS-ALPN-01"))
            .ok()
    }

    fn reports(&self) -> Vec<CertReport> {
        self.0.all_reports()
    }

    async fn manage(&self, task: &CertTask) -> Result<CertDone, ManageError> {
        self.0.perform(task).await
    }
}

// === impl Inner ===

impl Inner {
    pub(super) async fn obtain(&self, wanted: &Wanted) -> Result<(), IssueError> {
        for _ in 0..PATIENCE {
            let visited = self.orders.visit(wanted, Haste::Now).await;
            if let Some(error) = visited.failure {
                return Err(error);
            }
            if visited.is_new {
                return Ok(());
            }
            sleep(TURN).await;
        }
        Err(IssueError::Busy("this name"))
    }

    fn find(&self, name: &ServerName) -> Lookup {
        let ids = self.ids(name);
        for id in ids.iter().flatten() {
            if let Some(kept) = self.served.find(id, name.as_str()) {
                return Lookup::Found(Arc::clone(&kept.certificate));
            }
        }
        let stored = ids.iter().flatten().any(|id| self.served.may_have(id));
        match stored || self.is_wanted(name) || self.may_be_demanded(name) {
            true => Lookup::Cold(name.clone()),
            false => Lookup::Unknown,
        }
    }

    /// What a certificate for `name` may be stored under, best first.
    fn ids(&self, name: &ServerName) -> [Option<Arc<str>>; 4] {
        let parent = name.as_str().split_once('.');
        let wildcard = parent.map(|(_, parent)| format!("*.{parent}"));
        [
            self.routes.get(name.as_str()).cloned(),
            Some(name.as_str().into()),
            wildcard
                .as_ref()
                .and_then(|one| self.routes.get(one))
                .cloned(),
            wildcard.map(Into::into),
        ]
    }

    fn is_wanted(&self, name: &ServerName) -> bool {
        self.wanted_by(name.as_str()).is_some()
    }

    /// The one that covers `name`.
    pub(super) fn wanted_by(&self, name: &str) -> Option<Arc<Wanted>> {
        let parent = name
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        let id = self.routes.get(name);
        let id = id.or_else(|| self.routes.get(&parent?))?;
        self.wanted
            .iter()
            .find(|wanted| *wanted.id() == **id)
            .cloned()
    }

    fn may_be_demanded(&self, name: &ServerName) -> bool {
        let on_demand = self.on_demand.as_ref();
        on_demand.is_some_and(|on_demand| on_demand.may_be(name.as_str()))
    }

    /// From memory, or else from the store.
    async fn fetch(&self, name: &ServerName) -> Result<Option<Arc<Certificate>>, CertError> {
        for id in self.ids(name).iter().flatten() {
            if let Some(kept) = self.served.find(id, name.as_str()) {
                return Ok(Some(Arc::clone(&kept.certificate)));
            }
            if !self.served.may_have(id) {
                continue;
            }
            let kept = self.served.fetch(id).await;
            let kept = kept.map_err(|error| error.for_name(name))?;
            if let Some(kept) = kept.filter(|kept| kept.certificate.covers(name.as_str())) {
                self.look_after(id).await;
                return Ok(Some(Arc::clone(&kept.certificate)));
            }
        }
        Ok(None)
    }

    /// Certificates that were obtained on demand are renewed as long as somebody asks for them.
    async fn look_after(&self, id: &str) {
        let demanded = self.on_demand.as_ref().filter(|one| one.may_be(id));
        if let Some(on_demand) = demanded.filter(|_| !self.routes.contains_key(id)) {
            let wanted = Wanted::new([id]).by(on_demand.challenge.clone());
            // If there is no room, the next reading comes again.
            let _ = self.asks.try_send(Arc::new(wanted));
        }
    }

    /// Has it ordered, and waits for that: the order outlives the wait.
    async fn demand(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        let unavailable = |source: BoxError| CertError::Unavailable {
            name: name.clone(),
            source,
        };
        let not_found = || CertError::NotFound(name.clone());
        let on_demand = self.on_demand.as_ref().ok_or_else(not_found)?;
        let allowed = on_demand.is_allowed(name.as_str()).await;
        if !allowed.map_err(unavailable)? {
            return Err(not_found());
        }
        let mut news = self.news.subscribe();
        let wanted = Wanted::new([name.as_str()]).by(on_demand.challenge.clone());
        let full = |_| unavailable("too many names are being ordered".into());
        self.asks.try_send(Arc::new(wanted)).map_err(full)?;
        loop {
            if news.changed().await.is_err() {
                return Err(not_found());
            }
            if let Some(kept) = self.served.find(name.as_str(), name.as_str()) {
                return Ok(Arc::clone(&kept.certificate));
            }
        }
    }

    /// What stands there for an authority to see.
    async fn answer(&self, slot: &Slot<'_>) -> Option<String> {
        let read = async {
            let _turn = self.answering.acquire().await.ok()?;
            match self.store.read(slot).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(%error, "the answer to a challenge cannot be read");
                    None
                }
            }
        };
        timeout(ANSWER, read).await.ok().flatten()
    }

    async fn maintain(&self) {
        let taken = self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut asked) = taken else {
            // Somebody else does.
            return std::future::pending().await;
        };
        tokio::join!(self.served.follow(), self.look_after_all(&mut asked));
    }

    async fn look_after_all(&self, asked: &mut mpsc::Receiver<Arc<Wanted>>) {
        let mut agenda = Agenda::new(&self.wanted);
        let mut visits = FuturesUnordered::new();
        loop {
            while visits.len() < self.orders.renewal.in_flight
                && let Some(wanted) = agenda.next(self.orders.clock.now())
            {
                visits.push(self.visit(wanted));
            }
            tokio::select! {
                Some((wanted, again)) = visits.next(), if !visits.is_empty() => {
                    if let Some(again) = again {
                        agenda.put(again, wanted);
                    }
                }
                Some(wanted) = asked.recv() => agenda.ask(wanted),
                () = sleep(agenda.nap(self.orders.clock.now())) => {}
            }
        }
    }

    /// When it is visited again, unless its turn comes when somebody asks for it.
    async fn visit(&self, wanted: Arc<Wanted>) -> (Arc<Wanted>, Option<Timestamp>) {
        let visited = self.orders.visit(&wanted, Haste::WhenDue).await;
        let is_looked_after = self.is_looked_after(wanted.id());
        if is_looked_after {
            self.note(&wanted).await;
        }
        self.news.send_modify(|news| *news += 1);
        let is_soon = visited.again <= self.orders.clock.now().after(SOON);
        let is_kept = is_soon || is_looked_after;
        (wanted, is_kept.then_some(visited.again))
    }

    /// Strangers may ask for any number of names: those that come to nothing are not remembered.
    fn is_looked_after(&self, id: &str) -> bool {
        self.routes.contains_key(id) || self.served.may_have(id)
    }

    async fn status(&self, name: String) -> Result<CertStatus, super::StoreError> {
        let state = State::read(&*self.store, &name).await?;
        let text = self.store.read(&Slot::Cert(&name)).await?;
        let record = text.and_then(|text| super::CertRecord::from_text(&text).ok());
        let certificate = record.as_ref().and_then(|one| one.load().ok());
        let certificate = certificate.map(|loaded| loaded.certificate);
        let names = match &certificate {
            Some(one) => one.names.iter().map(ToString::to_string).collect(),
            None => self
                .wanted_by(&name)
                .map_or_else(|| vec![name.clone()], |wanted| wanted.names.clone()),
        };
        let attempted = (state.last_attempt > 0).then_some(state.last_attempt);
        Ok(CertStatus {
            name,
            names,
            not_after: certificate.map(|one| one.not_after),
            authority: record.and_then(|record| record.authority),
            failures: state.failures,
            last_attempt: attempted.map(Timestamp::from_secs),
            last_error: state.last_error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::DiskStore;
    use super::*;

    #[tokio::test]
    async fn names_that_strangers_ask_for_in_vain_are_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(DiskStore::open(directory.path()).unwrap());
        let written = Wanted::new(["shop.example"]);
        // Without an authority every order fails.
        let acme = Acme::builder(store)
            .want(written.clone())
            .on_demand(OnDemand::matching(["*.shop.example"]))
            .build()
            .unwrap();
        let is_read = async {
            while acme.0.served.may_have("a.shop.example") {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = acme.0.served.follow() => {}
            () = is_read => {}
        }
        for (wanted, again) in [(written, true), (Wanted::new(["a.shop.example"]), false)] {
            let (_, next) = acme.0.visit(Arc::new(wanted)).await;
            assert_eq!(next.is_some(), again);
        }
        let reports = acme.reports();
        let told: Vec<_> = reports.iter().map(|report| &report.name).collect();
        assert_eq!(told, ["shop.example"]);
        for (wanted, is_seen) in [("shop.example", true), ("a.shop.example", false)] {
            assert_eq!(acme.0.seen.has(wanted), is_seen, "{wanted}");
        }
    }
}
