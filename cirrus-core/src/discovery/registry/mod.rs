//! A live table of endpoints: operators and programs put them in and take them out.

mod file;
mod lock;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::file::Content;
use self::lock::Lock;
use super::{Discovery, Endpoint, Endpoints, ServiceName, UnknownService};
use crate::Updates;
use crate::error::BoxError;

/// A live table of endpoints, changed through the admin API or by the program itself.
///
/// Clones are the same table. One that was [opened](Self::open) is on the disk before a change is acknowledged.
/// As a [`Discovery`] it answers to the names of its services, with or without `registry://` before them.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

/// The endpoints of one service by their ids, and the version that they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entries {
    /// Another one after each change, never one of before.
    pub version: u64,
    /// Each endpoint by its id.
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// What a service must be for a change to take place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// Whatever it is.
    #[default]
    Any,
    /// It is known.
    Known,
    /// It is unknown.
    Unknown,
    /// It is of one of these versions.
    Version(Vec<u64>),
}

/// Why a change did not take place. The table is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no such service.
    #[error("the service `{0}` is unknown")]
    UnknownService(String),
    /// The service has no such endpoint.
    #[error("the service `{service}` has no endpoint `{id}`")]
    UnknownEndpoint {
        /// The service.
        service: String,
        /// The id that none of its endpoints has.
        id: String,
    },
    /// The service is not what it must be.
    #[error("the service `{service}` is not as the request wants it: {}", told(*version))]
    Condition {
        /// The service.
        service: String,
        /// Its version, if it is known.
        version: Option<u64>,
    },
    /// Another process has the file open, or this one has it open already.
    #[error("{}: another process uses this registry (it holds {})", path.display(), lock.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// What shows that it is in use.
        lock: PathBuf,
    },
    /// The table cannot be read from the disk, or written there.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

struct Inner {
    content: Mutex<Content>,
    file: Option<PathBuf>,
    /// Nobody else writes the file meanwhile.
    _lock: Option<Lock>,
    /// Tells that something has changed; the watches look whether it concerns them.
    changed: watch::Sender<()>,
}

/// One watch.
struct Watch {
    service: ServiceName,
    registry: Registry,
    changed: watch::Receiver<()>,
    /// The version that was told last; `Some(None)` if it was that the service is unknown.
    told: Option<Option<u64>>,
}

// === impl Registry ===

