//! By DNS-01: dynamic updates at a real name server, and acme-dns.

use std::sync::Arc;

use cirrus_core::testing::process::{KnotServer, PebbleServer, PebbleSettings};
use cirrus_core::testing::{Asked, Describe, Origin, reply};
use cirrus_tls::acme::{
    AcmeDns, Challenge, DnsSolver, Propagation, Rfc2136, TsigKey, TxtRecord, Wanted,
};

use crate::edge::{Shared, name, names};
use crate::soon;
use cirrus_core::downstream::CertProvider;

#[tokio::test]
async fn by_dynamic_update() {
    let knot = KnotServer::start("_acme-challenge.alias CNAME elsewhere.test.\n");
    let shared = Shared::new(asking(&knot));
    let solver: Arc<dyn DnsSolver> = Arc::new(solver(&knot));
    for wanted in [
        vec!["shop.test", "*.shop.test"],
        // Somebody else's record, which an alias leads to.
        vec!["alias.test"],
    ] {
        let wanted = Wanted::new(wanted).by(Challenge::Dns01(Arc::clone(&solver)));
        let acme = shared.builder().want(wanted.clone()).build().unwrap();
        soon(acme.obtain(&wanted)).await.unwrap();
        let loaded = acme.load(&name(wanted.id())).await.unwrap();
        let mut expected = wanted.names.clone();
        expected.sort();
        assert_eq!(names(&loaded.key.cert[0]), expected);
    }
    for name in ["_acme-challenge.shop.test", "elsewhere.test"] {
        assert!(texts(&knot, name).is_empty(), "{name} is cleared");
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_servers_is_told() {
    let knot = KnotServer::start("");
    let (name, algorithm, _) = KnotServer::KEY;
    let key = TsigKey::new(name, algorithm, "d3Jvbmc=").unwrap();
    let solver = Rfc2136::new(knot.address()).with_key(key);
    let record = TxtRecord::new("shop.test", "value");
    let error = solver.present(&record).await.unwrap_err();
    let told = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
    assert!(
        error.to_string().contains("_acme-challenge.shop.test"),
        "{error} {told}"
    );
    assert!(texts(&knot, &record.name).is_empty());
}

#[tokio::test]
async fn values_stand_beside_each_other() {
    let knot = KnotServer::start("");
    let solver = solver(&knot);
    let [one, two] = ["one", "two"].map(|value| TxtRecord::new("shop.test", value));
    for record in [&one, &two, &two] {
        solver.present(record).await.unwrap();
    }
    assert_eq!(texts(&knot, &one.name), ["one", "two"]);
    for _ in 0..2 {
        solver.cleanup(&one).await.unwrap();
    }
    assert_eq!(texts(&knot, &one.name), ["two"]);
}

fn solver(knot: &KnotServer) -> Rfc2136 {
    let (name, algorithm, secret) = KnotServer::KEY;
    Rfc2136::new(knot.address())
        .with_key(TsigKey::new(name, algorithm, secret).unwrap())
        .with_propagation(propagation(knot))
}

fn propagation(knot: &KnotServer) -> Propagation {
    let mut propagation = Propagation::default();
    propagation.resolvers = vec![knot.address()];
    propagation.servers = vec![knot.address()];
    propagation
}

fn asking(knot: &KnotServer) -> PebbleServer {
    let mut settings = PebbleSettings::default();
    settings.dns = Some(knot.address());
    PebbleServer::with(&settings)
}

/// What an independent client sees.
fn texts(knot: &KnotServer, name: &str) -> Vec<String> {
    let (at, port) = (
        knot.address().ip().to_string(),
        knot.address().port().to_string(),
    );
    let told = std::process::Command::new("kdig")
        .args([&format!("@{at}"), "-p", &port, "+short", name, "TXT"])
        .output()
        .expect("kdig is installed");
    let told = String::from_utf8(told.stdout).unwrap();
    let mut texts: Vec<_> = told
        .lines()
        .map(|line| line.trim_matches('"').to_owned())
        .collect();
    texts.sort();
    texts
}

/// Debian has no acme-dns: this is its API as its documentation has it, with a real name server behind it.
#[tokio::test]
async fn by_acme_dns() {
    let knot = Arc::new(KnotServer::start("_acme-challenge.shop CNAME abc.test.\n"));
    let shared = Shared::new(asking(&knot));
    let server = acme_dns(Arc::clone(&knot)).await;
    let store = shared.store();
    let dns = AcmeDns::new(server.url(), Arc::clone(&store)).unwrap();
    let dns = dns.with_propagation(propagation(&knot));
    let by = Challenge::Dns01(Arc::new(dns));
    let wanted = Wanted::new(["shop.test", "*.shop.test"]).by(by.clone());
    let acme = shared.builder().want(wanted.clone()).build().unwrap();
    soon(acme.obtain(&wanted)).await.unwrap();
    let loaded = acme.load(&name("shop.test")).await.unwrap();
    assert_eq!(names(&loaded.key.cert[0]), ["*.shop.test", "shop.test"]);
    soon(acme.obtain(&wanted)).await.unwrap();
    let registered = |asked: &[Asked]| {
        let targets = asked.iter().map(|one| one.target.as_str());
        targets.filter(|target| *target == "/register").count()
    };
    assert_eq!(registered(&server.asked()), 1, "credentials are kept");

    // What the domain's owner has not written is told, and nothing is sent to the wrong account.
    let before = server.count();
    let wanted = Wanted::new(["other.test"]).by(by);
    let error = soon(acme.obtain(&wanted)).await.unwrap_err().to_string();
    assert!(
        error.contains("_acme-challenge.other.test. CNAME abc.test."),
        "{error}"
    );
    assert_eq!(server.count(), before + 1, "it has registered, and no more");
}

/// One account, whose record is in the name server's zone.
async fn acme_dns(knot: Arc<KnotServer>) -> cirrus_core::testing::RunningOrigin {
    let account = r#"{"username":"u","password":"p","fulldomain":"abc.test","subdomain":"abc","allowfrom":[]}"#;
    Origin::new()
        .get("/register", move |_| reply(account).with_status(201))
        .later("/update", move |asked| {
            let solver = solver(&knot);
            async move {
                let of = |name: &str| asked.header(name);
                if (of("x-api-user"), of("x-api-key")) != ("u".into(), "p".into()) {
                    return reply(r#"{"error":"unauthorized"}"#).with_status(401);
                }
                let body: serde_json::Value =
                    serde_json::from_slice(&asked.body.clone().unwrap_or_default()).unwrap();
                assert_eq!(body["subdomain"], "abc");
                let value = body["txt"].as_str().unwrap();
                let mut record = TxtRecord::new("test", value);
                record.name = "abc.test".to_owned();
                solver.present(&record).await.unwrap();
                reply(format!("{{\"txt\":\"{value}\"}}"))
            }
        })
        .run()
        .await
}
