//! What operators see and do, and what goes by itself when it is time.

use std::sync::Arc;
use std::time::Duration;

use cirrus_core::downstream::{CertProvider, CertReport, CertTask, ManageError};
use cirrus_core::testing::certs;
use cirrus_core::testing::process::PebbleServer;
use cirrus_core::{Clock, ManualClock, SystemClock, Timestamp};
use cirrus_tls::acme::{Acme, CertRecord, Wanted};

use crate::edge::{Shared, name};
use crate::soon;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn renews_by_itself_when_it_is_time_and_not_before() {
    let shared = Shared::new(PebbleServer::start());
    let clock = ManualClock::at(SystemClock.now());
    let node = || {
        let builder = shared.builder().clock(Arc::new(clock.clone()));
        builder.want(Wanted::new(["shop.example"])).build().unwrap()
    };
    let first = node();
    let edge = shared.run(&first).await;
    let shown = soon(shared.until_shown("shop.example")).await;
    let seen = soon(visited(&first)).await;
    edge.shutdown().await;
    // Pebble's live five years: it is renewed 30 days before the end, and up to a tenth of that earlier.
    let (due, end) = (seen.next_renewal.unwrap(), seen.not_after.unwrap());
    let left = end.since(due);
    assert!((30 * DAY..=33 * DAY).contains(&left), "{left:?}");

    clock.set(Timestamp::from_secs(due.as_secs() - DAY.as_secs()));
    let early = node();
    let edge = shared.run(&early).await;
    let report = soon(visited(&early)).await;
    assert_eq!(
        (report.last_attempt, report.next_renewal),
        (seen.last_attempt, Some(due))
    );
    assert_eq!(soon(shared.until_shown("shop.example")).await, shown);
    edge.shutdown().await;

    clock.set(Timestamp::from_secs(due.as_secs() + 1));
    let late = node();
    let edge = shared.run(&late).await;
    let report = soon(visited(&late)).await;
    assert_eq!(
        (report.last_attempt, report.failures),
        (Some(clock.now()), 0)
    );
    assert_ne!(soon(shared.until_shown("shop.example")).await, shown);
    edge.shutdown().await;
}

#[tokio::test]
async fn what_fails_is_reported_with_when_it_is_tried_again() {
    let shared = Shared::new(PebbleServer::start());
    let acme = shared.builder().want(Wanted::new(["shop.example"]));
    let acme = acme.build().unwrap();
    let missing = report(&acme);
    assert_eq!(
        (missing.name.as_str(), missing.not_after),
        ("shop.example", None)
    );
    // Nobody listens where the authority looks.
    let task = CertTask::Renew("shop.example".into());
    let error = soon(acme.manage(&task)).await.unwrap_err();
    assert!(matches!(error, ManageError::Failed(_)), "{error}");
    let failed = report(&acme);
    assert_eq!(failed.failures, 1);
    assert_eq!(failed.last_error, Some(error.to_string()));
    let wait = failed
        .next_renewal
        .unwrap()
        .since(failed.last_attempt.unwrap());
    assert!((40..=60).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn what_is_imported_is_served_and_can_be_taken_out() {
    let shared = Shared::new(PebbleServer::start());
    let acme = shared.builder().build().unwrap();
    let pair = certs::for_names(&["*.own.example", "own.example"]);
    let import = |key: &str| CertTask::Import {
        chain: pair.chain_pem.clone(),
        key: key.to_owned(),
    };
    let done = acme.manage(&import(&pair.key_pem)).await.unwrap();
    assert_eq!(
        (done.report.name.as_str(), done.key),
        ("*.own.example", None)
    );
    let served = acme.load(&name("a.own.example")).await.unwrap();
    assert_eq!(served.not_after, done.report.not_after.unwrap());
    let export = CertTask::Export("a.own.example".into());
    // It is stored under the wildcard, which stands in the request for what is below it.
    assert!(matches!(
        acme.manage(&export).await,
        Err(ManageError::Unknown(_))
    ));
    let export = CertTask::Export("*.own.example".into());
    let done = acme.manage(&export).await.unwrap();
    assert_eq!(
        (done.chain, done.key),
        (Some(pair.chain_pem.clone()), Some(pair.key_pem.clone()))
    );

    let other = certs::for_names(&["own.example"]);
    for key in ["", &other.key_pem] {
        let error = acme.manage(&import(key)).await.unwrap_err();
        assert!(matches!(error, ManageError::Invalid(_)), "{error}");
    }
    assert!(acme.manage(&export).await.is_ok(), "the one before stays");
}

#[tokio::test]
async fn paths_are_no_names() {
    let shared = Shared::new(PebbleServer::start());
    let acme = shared.builder().build().unwrap();
    for name in [
        "../../etc/passwd",
        "",
        "a b",
        "*.*.example",
        "*",
        "10.0.0.1",
        "a/b.example",
    ] {
        for task in [
            CertTask::Show(name.into()),
            CertTask::Export(name.into()),
            CertTask::Renew(name.into()),
            CertTask::Issue(vec![name.into()]),
        ] {
            let error = acme.manage(&task).await.unwrap_err();
            assert!(matches!(error, ManageError::Invalid(_)), "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn the_authority_knows_of_a_revocation() {
    let shared = Shared::new(PebbleServer::start());
    let acme = shared.builder().want(Wanted::new(["shop.example"]));
    let acme = acme.build().unwrap();
    let edge = shared.run(&acme).await;
    let old = soon(shared.until_shown("shop.example")).await;
    let file = shared.state.path().join("certs/shop.example.json");
    let stored = std::fs::read_to_string(&file).unwrap();
    let task = CertTask::Revoke {
        name: "shop.example".into(),
        compromised: true,
    };
    soon(acme.manage(&task)).await.unwrap();
    assert_ne!(
        shared.shown("shop.example").await.unwrap(),
        old,
        "another takes its place"
    );

    // The authority says so itself if it is asked for the same again.
    std::fs::write(&file, stored).unwrap();
    let error = soon(acme.manage(&task)).await.unwrap_err();
    assert!(error.to_string().contains("alreadyRevoked"), "{error}");

    // Whose it is not cannot revoke it.
    let pair = certs::for_names(&["shop.example"]);
    let record = CertRecord::new(pair.chain_pem, pair.key_pem, SystemClock.now());
    std::fs::write(&file, record.to_text()).unwrap();
    let error = soon(acme.manage(&task)).await.unwrap_err();
    assert!(error.to_string().contains("ask whoever has"), "{error}");
    edge.shutdown().await;
}

fn report(acme: &Acme) -> CertReport {
    acme.reports().swap_remove(0)
}

/// How the certificate is doing once it has been looked after.
async fn visited(acme: &Acme) -> CertReport {
    loop {
        let report = report(acme);
        if report.next_renewal.is_some() {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
