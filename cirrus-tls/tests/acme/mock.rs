//! What Debian's Pebble (2.4) does not do: renewal information (RFC 9773), profiles, and refusing for a while. A directory
//! of our own has that; orders that are to be fulfilled go to Pebble all the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cirrus_core::downstream::{CertError, CertProvider};
use cirrus_core::testing::process::PebbleServer;
use cirrus_core::testing::{Asked, Describe, Origin, RunningOrigin, reply};
use cirrus_core::{Clock, ManualClock, SystemClock, Timestamp};
use cirrus_tls::acme::{Acme, Authority, OnDemand, Wanted};
use serde_json::{Value, json};

use crate::edge::{Shared, name, names};
use crate::soon;

/// An authority that takes accounts, and answers every order that it would like to be left alone for two hours.
struct Busy {
    server: RunningOrigin,
    /// What was ordered.
    orders: Arc<Mutex<Vec<Value>>>,
}

impl Busy {
    /// `renewal` is where renewal information is, if anywhere.
    async fn start(renewal: Option<String>) -> Self {
        let orders: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&orders);
        let directory = move |asked: Asked| {
            let at = format!("http://{}", asked.header("host"));
            let mut directory = json!({
                "newNonce": format!("{at}/nonce"),
                "newAccount": format!("{at}/account"),
                "newOrder": format!("{at}/order"),
                "revokeCert": format!("{at}/revoke"),
                "keyChange": format!("{at}/key"),
                "meta": {"profiles": {"shortlived": "six days"}},
            });
            if let Some(renewal) = &renewal {
                directory["renewalInfo"] = renewal.as_str().into();
            }
            reply(directory.to_string())
        };
        let server = Origin::new()
            .get("/dir", directory)
            .get("/nonce", |_| reply("").with("replay-nonce", "nonce"))
            .get("/account", |asked| {
                let location = format!("http://{}/account/1", asked.header("host"));
                let made = reply(r#"{"status":"valid"}"#).with_status(201);
                made.with("location", &location)
                    .with("replay-nonce", "nonce")
            })
            .get("/order", move |asked| {
                seen.lock().unwrap().push(payload(&asked));
                reply(r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"later"}"#)
                    .with_status(429)
                    .with("content-type", "application/problem+json")
                    .with("retry-after", "7200")
                    .with("replay-nonce", "nonce")
            })
            .run()
            .await;
        Self { server, orders }
    }

    fn authority(&self) -> Authority {
        Authority::new("pebble", format!("{}/dir", self.server.url()))
    }

