use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cirrus_core::testing::cert_provider_suite;
use cirrus_core::testing::cert_suite::Handshakes;
use cirrus_core::testing::certs::{self, Pair};
use cirrus_core::{ManualClock, Timestamp};
use rustls::SignatureScheme;
use tempfile::TempDir;

use super::*;

cert_provider_suite!(|| {
    let directory = tempfile::tempdir().unwrap();
    put(
        &directory,
        "known",
        &certs::for_names(&["known.example", "*.known.example"]),
    );
    // It serves what it has read, though the directory is gone.
    Folder::at(directory.path())
});

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn exact_goes_before_wildcard() {
    let (directory, folder, _) = folder();
    let wildcard = certs::not_after(&["*.shop.example"], NOW.after(DAY * 9));
    let exact = certs::not_after(&["www.shop.example"], NOW.after(DAY));
    put(&directory, "a", &wildcard);
    put(&directory, "b", &exact);
    folder.reload();
    assert_eq!(found(&folder, "www.shop.example"), Some(exact.der));
    assert_eq!(found(&folder, "img.shop.example"), Some(wildcard.der));
    assert_eq!(found(&folder, "a.img.shop.example"), None);
    assert_eq!(found(&folder, "shop.example"), None);
}

#[test]
fn the_longest_valid_wins() {
    let (directory, folder, _) = folder();
    let [short, long] =
        [1, 2].map(|days| certs::not_after(&["shop.example"], NOW.after(DAY * days)));
    put(&directory, "a", &long);
    put(&directory, "b", &short);
    folder.reload();
    assert_eq!(found(&folder, "shop.example"), Some(long.der.clone()));
    assert_eq!(
        report(&folder),
        ["b.pem: a.pem is for `shop.example` too and ends later: this one is not served for it"]
    );
    // A copy under another name does no harm, nor does a certificate for clients that name no host.
    put(&directory, "b", &long);
    put(&directory, "default", &short);
    folder.reload();
    assert_eq!(report(&folder), [""; 0]);
}

#[tokio::test]
async fn tells_operators_what_there_is_but_gives_no_key_away() {
    let (directory, folder, _) = folder();
    let pair = certs::not_after(&["shop.example", "www.shop.example"], NOW.after(DAY));
    put(&directory, "shop", &pair);
    folder.reload();
    let [report] = &folder.reports()[..] else {
        panic!("one certificate");
    };
    assert_eq!((&*report.name, report.source), ("shop", "directory"));
    assert_eq!(report.not_after, Some(NOW.after(DAY)));
    let show = |name: &str| CertTask::Show(name.into());
    let done = folder.manage(&show("www.shop.example")).await.unwrap();
    assert_eq!((&done.report, done.chain), (report, Some(pair.chain_pem)));
    let unknown = folder.manage(&show("other.example")).await.unwrap_err();
    assert!(matches!(unknown, ManageError::Unknown(_)), "{unknown}");
    let export = CertTask::Export("shop".into());
    let refused = folder.manage(&export).await.unwrap_err();
    assert!(matches!(refused, ManageError::Unsupported), "{refused}");
}

#[test]
fn an_expired_one_is_served_only_if_there_is_no_other() {
    let (directory, folder, clock) = folder();
    let exact = certs::not_after(&["www.shop.example"], NOW.after(DAY));
    let wildcard = certs::not_after(&["*.shop.example"], NOW.after(DAY * 2));
    put(&directory, "exact", &exact);
    put(&directory, "wildcard", &wildcard);
    folder.reload();
    assert_eq!(found(&folder, "www.shop.example"), Some(exact.der.clone()));
    clock.advance(DAY);
    assert_eq!(found(&folder, "www.shop.example"), Some(wildcard.der));
    clock.advance(DAY);
    assert_eq!(found(&folder, "www.shop.example"), Some(exact.der));
}

#[test]
fn one_that_is_not_yet_valid_waits() {
    let (directory, folder, clock) = folder();
    let present = certs::not_after(&["shop.example"], NOW.after(DAY * 2));
    let next = certs::valid_between(&["shop.example"], NOW.after(DAY), NOW.after(DAY * 90));
    put(&directory, "present", &present);
    put(&directory, "next", &next);
    folder.reload();
    assert_eq!(found(&folder, "shop.example"), Some(present.der));
    assert_eq!(
        report(&folder),
        ["next.pem: the certificate is not valid before Sat, 16 Jan 2027 08:00:00 GMT"]
    );
    clock.advance(DAY);
    assert_eq!(found(&folder, "shop.example"), Some(next.der));
}

