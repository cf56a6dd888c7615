//! Dynamic update (RFC 2136), signed (RFC 8945).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cirrus_core::{BoxError, Clock, SystemClock};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::query::{ask, by_tcp, name};
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

/// A key that a name server shares (RFC 8945): its name, algorithm and secret.
#[derive(Clone)]
pub struct TsigKey {
    name: Name,
    algorithm: Algorithm,
    secret: hmac::Key,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// How far clocks may differ, in seconds.
const FUDGE: u16 = 300;

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
        let message = self.message(&zone, at, &record.value, class)?;
        let answer = Message::from_vec(&by_tcp(self.server, &message).await?)?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(format!("{} answers {code} for the zone {zone}", self.server).into()),
        }
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

    fn message(
        &self,
        zone: &Name,
        at: Name,
        value: &str,
        class: DNSClass,
    ) -> Result<Vec<u8>, BoxError> {
        let id = Message::query().metadata.id;
        let mut message = Message::new(id, MessageType::Query, OpCode::Update);
        message.add_query(Query::query(zone.clone(), RecordType::SOA));
        // To remove one value, its class is NONE and its TTL 0 (RFC 2136 §2.5.4).
        let ttl = if class == DNSClass::IN { self.ttl } else { 0 };
        let text = RData::TXT(TXT::new(vec![value.to_owned()]));
        let mut record = Record::from_rdata(at, ttl, text);
        record.dns_class = class;
        message.add_authority(record);
        let bytes = message.to_vec()?;
        Ok(match &self.key {
            Some(key) => key.sign(bytes, self.clock.now().as_secs())?,
            None => bytes,
        })
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

// === impl TsigKey ===

impl TsigKey {
    /// A key by its name, the algorithm (`hmac-sha256`, `hmac-sha384`, `hmac-sha512`) and the secret in base64.
    ///
    /// # Errors
    ///
    /// One of the three is not what it should be; it says which.
    pub fn new(key: &str, algorithm: &str, secret: &str) -> Result<Self, BoxError> {
        let algorithm: Algorithm = algorithm.parse()?;
        let secret = BASE64_STANDARD
            .decode(secret.trim())
            .map_err(|error| format!("the secret is not base64: {error}"))?;
        Ok(Self {
            name: name(&key.to_ascii_lowercase())?,
            algorithm,
            secret: hmac::Key::new(algorithm.hmac(), &secret),
        })
    }

    /// The message with its signature behind it (RFC 8945 §4.2, §4.3).
    fn sign(&self, mut message: Vec<u8>, now: u64) -> Result<Vec<u8>, BoxError> {
        let key = wire(&self.name);
        let algorithm = wire(&name(self.algorithm.name())?);
        let time = &now.to_be_bytes()[2..];
        let any = 255u16.to_be_bytes();
        let (no_ttl, fudge, nothing) = ([0; 4], FUDGE.to_be_bytes(), [0; 4]);
        // Error and other data: two empty fields, `nothing`.
        let variables = [&key[..], &any, &no_ttl, &algorithm, time, &fudge, &nothing];
        let signed = [message.as_slice(), &variables.concat()].concat();
        let mac = hmac::sign(&self.secret, &signed);
        let mac_length = u16::try_from(mac.as_ref().len())?.to_be_bytes();
        let id = [message[0], message[1]];
        let data = [
            &algorithm[..],
            time,
            &fudge,
            &mac_length,
            mac.as_ref(),
            &id,
            &nothing,
        ]
        .concat();
        let (kind, length) = (
            250u16.to_be_bytes(),
            u16::try_from(data.len())?.to_be_bytes(),
        );
        message.extend([&key[..], &kind, &any, &no_ttl, &length, &data].concat());
        // One more record in the additional section.
        let count = u16::from_be_bytes([message[10], message[11]]) + 1;
        message[10..12].copy_from_slice(&count.to_be_bytes());
        Ok(message)
    }
}

impl fmt::Debug for TsigKey {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TsigKey").field(&self.name).finish()
    }
}

/// Uncompressed and lower-case.
fn wire(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.to_lowercase().iter() {
        // A label has 63 bytes at most.
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

// === impl Algorithm ===

impl Algorithm {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }
}

impl FromStr for Algorithm {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        let all = [Self::Sha256, Self::Sha384, Self::Sha512];
        let found = all.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| "hmac-sha256, hmac-sha384 and hmac-sha512 are allowed".into())
    }
}
