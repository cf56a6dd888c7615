//! Transaction signatures (RFC 8945).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cirrus_core::BoxError;
use hickory_proto::op::{Header, Query};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, make_tsig_record};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use super::query::name;

/// A key that a name server shares (RFC 8945): its name, algorithm and secret.
#[derive(Clone)]
pub struct TsigKey {
    name: Name,
    algorithm: TsigAlgorithm,
    secret: hmac::Key,
}

/// How far clocks may differ, in seconds.
const FUDGE: u16 = 300;

/// Where the number of additional records stands in a message.
const ADDITIONAL: std::ops::Range<usize> = 10..12;

// === impl TsigKey ===

impl TsigKey {
    /// A key by its name, the algorithm (`hmac-sha256`, `hmac-sha384`, `hmac-sha512`) and the secret in base64.
    ///
    /// # Errors
    ///
    /// One of the three is not what it should be; it says which.
    pub fn new(key: &str, algorithm: &str, secret: &str) -> Result<Self, BoxError> {
        let (algorithm, hmac) = match algorithm {
            "hmac-sha256" => (TsigAlgorithm::HmacSha256, hmac::HMAC_SHA256),
            "hmac-sha384" => (TsigAlgorithm::HmacSha384, hmac::HMAC_SHA384),
            "hmac-sha512" => (TsigAlgorithm::HmacSha512, hmac::HMAC_SHA512),
            _ => return Err("hmac-sha256, hmac-sha384 and hmac-sha512 are allowed".into()),
        };
        let secret = BASE64_STANDARD
            .decode(secret.trim())
            .map_err(|error| format!("the secret is not base64: {error}"))?;
        Ok(Self {
            name: name(&key.to_ascii_lowercase())?,
            algorithm,
            secret: hmac::Key::new(hmac, &secret),
        })
    }

    /// The message with its signature behind it (RFC 8945 §4.2), and the code in that.
    pub(super) fn sign(
        &self,
        mut message: Vec<u8>,
        now: u64,
    ) -> Result<(Vec<u8>, Vec<u8>), BoxError> {
        let id = u16::from_be_bytes([message[0], message[1]]);
        let algorithm = self.algorithm.clone();
        let stamp = TSIG::new(algorithm, now, FUDGE, Vec::new(), id, None, Vec::new());
        let code = hmac::sign(&self.secret, &self.signed(&[], &message, &stamp)?);
        let code = code.as_ref().to_vec();
        let record = make_tsig_record(self.name.clone(), stamp.set_mac(code.clone()));
        message.extend(record.to_bytes()?);
        count(&mut message, 1);
        Ok((message, code))
    }

    /// Checks that `answer` comes from somebody who has the key, and is about the question with the code `asked` (RFC
    /// 8945 §5.3).
    pub(super) fn verify(&self, answer: &[u8], asked: &[u8], now: u64) -> Result<(), BoxError> {
        let (begin, last) = last_record(answer)?;
        let RData::TSIG(stamp) = last.data else {
            return Err("the answer is not signed".into());
        };
        if last.name.to_lowercase() != self.name || stamp.algorithm != self.algorithm {
            return Err("the answer is signed with another key".into());
        }
        let mut message = answer[..begin].to_vec();
        count(&mut message, -1);
        message[..2].copy_from_slice(&stamp.oid.to_be_bytes());
        let signed = self.signed(asked, &message, &stamp)?;
        hmac::verify(&self.secret, &signed, &stamp.mac)
            .map_err(|_| "the answer's signature is wrong")?;
        match now.abs_diff(stamp.time) <= u64::from(stamp.fudge) {
            true => Ok(()),
            false => Err("the answer was signed at another time".into()),
        }
    }

    /// What a code is made of (RFC 8945 §4.3): before an answer goes the code of its question.
    fn signed(&self, asked: &[u8], message: &[u8], stamp: &TSIG) -> Result<Vec<u8>, BoxError> {
        let mut signed = Vec::new();
        if !asked.is_empty() {
            signed.extend(u16::try_from(asked.len())?.to_be_bytes());
            signed.extend(asked);
        }
        signed.extend(message);
        let mut variables = Vec::new();
        stamp.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &self.name)?;
        signed.extend(variables);
        Ok(signed)
    }
}

impl fmt::Debug for TsigKey {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TsigKey").field(&self.name).finish()
    }
}

/// So many more additional records.
fn count(message: &mut [u8], more: i16) {
    let count = u16::from_be_bytes([message[ADDITIONAL.start], message[ADDITIONAL.start + 1]]);
    let count = count.saturating_add_signed(more);
    message[ADDITIONAL].copy_from_slice(&count.to_be_bytes());
}

/// The last additional record, and where it begins.
fn last_record(message: &[u8]) -> Result<(usize, Record), BoxError> {
    let mut rest = BinDecoder::new(message);
    let counts = Header::read(&mut rest)?.counts;
    for _ in 0..counts.queries {
        Query::read(&mut rest)?;
    }
    let others = counts.additionals.checked_sub(1);
    let others = u32::from(others.ok_or("the answer is not signed")?);
    for _ in 0..u32::from(counts.answers) + u32::from(counts.authorities) + others {
        Record::<RData>::read(&mut rest)?;
    }
    let begin = rest.index();
    let last = Record::read(&mut rest)?;
    match rest.is_empty() {
        true => Ok((begin, last)),
        false => Err("there is something behind the answer".into()),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode};
    use hickory_proto::rr::RecordType;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(secret: &str) -> TsigKey {
        TsigKey::new("Edge.example", "hmac-sha256", secret).unwrap()
    }

    fn message(kind: MessageType) -> Vec<u8> {
        let mut message = Message::new(7, kind, OpCode::Update);
        message.add_query(Query::query(name("shop.example").unwrap(), RecordType::SOA));
        message.to_vec().unwrap()
    }

    /// An answer as a server makes it that has this key.
    fn answer(key: &TsigKey, asked: &[u8], at: u64) -> Vec<u8> {
        let mut message = message(MessageType::Response);
        let stamp = |code| TSIG::new(key.algorithm.clone(), at, FUDGE, code, 7, None, Vec::new());
        let signed = key.signed(asked, &message, &stamp(Vec::new())).unwrap();
        let code = hmac::sign(&key.secret, &signed).as_ref().to_vec();
        let record = make_tsig_record(key.name.clone(), stamp(code));
        message.extend(record.to_bytes().unwrap());
        count(&mut message, 1);
        message
    }

    #[test]
    fn only_who_has_the_key_answers_the_question_in_time() {
        let key = key("c2VjcmV0");
        let (_, asked) = key.sign(message(MessageType::Query), NOW).unwrap();
        let told = |answer: &[u8]| key.verify(answer, &asked, NOW).map_err(|e| e.to_string());
        assert_eq!(told(&answer(&key, &asked, NOW + 300)), Ok(()));
        for (wrong, why) in [
            (message(MessageType::Response), "not signed"),
            (answer(&self::key("d3Jvbmc="), &asked, NOW), "is wrong"),
            (answer(&key, &[0; 32], NOW), "is wrong"),
            (answer(&key, &asked, NOW - 301), "another time"),
            ([&*answer(&key, &asked, NOW), &[0]].concat(), "behind"),
        ] {
            let error = told(&wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let good = answer(&key, &asked, NOW);
        // Of its first two bytes, the number, the signature has a copy.
        for at in 2..message(MessageType::Response).len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(told(&changed).is_err(), "{at}");
        }
    }
}