#[test]
fn an_expired_certificate_is_reported_when_it_expires() {
    let (directory, folder, clock) = folder();
    let pair = certs::not_after(&["shop.example"], NOW.after(DAY));
    put(&directory, "shop", &pair);
    folder.reload();
    assert_eq!(report(&folder), [""; 0]);
    clock.advance(DAY);
    folder.reload();
    let expired = "shop.pem: the certificate expired on Sat, 16 Jan 2027 08:00:00 GMT";
    assert_eq!(report(&folder), [expired]);
    assert_eq!(found(&folder, "shop.example"), Some(pair.der));
}

#[test]
fn an_expired_certificate_does_not_replace_a_valid_one() {
    let (directory, folder, _) = folder();
    let pair = put(&directory, "shop", &certs::for_names(&["shop.example"]));
    folder.reload();
    put(&directory, "shop", &certs::expired(&["shop.example"]));
    folder.reload();
    assert_eq!(found(&folder, "shop.example"), Some(pair.der));
    assert_eq!(
        report(&folder),
        [
            "shop.pem: the certificate expired on Fri, 01 Jan 2021 00:00:00 GMT; the one before it stays"
        ]
    );
}

#[test]
fn a_pair_in_trouble_keeps_its_certificate() {
    let (directory, folder, _) = folder();
    let file = |name: &str| directory.path().join(name);
    let pair = put(&directory, "shop", &certs::for_names(&["shop.example"]));
    folder.reload();
    let next = certs::for_names(&["shop.example"]);
    let half = &next.chain_pem[..next.chain_pem.len() / 2];
    type Break<'a> = &'a dyn Fn();
    let troubles: [(Break<'_>, &str); 5] = [
        (
            &|| fs::write(file("shop.pem"), half).unwrap(),
            "shop.pem: the chain is damaged: it is cut off",
        ),
        (
            &|| fs::write(file("shop.pem"), &next.chain_pem).unwrap(),
            "shop.key: the key does not match the certificate",
        ),
        (
            &|| fs::remove_file(file("shop.key")).unwrap(),
            "shop.pem: shop.pem has no shop.key beside it",
        ),
        (
            &|| fs::create_dir(file("shop.key")).unwrap(),
            "shop.key: it cannot be read: it is not a file",
        ),
        (
            &|| {
                fs::remove_dir(file("shop.key")).unwrap();
                fs::write(file("shop.key"), &next.key_pem).unwrap();
                fs::remove_file(file("shop.pem")).unwrap();
            },
            "shop.key: shop.key has no shop.pem beside it",
        ),
    ];
    for (trouble, expected) in troubles {
        trouble();
        folder.reload();
        assert_eq!(report(&folder), [expected]);
        assert_eq!(
            found(&folder, "shop.example"),
            Some(pair.der.clone()),
            "{expected}"
        );
    }
    put(&directory, "shop", &next);
    folder.reload();
    assert_eq!(report(&folder), [""; 0]);
    assert_eq!(found(&folder, "shop.example"), Some(next.der));
}

#[test]
fn one_bad_pair_does_not_take_the_others_down() {
    let (directory, folder, _) = folder();
    fs::write(directory.path().join("bad.pem"), "hello").unwrap();
    fs::write(directory.path().join("bad.key"), vec![b'x'; (1 << 20) + 1]).unwrap();
    fs::write(directory.path().join(".hidden.pem"), "an editor's").unwrap();
    fs::write(directory.path().join("README"), "not ours").unwrap();
    let pair = put(&directory, "good", &certs::for_names(&["good.example"]));
    folder.reload();
    assert_eq!(found(&folder, "good.example"), Some(pair.der));
    assert_eq!(
        report(&folder),
        ["bad.key: it cannot be read: it is larger than 1 MiB"]
    );
}

#[test]
fn a_deleted_pair_is_gone() {
    let (directory, folder, _) = folder();
    put(&directory, "shop", &certs::for_names(&["shop.example"]));
    folder.reload();
    fs::remove_file(directory.path().join("shop.pem")).unwrap();
    fs::remove_file(directory.path().join("shop.key")).unwrap();
    folder.reload();
    assert_eq!(found(&folder, "shop.example"), None);
    assert_eq!(report(&folder), [""; 0]);
}

#[test]
fn a_vanished_directory_changes_nothing() {
    let (directory, folder, _) = folder();
    let pair = put(&directory, "shop", &certs::for_names(&["shop.example"]));
    folder.reload();
    fs::remove_dir_all(directory.path()).unwrap();
    folder.reload();
    assert_eq!(found(&folder, "shop.example"), Some(pair.der));
    assert!(
        folder.report()[0]
            .message
            .starts_with("the directory cannot be read: No such file")
    );
    fs::create_dir(directory.path()).unwrap();
    let next = put(&directory, "shop", &certs::for_names(&["shop.example"]));
    folder.reload();
    assert_eq!(found(&folder, "shop.example"), Some(next.der));
    assert_eq!(report(&folder), [""; 0]);
}

#[test]
fn a_missing_directory_is_an_error_of_open_and_a_problem_of_at() {
    let path = tempfile::tempdir().unwrap().path().join("certs");
    let error = Folder::open(&path).unwrap_err().to_string();
    let expected = format!(
        "the certificate directory `{}` cannot be read",
        path.display()
    );
    assert_eq!(error, expected);
    assert_eq!(Folder::at(&path).report()[0].file, path);
}

#[test]
fn a_nameless_client_gets_the_default_or_the_only_one() {
    let (directory, folder, _) = folder();
    let nameless = || shown(folder.lookup(&Hello::new(None)));
    assert_eq!(nameless(), None);
    let only = put(&directory, "only", &certs::for_names(&["a.example"]));
    folder.reload();
    assert_eq!(nameless(), Some(only.der));
    put(&directory, "second", &certs::for_names(&["b.example"]));
    folder.reload();
    assert_eq!(nameless(), None);
    let default = put(&directory, "default", &certs::for_names(&["c.example"]));
    folder.reload();
    assert_eq!(nameless(), Some(default.der));
}

#[tokio::test]
async fn maintenance_notices_changes() {
    let (directory, folder, _) = folder();
    let changes = async {
        for _ in 0..2 {
            let pair = put(&directory, "shop", &certs::for_names(&["shop.example"]));
            until(|| found(&folder, "shop.example").as_ref() == Some(&pair.der)).await;
            assert_eq!(report(&folder), [""; 0]);
        }
    };
    tokio::select! {
        () = folder.maintain() => panic!("maintenance has no end"),
        () = changes => {}
    }
}

#[tokio::test]
async fn maintenance_follows_a_directory_that_is_replaced() {
    let (directory, folder, _) = folder();
    let (present, past) = (directory.path(), directory.path().with_extension("past"));
    let changes = async {
        let pair = put(&directory, "shop", &certs::for_names(&["shop.example"]));
        until(|| found(&folder, "shop.example").as_ref() == Some(&pair.der)).await;
        fs::rename(present, &past).unwrap();
        fs::create_dir(present).unwrap();
        let pair = put(&directory, "other", &certs::for_names(&["other.example"]));
        until(|| found(&folder, "other.example").as_ref() == Some(&pair.der)).await;
        let next = put(&directory, "other", &certs::for_names(&["other.example"]));
        until(|| found(&folder, "other.example").as_ref() == Some(&next.der)).await;
    };
    tokio::select! {
        () = folder.maintain() => panic!("maintenance has no end"),
        () = changes => {}
    }
    fs::remove_dir_all(&past).unwrap();
}

#[tokio::test]
async fn no_handshake_fails_while_files_are_replaced() {
    let (directory, folder, _) = folder();
    put(&directory, "shop", &certs::for_names(&["shop.example"]));
    folder.reload();
    let handshakes = Handshakes::with(Arc::new(folder.clone()));
    let over = Arc::new(AtomicBool::new(false));
    let replacing = {
        let (folder, over) = (folder.clone(), Arc::clone(&over));
        std::thread::spawn(move || replace_until(&over, &directory, &folder))
    };
    let mut shown = HashSet::new();
    for _ in 0..500 {
        shown.insert(handshakes.shake("shop.example").await.unwrap());
    }
    over.store(true, Ordering::SeqCst);
    let last = replacing.join().unwrap();
    assert_eq!(found(&folder, "shop.example"), Some(last));
    assert!(
        shown.len() > 10,
        "only {} certificates in 500 handshakes",
        shown.len()
    );
}

// === helpers ===

#[test]
fn one_file_may_hold_both() {
    let (directory, folder, _) = folder();
    let pair = certs::for_names(&["shop.example"]);
    let both = format!("{}{}", pair.key_pem, pair.chain_pem);
    fs::write(directory.path().join("shop.pem"), both).unwrap();
    folder.reload();
    assert_eq!(report(&folder), [""; 0]);
    assert_eq!(found(&folder, "shop.example"), Some(pair.der));
}

#[test]
fn a_client_gets_a_key_that_it_can_verify_the_cheaper_first() {
    let (directory, folder, _) = folder();
    let at = |name: &str| directory.path().join(name);
    let run = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
        ])
        .args([
            "-subj",
            "/CN=rsa",
            "-addext",
            "subjectAltName=DNS:shop.example",
        ])
        .arg("-keyout")
        .arg(at("rsa.key"))
        .arg("-out")
        .arg(at("rsa.pem"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    // It is valid for longer: that alone would choose it.
    let elliptic = certs::not_after(&["shop.example"], NOW.after(DAY));
    put(&directory, "ecdsa", &elliptic);
    folder.reload();
    let shop = ServerName::new("shop.example").unwrap();
    let kind = |schemes: &[SignatureScheme]| {
        let hello = Hello::new(Some(&shop)).with_schemes(schemes);
        match folder.lookup(&hello) {
            Lookup::Found(found) => found.is_elliptic(),
            other => panic!("{other:?}"),
        }
    };
    let (ecdsa, rsa) = (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::RSA_PSS_SHA256,
    );
    assert!(kind(&[rsa, ecdsa]));
    assert!(!kind(&[rsa]));
    assert_eq!(found(&folder, "shop.example"), Some(elliptic.der));
}

#[test]
fn a_staple_that_is_no_good_is_left_out() {
    let (directory, folder, _) = folder();
    let pair = put(&directory, "shop", &certs::for_names(&["shop.example"]));
    fs::write(directory.path().join("shop.ocsp"), [0x30, 3, 0x0a, 1, 6]).unwrap();
    folder.reload();
    assert_eq!(
        report(&folder),
        ["shop.ocsp: the responder has refused to answer; the certificate is served without"]
    );
    assert_eq!(found(&folder, "shop.example"), Some(pair.der));
}

fn folder() -> (TempDir, Folder, ManualClock) {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let folder = Folder::open(directory.path())
        .unwrap()
        .with_clock(Arc::new(clock.clone()));
    (directory, folder, clock)
}

fn put(directory: &TempDir, stem: &str, pair: &Pair) -> Pair {
    fs::write(
        directory.path().join(format!("{stem}.pem")),
        &pair.chain_pem,
    )
    .unwrap();
    fs::write(directory.path().join(format!("{stem}.key")), &pair.key_pem).unwrap();
    pair.clone()
}

/// One file at a time: every other reading sees a pair that does not match.
fn replace_until(over: &AtomicBool, directory: &TempDir, folder: &Folder) -> Der {
    loop {
        let next = certs::for_names(&["shop.example"]);
        fs::write(directory.path().join("shop.pem"), &next.chain_pem).unwrap();
        folder.reload();
        fs::write(directory.path().join("shop.key"), &next.key_pem).unwrap();
        folder.reload();
        if over.load(Ordering::SeqCst) {
            return next.der;
        }
    }
}

type Der = rustls::pki_types::CertificateDer<'static>;

fn found(folder: &Folder, name: &str) -> Option<Der> {
    let name = ServerName::new(name).unwrap();
    shown(folder.lookup(&Hello::new(Some(&name))))
}

fn shown(lookup: Lookup) -> Option<Der> {
    match lookup {
        Lookup::Found(certificate) => Some(certificate.key.cert[0].clone()),
        _ => None,
    }
}

fn report(folder: &Folder) -> Vec<String> {
    let line = |problem: &Problem| {
        let file = problem.file.strip_prefix(folder.path()).unwrap();
        format!("{}: {}", file.display(), problem.message)
    };
    folder.report().iter().map(line).collect()
}

async fn until(true_at_last: impl Fn() -> bool) {
    let poll = async {
        while !true_at_last() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), poll)
        .await
        .expect("within ten seconds");
}