impl Registry {
    /// An empty table that ends with the program.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Content::default(), None, None)
    }

    /// The table in a file, which begins to exist with the first change (blocking). It is locked against every other
    /// process until the last clone is gone, by a file beside it that ends in `.lock`.
    ///
    /// # Errors
    ///
    /// Somebody else has it open, its directory cannot be written to, or the file is there, but cannot be read or is no
    /// such table.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RegistryError> {
        let path = path.into();
        let lock = Lock::take(&path)?;
        match Content::read(&path) {
            Ok(content) => Ok(Self::with(content, Some(path), Some(lock))),
            Err(source) => Err(RegistryError::File { path, source }),
        }
    }

    fn with(content: Content, file: Option<PathBuf>, lock: Option<Lock>) -> Self {
        let (content, changed) = (Mutex::new(content), watch::Sender::new(()));
        Self(Arc::new(Inner {
            content,
            file,
            _lock: lock,
            changed,
        }))
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Every service, its version, and how many endpoints it has.
    #[must_use]
    pub fn services(&self) -> Vec<(String, u64, usize)> {
        let content = self.0.content.lock();
        let services = content.services.iter();
        let told = services
            .map(|(name, entries)| (name.clone(), entries.version, entries.endpoints.len()));
        told.collect()
    }

    /// The endpoints of a service, if it is known.
    #[must_use]
    pub fn entries(&self, service: &str) -> Option<Entries> {
        self.0.content.lock().services.get(service).cloned()
    }

    /// Adds an endpoint, or replaces the one of this id; makes the service known. Gives the new version.
    ///
    /// # Errors
    ///
    /// The condition is not fulfilled, or the disk refuses. This holds for the other changes too. All of them block.
    pub fn put(
        &self,
        service: &str,
        id: &str,
        endpoint: Endpoint,
        condition: &Condition,
    ) -> Result<u64, RegistryError> {
        self.change(service, condition, |entries| {
            let mut entries = entries.unwrap_or_default();
            entries.endpoints.insert(id.to_owned(), endpoint);
            Ok(Some(entries))
        })
    }

    /// Takes an endpoint out. Its service stays known, if need be with none.
    ///
    /// # Errors
    ///
    /// There is no such endpoint; otherwise as for [`put`](Self::put).
    pub fn remove(
        &self,
        service: &str,
        id: &str,
        condition: &Condition,
    ) -> Result<u64, RegistryError> {
        self.change(service, condition, |entries| {
            let mut entries = entries.ok_or_else(|| unknown(service))?;
            match entries.endpoints.remove(id) {
                Some(_) => Ok(Some(entries)),
                None => Err(RegistryError::UnknownEndpoint {
                    service: service.to_owned(),
                    id: id.to_owned(),
                }),
            }
        })
    }

    /// Makes exactly these the endpoints of a service, which is known from then on.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub fn replace(
        &self,
        service: &str,
        endpoints: BTreeMap<String, Endpoint>,
        condition: &Condition,
    ) -> Result<u64, RegistryError> {
        self.change(service, condition, |_| {
            Ok(Some(Entries {
                version: 0,
                endpoints,
            }))
        })
    }

    /// Makes a service unknown. Clusters that follow it keep the endpoints they have.
    ///
    /// # Errors
    ///
    /// It is unknown already; otherwise as for [`put`](Self::put).
    pub fn forget(&self, service: &str, condition: &Condition) -> Result<u64, RegistryError> {
        self.change(service, condition, |entries| match entries {
            Some(_) => Ok(None),
            None => Err(unknown(service)),
        })
    }

    /// Gives a service its first endpoints, with the ids 1, 2 and so on, unless it is known already.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn seed(
        &self,
        service: &str,
        endpoints: impl IntoIterator<Item = Endpoint>,
    ) -> Result<(), RegistryError> {
        let numbered = (1..).zip(endpoints);
        let endpoints = numbered.map(|(number, endpoint): (u64, _)| (number.to_string(), endpoint));
        match self.replace(service, endpoints.collect(), &Condition::Unknown) {
            Ok(_) | Err(RegistryError::Condition { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One change: checked, written to the disk, and only then seen by anybody.
    fn change(
        &self,
        service: &str,
        condition: &Condition,
        edit: impl FnOnce(Option<Entries>) -> Result<Option<Entries>, RegistryError>,
    ) -> Result<u64, RegistryError> {
        let mut content = self.0.content.lock();
        let present = content.services.get(service);
        let version = present.map(|entries| entries.version);
        if !condition.holds(version) {
            let service = service.to_owned();
            return Err(RegistryError::Condition { service, version });
        }
        let edited = edit(present.cloned())?;
        let before = content.put(service, edited);
        if let Some(path) = &self.0.file
            && let Err(source) = content.write(path)
        {
            content.restore(service, before);
            let path = path.clone();
            return Err(RegistryError::File { path, source });
        }
        let revision = content.revision;
        drop(content);
        self.0.changed.send_replace(());
        Ok(revision)
    }
}

fn unknown(service: &str) -> RegistryError {
    RegistryError::UnknownService(service.to_owned())
}

fn told(version: Option<u64>) -> String {
    match version {
        Some(version) => format!("its version is \"{version}\""),
        None => "it is unknown".to_owned(),
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Discovery for Registry {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let watch = Watch {
            service: plain(service),
            registry: self.clone(),
            changed: self.0.changed.subscribe(),
            told: None,
        };
        Box::pin(stream::unfold(watch, |mut watch| async {
            let item = watch.next().await?;
            Some((item, watch))
        }))
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        let service = plain(service);
        match service.as_str().contains(['/', '?', '#', ' ']) {
            true => Err("the registry knows services by plain names: `registry://payment`".into()),
            false => Ok(()),
        }
    }
}

fn plain(service: &ServiceName) -> ServiceName {
    let name = service.as_str().strip_prefix("registry://");
    name.and_then(ServiceName::new)
        .unwrap_or_else(|| service.clone())
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("file", &self.0.file)
            .field("services", &self.0.content.lock().services.len())
            .finish_non_exhaustive()
    }
}

// === impl Condition ===

impl Condition {
    fn holds(&self, version: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Known => version.is_some(),
            Self::Unknown => version.is_none(),
            Self::Version(versions) => version.is_some_and(|version| versions.contains(&version)),
        }
    }
}

// === impl Watch ===

impl Watch {
    async fn next(&mut self) -> Option<Result<Endpoints, BoxError>> {
        loop {
            // Before the look, so that a change after it is noticed.
            self.changed.mark_unchanged();
            let entries = self.registry.entries(self.service.as_str());
            let version = entries.as_ref().map(|entries| entries.version);
            if self.told != Some(version) {
                self.told = Some(version);
                let unknown = || UnknownService::new(self.service.clone()).into();
                let endpoints = entries.map(|entries| entries.endpoints.into_values().collect());
                return Some(endpoints.ok_or_else(unknown));
            }
            self.changed.changed().await.ok()?;
        }
    }
}
