use cirrus_core::testing::certs::{self, Authority};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[test]
fn reads_names_and_dates() {
    let end = Timestamp::from_secs(1_900_000_000);
    let names = ["Shop.Example", "*.shop.example", "127.0.0.1", "::1"];
    let pair = certs::not_after(&names, end);
    let loaded = read(&pair.chain_pem, &pair.key_pem).unwrap();
    let read: Vec<_> = loaded
        .certificate
        .names
        .iter()
        .map(|name| &**name)
        .collect();
    assert_eq!(
        read,
        ["shop.example", "*.shop.example", "127.0.0.1", "[::1]"]
    );
    assert_eq!(loaded.certificate.not_after, end);
    assert_eq!(loaded.not_before, Timestamp::from_secs(1_577_836_800));
    assert_eq!(loaded.warnings(NOW), []);
}

#[test]
fn one_text_may_hold_both() {
    let pair = certs::for_names(&["shop.example"]);
    let both = pair.key_pem + &pair.chain_pem;
    assert!(
        read(&both, &both)
            .unwrap()
            .certificate
            .covers("shop.example")
    );
}

#[test]
fn says_what_is_missing() {
    let pair = certs::for_names(&["shop.example"]);
    for nothing in ["", "hello", &pair.key_pem] {
        assert_eq!(
            read(nothing, &pair.key_pem).unwrap_err(),
            PemError::NoCertificate
        );
    }
    for nothing in ["", "hello", &pair.chain_pem] {
        assert_eq!(read(&pair.chain_pem, nothing).unwrap_err(), PemError::NoKey);
    }
}

#[test]
fn says_what_is_damaged() {
    let pair = certs::for_names(&["shop.example"]);
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let error = read(&cut(&pair.chain_pem), &pair.key_pem).unwrap_err();
    assert_eq!(error.to_string(), "the chain is damaged: it is cut off");
    let error = read(&pair.chain_pem, &cut(&pair.key_pem)).unwrap_err();
    assert_eq!(error.to_string(), "the key is damaged: it is cut off");
    let error = read(&pem("CERTIFICATE", "§§§§"), &pair.key_pem).unwrap_err();
    assert_eq!(error.to_string(), "the chain is damaged: it is not base64");
    let hello = pair.chain_pem.clone() + &pem("CERTIFICATE", "aGVsbG8=");
    let error = read(&hello, &pair.key_pem).unwrap_err();
    assert!(
        matches!(error, PemError::DamagedCertificate { position: 2, .. }),
        "{error}"
    );
    let error = read(&pair.chain_pem, &pem("PRIVATE KEY", "aGVsbG8=")).unwrap_err();
    assert!(matches!(error, PemError::UnusableKey(_)), "{error}");
}

#[test]
fn says_how_to_decrypt_a_key() {
    let pair = certs::for_names(&["shop.example"]);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for encrypted in [&pem("ENCRYPTED PRIVATE KEY", "AAAA"), old] {
        let error = read(&pair.chain_pem, encrypted).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the key is encrypted: decrypt it with `openssl pkey`"
        );
        assert!(error.is_about_key());
    }
}

#[test]
fn says_which_keys_are_strong_enough() {
    let directory = tempfile::tempdir().unwrap();
    let run = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "30",
        ])
        .args([
            "-subj",
            "/CN=rsa",
            "-addext",
            "subjectAltName=DNS:shop.example",
        ])
        .args(["-keyout", "weak.key", "-out", "weak.pem"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let text = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let error = read(&text("weak.pem"), &text("weak.key")).unwrap_err();
    assert!(matches!(error, PemError::UnusableKey(_)), "{error}");
    assert!(
        error.to_string().contains("RSA of 2048 to 8192 bits"),
        "{error}"
    );
}

#[test]
fn refuses_the_key_of_another() {
    let [one, other] = [(); 2].map(|()| certs::for_names(&["shop.example"]));
    let error = read(&one.chain_pem, &other.key_pem).unwrap_err();
    assert_eq!(error, PemError::Mismatch);
}

#[test]
fn refuses_a_certificate_for_nobody() {
    let pair = certs::for_names(&[]);
    let error = read(&pair.chain_pem, &pair.key_pem).unwrap_err();
    assert_eq!(error, PemError::NoNames);
}

#[test]
fn warns_of_dates_and_serves_all_the_same() {
    let [early, late] = [1_700_000_000, 1_900_000_000].map(Timestamp::from_secs);
    let expired = certs::not_after(&["shop.example"], early);
    let loaded = read(&expired.chain_pem, &expired.key_pem).unwrap();
    assert_eq!(loaded.warnings(NOW), [Warning::Expired(early)]);
    let text = loaded.warnings(NOW)[0].to_string();
    assert_eq!(
        text,
        "the certificate expired on Tue, 14 Nov 2023 22:13:20 GMT"
    );

    let future = certs::valid_between(&["shop.example"], late, Timestamp::from_secs(2_000_000_000));
    let loaded = read(&future.chain_pem, &future.key_pem).unwrap();
    assert_eq!(loaded.warnings(NOW), [Warning::NotYetValid(late)]);
}

#[test]
fn a_chain_in_order_is_left_alone() {
    let authority = Authority::new();
    let pair = authority.issue(&["shop.example"]);
    let loaded = read(&pair.chain_pem, &pair.key_pem).unwrap();
    assert_eq!(loaded.certificate.key.cert, [pair.der, authority.der()]);
    assert_eq!(loaded.warnings(NOW), []);
}

#[test]
fn a_chain_in_disorder_is_repaired() {
    let (authority, stranger) = (Authority::new(), certs::for_names(&["stranger.example"]));
    let pair = authority.issue(&["shop.example"]);
    let own = pair.chain_pem.strip_suffix(authority.pem()).unwrap();
    let backwards = [&stranger.chain_pem, authority.pem(), own].concat();
    let loaded = read(&backwards, &pair.key_pem).unwrap();
    assert_eq!(
        loaded.certificate.key.cert,
        [pair.der, authority.der(), stranger.der]
    );
    assert_eq!(loaded.warnings(NOW), [Warning::ChainOrder]);
}

fn read(chain: &str, key: &str) -> Result<Loaded, PemError> {
    Loaded::from_pem(chain.as_bytes(), key.as_bytes())
}

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
