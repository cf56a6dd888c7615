//! The table as it stands on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Entries;
use crate::discovery::Endpoint;
use crate::discovery::state::replace_file;

/// Everything that is in a registry.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Grows with each change; the versions are taken from it.
    pub(super) revision: u64,
    pub(super) services: BTreeMap<String, Entries>,
}

#[derive(Serialize, Deserialize)]
struct Written<S> {
    revision: u64,
    services: S,
}

#[derive(Serialize, Deserialize)]
struct Service<E> {
    version: u64,
    endpoints: E,
}

// === impl Content ===

impl Content {
    /// An empty one if there is no file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        type Services = BTreeMap<String, Service<BTreeMap<String, Endpoint>>>;
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        let written: Written<Services> = serde_json::from_slice(&text)?;
        let entries = |Service { version, endpoints }| Entries { version, endpoints };
        let services = written.services.into_iter();
        Ok(Self {
            revision: written.revision,
            services: services
                .map(|(name, service)| (name, entries(service)))
                .collect(),
        })
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let services = self.services.iter().map(|(name, entries)| {
            let Entries { version, endpoints } = entries;
            let version = *version;
            (name, Service { version, endpoints })
        });
        let written = Written {
            revision: self.revision,
            services: services.collect::<BTreeMap<_, _>>(),
        };
        let mut text = serde_json::to_vec_pretty(&written)?;
        text.push(b'\n');
        replace_file(path, &text)
    }

    /// Replaces a service, or takes it out; gives what was there.
    pub(super) fn put(&mut self, service: &str, entries: Option<Entries>) -> Option<Entries> {
        self.revision += 1;
        match entries {
            Some(mut entries) => {
                entries.version = self.revision;
                self.services.insert(service.to_owned(), entries)
            }
            None => self.services.remove(service),
        }
    }

    /// Takes a change back. Its version is not given to another.
    pub(super) fn restore(&mut self, service: &str, before: Option<Entries>) {
        match before {
            Some(entries) => self.services.insert(service.to_owned(), entries),
            None => self.services.remove(service),
        };
    }
}
