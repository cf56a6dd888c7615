//! Which signatures are of use to a client.

use rustls::server::ClientHello;
use rustls::{CipherSuite, SignatureScheme};

/// The signatures that a client can make use of: with TLS 1.2 only those that its suites have room for.
pub(super) fn usable_schemes(hello: &ClientHello<'_>) -> Vec<SignatureScheme> {
    let has = |names: &[CipherSuite]| hello.cipher_suites().iter().any(|one| names.contains(one));
    let is_new = has(&[
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ]);
    let (ecdsa, rsa) = match is_new {
        true => (true, true),
        false => (has(&ECDSA_SUITES), has(&RSA_SUITES)),
    };
    let fits = |scheme: &SignatureScheme| if is_rsa(*scheme) { rsa } else { ecdsa };
    hello
        .signature_schemes()
        .iter()
        .copied()
        .filter(fits)
        .collect()
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    let pkcs1 = [
        S::RSA_PKCS1_SHA256,
        S::RSA_PKCS1_SHA384,
        S::RSA_PKCS1_SHA512,
    ];
    let pss = [S::RSA_PSS_SHA256, S::RSA_PSS_SHA384, S::RSA_PSS_SHA512];
    pkcs1.contains(&scheme) || pss.contains(&scheme)
}

const ECDSA_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

const RSA_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];
