//! OCSP responses (RFC 6960), as far as a server has to understand what it passes on.

use cirrus_core::Timestamp;
use x509_parser::asn1_rs::{Any, FromDer, GeneralizedTime, OctetString, Oid, Sequence, Tag};

/// A response that says that a certificate is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staple {
    pub(crate) der: Vec<u8>,
    /// Clients do not believe it from then on.
    pub(crate) until: Timestamp,
}

/// `id-pkix-ocsp-basic`.
const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";

// === impl Staple ===

impl Staple {
    /// Reads a response in DER. Its signature is for clients to verify.
    pub(crate) fn read(der: &[u8]) -> Result<Self, &'static str> {
        let until = next_update(der).ok_or("it is no OCSP response with an end")??;
        Ok(Self {
            der: der.to_vec(),
            until,
        })
    }
}

/// `None`: it is no response, or has no `nextUpdate`.
fn next_update(der: &[u8]) -> Option<Result<Timestamp, &'static str>> {
    let (_, response) = Sequence::from_der(der).ok()?;
    let (rest, status) = Any::from_der(&response.content).ok()?;
    if status.tag() != Tag::Enumerated {
        return None;
    }
    if *status.data != [0] {
        return Some(Err("the responder has refused to answer"));
    }
    let (_, wrapped) = Any::from_der(rest).ok()?;
    let (_, bytes) = Sequence::from_der(wrapped.data).ok()?;
    let (rest, kind) = Oid::from_der(&bytes.content).ok()?;
    let (_, basic) = OctetString::from_der(rest).ok()?;
    if kind.to_id_string() != BASIC {
        return None;
    }
    let (_, basic) = Sequence::from_der(basic.as_ref()).ok()?;
    let (_, data) = Sequence::from_der(&basic.content).ok()?;
    let mut rest: &[u8] = &data.content;
    // Version and responder are told by their tags; what has none comes behind them.
    while let Ok((behind, any)) = Any::from_der(rest) {
        rest = behind;
        if any.tag() == Tag::GeneralizedTime {
            break;
        }
    }
    let (_, all) = Sequence::from_der(rest).ok()?;
    let (_, single) = Sequence::from_der(&all.content).ok()?;
    let (rest, _id) = Any::from_der(&single.content).ok()?;
    let (rest, verdict) = Any::from_der(rest).ok()?;
    if verdict.tag().0 != 0 {
        return Some(Err("it does not say that the certificate is good"));
    }
    let (rest, _this_update) = GeneralizedTime::from_der(rest).ok()?;
    let (_, wrapped) = Any::from_der(rest).ok()?;
    let (_, next) = GeneralizedTime::from_der(wrapped.data).ok()?;
    let seconds = next.utc_datetime().ok()?.unix_timestamp();
    Some(Ok(Timestamp::from_secs(u64::try_from(seconds).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use cirrus_core::testing::certs;

    use super::*;

    /// What OpenSSL's responder says of a certificate.
    pub(crate) fn response(days: &str, status: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let authority = certs::for_names(&["ca.example"]);
        let pair = &authority;
        std::fs::write(at("ca.pem"), &pair.chain_pem).unwrap();
        std::fs::write(at("ca.key"), &pair.key_pem).unwrap();
        let (_, parsed) = <x509_parser::prelude::X509Certificate<'_> as x509_parser::prelude::FromDer<_>>::from_der(&pair.der).unwrap();
        let serial = parsed
            .raw_serial_as_string()
            .replace(':', "")
            .to_uppercase();
        let revoked = if status == "R" { "250101000000Z" } else { "" };
        let line =
            format!("{status}\t991231235959Z\t{revoked}\t{serial}\tunknown\t/CN=Cirrus test\n");
        std::fs::write(at("index.txt"), line).unwrap();
        let run = Command::new("openssl")
            .args([
                "ocsp",
                "-index",
                "index.txt",
                "-rsigner",
                "ca.pem",
                "-rkey",
                "ca.key",
            ])
            .args(["-CA", "ca.pem", "-issuer", "ca.pem", "-cert", "ca.pem"])
            .args(["-ndays", days, "-respout", "out.der", "-noverify"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        std::fs::read(at("out.der")).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    #[test]
    fn reads_what_a_responder_says() {
        let good = response("7", "V");
        let staple = Staple::read(&good).unwrap();
        assert_eq!(staple.der, good);
        assert!(staple.until > Timestamp::from_secs(1_700_000_000));
        let revoked = Staple::read(&response("7", "R"));
        assert_eq!(revoked, Err("it does not say that the certificate is good"));
        for end in 0..good.len().min(200) {
            assert!(Staple::read(&good[..end]).is_err());
        }
    }

    #[test]
    fn a_refusal_is_no_staple() {
        let refusal = [0x30, 3, 0x0a, 1, 6];
        assert_eq!(
            Staple::read(&refusal),
            Err("the responder has refused to answer")
        );
    }
}
