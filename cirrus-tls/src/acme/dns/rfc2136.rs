//! Dynamic update (RFC 2136), signed (RFC 8945).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use cirrus_core::{BoxError, Clock, SystemClock};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::query::{ask, by_tcp, name};
use super::tsig::TsigKey;
use super::{DnsSolver, Propagation, SolverError, TxtRecord};

/// Writes records with dynamic updates to the zone's primary server.
#[derive(Clone)]
pub struct Rfc2136 {
    server: SocketAddr,
    zone: Option<String>,
    key: Option<TsigKey>,
    ttl: u32,
    clock: Arc<dyn Clock>,
    propagation: Propagation,
}

// === impl Rfc2136 ===

impl Rfc2136 {
    /// Updates at `server`, unsigned.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            zone: None,
            key: None,
            ttl: 60,
            clock: Arc::new(SystemClock),
            propagation: Propagation::default(),
        }
    }

    /// Signs with `key`.
    #[must_use]
    pub fn with_key(mut self, key: TsigKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The zone of all records. By default the server is asked (SOA).
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Looks whether a value has arrived this way.
    #[must_use]
    pub fn with_propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    async fn update(&self, record: &TxtRecord, class: DNSClass) -> Result<(), BoxError> {
        let at = name(&record.name)?;
        let zone = match &self.zone {
            Some(zone) => name(zone)?,
            None => self.zone_of(&at).await?,
        };
        let message = message(&zone, at, self.ttl, &record.value, class)?;
        match self.exchange(message).await? {
            ResponseCode::NoError => Ok(()),
            code => Err(format!("{} answers {code} for the zone {zone}", self.server).into()),
        }
    }

    /// What the server says. With a key, nobody else can say that all is well.
    async fn exchange(&self, message: Vec<u8>) -> Result<ResponseCode, BoxError> {
        let code = |answer: &[u8]| Ok(Message::from_vec(answer)?.metadata.response_code);
        let Some(key) = &self.key else {
            return code(&by_tcp(self.server, &message).await?);
        };
        let (message, mac) = key.sign(message, self.clock.now().as_secs())?;
        let answer = by_tcp(self.server, &message).await?;
        let code = code(&answer)?;
        // Who does not know the key cannot sign that either (RFC 8945 §5.2).
        if code == ResponseCode::NoError {
            key.verify(&answer, &mac, self.clock.now().as_secs())
                .map_err(|error| format!("{}: {error}", self.server))?;
        }
        Ok(code)
    }

    /// The zone that the server has for `at`.
    async fn zone_of(&self, at: &Name) -> Result<Name, BoxError> {
        let mut zone = at.clone();
        while !zone.is_root() {
            let answer = ask(self.server, &zone, RecordType::SOA).await?;
            let mut records = answer.answers.iter().chain(&answer.authorities);
            if let Some(soa) = records.find(|record| matches!(record.data, RData::SOA(_))) {
                return Ok(soa.name.clone());
            }
            zone = zone.base_name();
        }
        Err(format!("{} has no zone for it", self.server).into())
    }
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136")
            .field("server", &self.server)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl DnsSolver for Rfc2136 {
    async fn present(&self, record: &TxtRecord) -> Result<(), SolverError> {
        let done = self.update(record, DNSClass::IN).await;
        done.map_err(|error| SolverError::new(record, "dynamic update", error))
    }

    async fn cleanup(&self, record: &TxtRecord) -> Result<(), SolverError> {
        let done = self.update(record, DNSClass::NONE).await;
        done.map_err(|error| SolverError::new(record, "dynamic update", error))
    }

    fn propagation(&self) -> Option<&Propagation> {
        Some(&self.propagation)
    }
}

/// The update, not signed yet.
fn message(
    zone: &Name,
    at: Name,
    ttl: u32,
    value: &str,
    class: DNSClass,
) -> Result<Vec<u8>, BoxError> {
    let id = Message::query().metadata.id;
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    // To remove one value, its class is NONE and its TTL 0 (RFC 2136 §2.5.4).
    let ttl = if class == DNSClass::IN { ttl } else { 0 };
    let text = RData::TXT(TXT::new(vec![value.to_owned()]));
    let mut record = Record::from_rdata(at, ttl, text);
    record.dns_class = class;
    message.add_authority(record);
    Ok(message.to_vec()?)
}
