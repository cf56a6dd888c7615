//! Answers to challenges that clients of the edge ask for.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cirrus_core::BoxError;
use cirrus_core::downstream::ServerName;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

/// Whether it can be a token (RFC 8555 §8.3): nobody else's words reach the store.
pub(super) fn is_token(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (16..=128).contains(&text.len()) && text.bytes().all(is_base64url)
}

/// The certificate that answers TLS-ALPN-01 (RFC 8737 §3), from the digest in base64.
pub(super) fn certificate(name: &ServerName, digest: &str) -> Result<Arc<CertifiedKey>, BoxError> {
    let digest = BASE64_STANDARD.decode(digest)?;
    if digest.len() != 32 {
        return Err("what is stored is no digest".into());
    }
    let mut params = CertificateParams::new(vec![name.to_string()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let made = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let keys = aws_lc_rs::default_provider().key_provider;
    let key = keys.load_private_key(key)?;
    // Not `from_der`: it reads the certificate, and does not know the extension, which is critical.
    Ok(Arc::new(CertifiedKey::new(vec![made.der().clone()], key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_of_a_digest_only() {
        let name = ServerName::new("a.example").unwrap();
        let digest = BASE64_STANDARD.encode([7; 32]);
        let made = certificate(&name, &digest).unwrap();
        assert!(made.cert[0].windows(32).any(|part| part == [7; 32]));
        assert!(certificate(&name, "bm90IGEgZGlnZXN0").is_err());
    }

    #[test]
    fn only_tokens_reach_the_store() {
        assert!(is_token("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"));
        for text in ["", "short", "../../etc/passwd/etc/passwd", &"a".repeat(129)] {
            assert!(!is_token(text), "{text}");
        }
    }
}
