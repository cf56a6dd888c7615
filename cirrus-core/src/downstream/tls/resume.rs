//! Who resumes which sessions.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};

use super::auth::Domain;
use super::tickets::{BadSecret, TicketSecrets, Ticketer};
use crate::clock::Clock;
use crate::config::{Resumption, TlsConfig};

/// Resumes sessions of each domain of authentication by itself: a session that began without a certificate must not
/// go on where one is asked for.
#[derive(Debug)]
pub(crate) enum Resumptions {
    Tickets(Arc<TicketSecrets>),
    Stateful {
        most: usize,
        tables: Mutex<HashMap<Domain, Arc<dyn StoresServerSessions>>>,
    },
    Off,
}

/// More domains than this are none in use, but what changes of files have left behind.
const MANY: usize = 256;

// === impl Resumptions ===

impl Resumptions {
    pub(crate) fn new(config: &TlsConfig, clock: Arc<dyn Clock>) -> Result<Self, BadSecret> {
        Ok(match config.resumption {
            Resumption::Tickets => {
                let rotation = config.ticket_rotation.as_duration();
                Self::Tickets(TicketSecrets::new(&config.ticket_secrets, rotation, clock)?)
            }
            Resumption::Stateful => Self::Stateful {
                most: config.sessions as usize,
                tables: Mutex::default(),
            },
            Resumption::Off => Self::Off,
        })
    }

    /// Reads again what stands in files (blocking).
    pub(crate) fn reload(&self) {
        if let Self::Tickets(secrets) = self {
            secrets.reload();
        }
    }

    /// Makes `config` resume sessions of `domain`.
    pub(super) fn apply(&self, config: &mut ServerConfig, domain: Domain) {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match self {
            // Tickets keep no state here; a session cache is one lock for all workers.
            Self::Tickets(secrets) => {
                config.ticketer = Arc::new(Ticketer::new(Arc::clone(secrets), domain));
            }
            Self::Stateful { .. } => {
                if let Some(table) = self.table(domain) {
                    config.session_storage = table;
                }
            }
            Self::Off => config.send_tls13_tickets = 0,
        }
    }

    fn table(&self, domain: Domain) -> Option<Arc<dyn StoresServerSessions>> {
        let Self::Stateful { most, tables } = self else {
            return None;
        };
        let mut tables = tables.lock();
        if tables.len() >= MANY {
            tables.retain(|_, table| Arc::strong_count(table) > 1);
        }
        let table = tables
            .entry(domain)
            .or_insert_with(|| ServerSessionMemoryCache::new(*most));
        Some(Arc::clone(table))
    }
}
