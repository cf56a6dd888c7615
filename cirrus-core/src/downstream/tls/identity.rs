//! Who a client is, by its certificate, in words that fit into header fields.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use crate::config::ClientCertField;

/// A client's certificate that was verified.
#[derive(Clone, Debug)]
pub(crate) struct ClientIdentity {
    /// Its subject, or its first alternative name if that is empty.
    pub(crate) name: Arc<str>,
    /// What origins are told.
    pub(crate) fields: Box<[(HeaderName, HeaderValue)]>,
}

// === impl ClientIdentity ===

impl ClientIdentity {
    /// Of a chain that was verified, the client's own certificate first. `None` if there is none.
    pub(super) fn of(chain: &[CertificateDer<'_>], passed: &[ClientCertField]) -> Option<Self> {
        let (own, rest) = chain.split_first()?;
        let (_, parsed) = X509Certificate::from_der(own).ok()?;
        let names = names(&parsed);
        let subject = distinguished(parsed.subject());
        let fields = passed.iter().filter_map(|field| {
            let text = match field {
                ClientCertField::Certificate => item(own),
                ClientCertField::Chain => list(rest)?,
                ClientCertField::Subject => subject.clone(),
                ClientCertField::Issuer => distinguished(parsed.issuer()),
                ClientCertField::Names => names.join(", "),
                ClientCertField::Serial => hex(parsed.raw_serial()),
                ClientCertField::Fingerprint => hex(digest(&SHA256, own).as_ref()),
            };
            Some((title(*field), value(text)?))
        });
        let fields = fields.collect();
        let name = match (subject.is_empty(), names.into_iter().next()) {
            (true, Some(name)) => name,
            _ => subject,
        };
        Some(Self {
            name: name.into(),
            fields,
        })
    }
}

fn title(field: ClientCertField) -> HeaderName {
    HeaderName::from_static(match field {
        ClientCertField::Certificate => "client-cert",
        ClientCertField::Chain => "client-cert-chain",
        ClientCertField::Subject => "x-client-cert-subject",
        ClientCertField::Issuer => "x-client-cert-issuer",
        ClientCertField::Names => "x-client-cert-names",
        ClientCertField::Serial => "x-client-cert-serial",
        ClientCertField::Fingerprint => "x-client-cert-fingerprint",
    })
}

fn value(text: String) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// A byte sequence (RFC 8941 §3.3.5).
fn item(der: &CertificateDer<'_>) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// RFC 9440 §2.3: no field if there is nothing to list.
fn list(rest: &[CertificateDer<'_>]) -> Option<String> {
    let items: Vec<_> = rest.iter().map(item).collect();
    (!items.is_empty()).then(|| items.join(", "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A distinguished name (RFC 4514): the last part first, everything escaped that could be taken for another part.
fn distinguished(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let part = |rdn: &&x509_parser::x509::RelativeDistinguishedName<'_>| {
        let attributes = rdn.iter().map(|attribute| {
            let oid = attribute.attr_type();
            let key = short(&oid.to_id_string()).map_or_else(|| oid.to_id_string(), str::to_owned);
            let mut text = format!("{key}=");
            match attribute.as_str() {
                Ok(value) => escape(value, &mut text),
                // RFC 4514 §2.4: what is no text is told in hexadecimal.
                Err(_) => {
                    text.push('#');
                    text.push_str(&hex(attribute.as_slice()));
                }
            }
            text
        });
        attributes.collect::<Vec<_>>().join("+")
    };
    let parts: Vec<_> = parts.iter().rev().map(part).collect();
    parts.join(",")
}

/// RFC 4514 §3, and e-mail addresses.
fn short(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// RFC 4514 §2.4; bytes that header fields have no room for are told in hexadecimal as well.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let at_an_end = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            _ if at_an_end => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let all = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    all.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("dns:{}", encoded(name))),
        GeneralName::RFC822Name(name) => Some(format!("email:{}", encoded(name))),
        GeneralName::URI(name) => Some(format!("uri:{}", encoded(name))),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| format!("ip:{ip}")),
        _ => None,
    })
    .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// What could end a member of the list, or cannot stand in a field, with a percent sign.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'!'..=b'~' if !b",".contains(&byte) => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn told(params: CertificateParams, field: ClientCertField) -> String {
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let identity = ClientIdentity::of(&[made.der().clone()], &[field]).unwrap();
        let value = identity.fields.first().map(|(_, value)| value.clone());
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    fn named(common: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Shop, Inc.");
        let common = DnValue::Utf8String(common.to_owned());
        params.distinguished_name.push(DnType::CommonName, common);
        params
    }

    #[test]
    fn a_subject_cannot_pretend_to_be_another() {
        for (common, subject) in [
            ("alice", "CN=alice,O=Shop\\, Inc."),
            ("alice,CN=admin", "CN=alice\\,CN\\=admin,O=Shop\\, Inc."),
            ("a\r\nX-Admin: 1", "CN=a\\0D\\0AX-Admin: 1,O=Shop\\, Inc."),
            ("J\u{fc}rgen ", "CN=J\\C3\\BCrgen\\ ,O=Shop\\, Inc."),
        ] {
            assert_eq!(told(named(common), ClientCertField::Subject), subject);
        }
    }

    #[test]
    fn names_are_a_list_that_nobody_can_add_to() {
        let mut params = named("a");
        let uri = "spiffe://a/b,dns:admin.example".try_into().unwrap();
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI(uri),
            SanType::IpAddress(IpAddr::from([192, 0, 2, 1])),
        ];
        assert_eq!(
            told(params, ClientCertField::Names),
            "dns:a.example, uri:spiffe://a/b%2Cdns:admin.example, ip:192.0.2.1"
        );
    }

    #[test]
    fn a_certificate_is_a_byte_sequence() {
        let text = told(named("a"), ClientCertField::Certificate);
        let inner = text
            .strip_prefix(':')
            .and_then(|text| text.strip_suffix(':'));
        let der = STANDARD.decode(inner.unwrap()).unwrap();
        assert!(X509Certificate::from_der(&der).is_ok());
        assert_eq!(told(named("a"), ClientCertField::Chain), "", "no field");
    }
}