    fn orders(&self) -> Vec<Value> {
        self.orders.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn who_wants_to_be_left_alone_is() {
    let busy = Busy::start(None).await;
    let state = tempfile::tempdir().unwrap();
    let store = Arc::new(cirrus_tls::acme::DiskStore::open(state.path()).unwrap());
    let clock = ManualClock::at(SystemClock.now());
    let wanted = Wanted::new(["shop.example"]);
    let acme = Acme::builder(store)
        .authority(busy.authority().with_profile("shortlived"))
        .clock(Arc::new(clock.clone()))
        .want(wanted.clone())
        .build()
        .unwrap();
    let error = soon(acme.obtain(&wanted)).await.unwrap_err();
    assert!(error.to_string().contains("later"), "{error}");
    let [order] = &busy.orders()[..] else {
        panic!("one order: {:?}", busy.orders())
    };
    assert_eq!(order["profile"], "shortlived");
    assert_eq!(order["identifiers"][0]["value"], "shop.example");

    // Not even an operator disturbs it, and nobody tries before the time.
    let error = soon(acme.obtain(&wanted)).await.unwrap_err();
    assert!(error.to_string().contains("no authority can be asked now"));
    assert_eq!(busy.orders().len(), 1);
    let state = std::fs::read_to_string(state.path().join("state/shop.example.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let next = state["next_attempt"].as_u64().unwrap();
    assert!(next >= clock.now().as_secs() + 7199, "{state}");

    clock.advance(Duration::from_secs(7201));
    soon(acme.obtain(&wanted)).await.unwrap_err();
    assert_eq!(busy.orders().len(), 2);
}

/// One certificate's own wish overrides that of the authority's entry.
#[tokio::test]
async fn a_certificate_may_want_another_profile() {
    let busy = Busy::start(None).await;
    let state = tempfile::tempdir().unwrap();
    let store = Arc::new(cirrus_tls::acme::DiskStore::open(state.path()).unwrap());
    let wanted = Wanted::new(["shop.example"]).with_profile("classic");
    let authority = busy.authority().with_profile("shortlived");
    let acme = Acme::builder(store).authority(authority).build().unwrap();
    soon(acme.obtain(&wanted)).await.unwrap_err();
    assert_eq!(busy.orders()[0]["profile"], "classic");
}

#[tokio::test]
async fn the_authority_says_when_to_renew() {
    let shared = Shared::new(PebbleServer::start());
    let clock = ManualClock::at(SystemClock.now());
    let day = Duration::from_secs(24 * 60 * 60);
    let start = Arc::new(AtomicU64::new(clock.now().after(10 * day).as_secs()));
    let window = Arc::clone(&start);
    let pebble = shared.pebble.url();
    let base = pebble.trim_end_matches("/dir").to_owned();
    let mock = Origin::new()
        .get("/dir", move |asked| {
            let directory = json!({
                "newNonce": format!("{base}/nonce-plz"),
                "newAccount": format!("{base}/sign-me-up"),
                "newOrder": format!("{base}/order-plz"),
                "revokeCert": format!("{base}/revoke-cert"),
                "keyChange": format!("{base}/rollover-account-key"),
                "renewalInfo": format!("http://{}/renewal", asked.header("host")),
            });
            reply(directory.to_string())
        })
        .get("*", move |_| {
            let at = Timestamp::from_secs(window.load(Ordering::SeqCst));
            let end = at.after(Duration::from_secs(3600));
            let window = json!({"suggestedWindow": {"start": rfc3339(at), "end": rfc3339(end)}});
            reply(window.to_string()).with("retry-after", "21600")
        })
        .run()
        .await;
    let directory = format!("{}/dir", mock.url());
    let node = |authority: Authority| {
        let builder = Acme::builder(shared.store()).authority(authority);
        let builder = builder.clock(Arc::new(clock.clone()));
        builder.want(Wanted::new(["shop.example"])).build().unwrap()
    };
    let authority = Authority::new("pebble", &directory).with_roots(shared.pebble.root());
    let acme = node(authority);
    let edge = shared.run(&acme).await;
    let first = soon(shared.until_shown("shop.example")).await;
    // It is asked a few seconds after the issue: the clock is ours, the agenda's pause is not.
    let wished = start.load(Ordering::SeqCst);
    soon(async {
        loop {
            clock.advance(Duration::from_secs(1));
            let next = acme.reports().swap_remove(0).next_renewal;
            if next.is_some_and(|at| (wished..wished + 3601).contains(&at.as_secs())) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let asked = mock.asked();
    let asked = asked.iter().find(|one| one.target.starts_with("/renewal/"));
    let id = asked
        .unwrap()
        .target
        .trim_start_matches("/renewal/")
        .to_owned();
    assert!(id.contains('.'), "key identifier and serial number: {id}");
    edge.shutdown().await;

    // The authority has it revoked, say, and wants it to be replaced at once; the order says what is replaced.
    start.store(clock.now().as_secs() - 7200, Ordering::SeqCst);
    clock.advance(Duration::from_secs(7 * 60 * 60));
    let renewal = format!("{}/renewal", mock.url());
    let busy = Busy::start(Some(renewal)).await;
    let acme = node(busy.authority());
    let edge = shared.run(&acme).await;
    soon(async {
        while busy.orders().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(busy.orders()[0]["replaces"], id);
    assert_eq!(
        shared.shown("shop.example").await.unwrap(),
        first,
        "served on"
    );
    edge.shutdown().await;
}

#[tokio::test]
async fn on_demand_for_names_that_somebody_allows() {
    let shared = Shared::new(PebbleServer::start());
    let guard = Origin::new()
        .get("/may", |asked| match asked.target.as_str() {
            "/may?key=1&domain=good.example" => reply(""),
            "/may?key=1&domain=moved.example" => reply("").with_status(302),
            _ => reply("").with_status(404),
        })
        .run()
        .await;
    let on_demand = OnDemand::matching([""; 0]);
    let on_demand = on_demand.asking(format!("{}/may?key=1", guard.url()));
    let builder = shared.builder().on_demand(on_demand.unwrap());
    let acme = builder.build().unwrap();
    let edge = shared.run(&acme).await;
    let shown = soon(shared.until_shown("good.example")).await;
    assert_eq!(names(&shown), ["good.example"]);
    for refused in ["bad.example", "moved.example"] {
        assert!(shared.shown(refused).await.is_err(), "{refused}");
        let loaded = acme.load(&name(refused)).await;
        assert!(matches!(loaded, Err(CertError::NotFound(_))), "{refused}");
        assert!(
            acme.status()
                .await
                .unwrap()
                .iter()
                .all(|one| one.name != refused)
        );
    }

    // What cannot be asked allows nothing, and refuses nothing for good.
    guard.stop();
    let loaded = acme.load(&name("other.example")).await;
    assert!(
        matches!(loaded, Err(CertError::Unavailable { .. })),
        "{loaded:?}"
    );
    edge.shutdown().await;
}

fn rfc3339(at: Timestamp) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap();
    let at = x509_parser::time::ASN1Time::from_timestamp(seconds).unwrap();
    let at = at.to_datetime();
    let (hour, minute, second) = at.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", at.date())
}

/// What the JWS of a request says.
fn payload(asked: &Asked) -> Value {
    let body = asked.body.clone().unwrap_or_default();
    let jws: Value = serde_json::from_slice(&body).unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str().unwrap());
    serde_json::from_slice(&payload.unwrap()).unwrap()
}
