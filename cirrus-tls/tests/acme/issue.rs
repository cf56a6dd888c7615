//! Obtained, renewed, shared, on demand; by HTTP-01 and TLS-ALPN-01.

use cirrus_core::downstream::{CertProvider, Hello, Lookup};
use cirrus_core::testing::Client;
use cirrus_core::testing::process::{PebbleServer, PebbleSettings};
use cirrus_tls::acme::{Acme, Authority, Challenge, OnDemand, Renewal, Wanted};

use crate::edge::{Shared, name, names};
use crate::soon;

#[tokio::test]
async fn by_http() {
    let shared = Shared::new(PebbleServer::start());
    let wanted = Wanted::new(["shop.example", "www.shop.example"]);
    let acme = shared.builder().want(wanted).build().unwrap();
    let edge = shared.run(&acme).await;
    let shown = soon(shared.until_shown("www.shop.example")).await;
    assert_eq!(names(&shown), ["shop.example", "www.shop.example"]);
    assert_eq!(shared.shown("shop.example").await.unwrap(), shown);
    assert!(shared.shown("other.example").await.is_err());
    let tokens = std::fs::read_dir(shared.state.path().join("tokens")).unwrap();
    assert_eq!(tokens.count(), 0, "answers are cleared");

    // What is no challenge of ours goes to its route.
    let mut client = Client::to(shared.pebble.http());
    let path = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
    assert_eq!(client.get(path).await.status, 204);
    edge.shutdown().await;

    // It is there after a restart, without another order.
    let again = Acme::builder(shared.store()).build().unwrap();
    let loaded = again.load(&name("shop.example")).await.unwrap();
    assert_eq!(loaded.key.cert[0], shown);
}

#[tokio::test]
async fn by_tls() {
    let shared = Shared::new(PebbleServer::start());
    let wanted = Wanted::new(["shop.example"]).by(Challenge::TlsAlpn01);
    let acme = shared.builder().build().unwrap();
    let edge = shared.run(&acme).await;
    soon(acme.obtain(&wanted)).await.unwrap();
    let shown = soon(shared.until_shown("shop.example")).await;
    assert_eq!(names(&shown), ["shop.example"]);
    edge.shutdown().await;
}

#[tokio::test]
async fn renewed_with_another_key_or_the_same() {
    let shared = Shared::new(PebbleServer::start());
    for reuse_key in [false, true] {
        let mut renewal = Renewal::default();
        renewal.reuse_key = reuse_key;
        let wanted = Wanted::new(["shop.example"]);
        let builder = shared.builder().renewal(renewal);
        let acme = builder.want(wanted).build().unwrap();
        let edge = shared.run(&acme).await;
        soon(shared.until_shown("shop.example")).await;
        soon(acme.renew("shop.example")).await.unwrap();
        let before = acme.load(&name("shop.example")).await.unwrap();
        soon(acme.renew("shop.example")).await.unwrap();
        let after = acme.load(&name("shop.example")).await.unwrap();
        assert_ne!(before.key.cert[0], after.key.cert[0]);
        let key = |of: &cirrus_core::downstream::Certificate| {
            of.key.key.public_key().map(|key| key.to_vec())
        };
        assert_eq!(key(&before) == key(&after), reuse_key);
        let shown = shared.shown("shop.example").await.unwrap();
        assert_eq!(shown, after.key.cert[0]);
        edge.shutdown().await;
    }
}

#[tokio::test]
async fn with_an_account_that_one_has_already() {
    let mut settings = PebbleSettings::default();
    let (id, key) = (
        "kid-1",
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
    );
    settings.bindings = vec![(id.to_owned(), key.to_owned())];
    let shared = Shared::new(PebbleServer::with(&settings));
    let wanted = Wanted::new(["shop.example"]);

    let without = shared.builder().want(wanted.clone()).build().unwrap();
    let edge = shared.run(&without).await;
    let error = soon(without.obtain(&wanted)).await.unwrap_err();
    assert!(error.to_string().contains("externalAccount"), "{error}");

    use base64::Engine;
    let key = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(key).unwrap();
    let authority = shared.authority().with_binding(id, key);
    let with = Acme::builder(shared.store()).authority(authority);
    let with = with.want(wanted.clone()).build().unwrap();
    soon(with.obtain(&wanted)).await.unwrap();
    edge.shutdown().await;
}

#[tokio::test]
async fn fifty_at_once_with_nonces_refused() {
    let mut settings = PebbleSettings::default();
    settings.refused_nonces = 15;
    let shared = Shared::new(PebbleServer::with(&settings));
    let hosts: Vec<_> = (0..50).map(|n| format!("n{n}.example")).collect();
    let all = hosts.iter().map(|host| Wanted::new([host.as_str()]));
    let builder = all.fold(shared.builder(), |builder, wanted| builder.want(wanted));
    let acme = builder.build().unwrap();
    let edge = shared.run(&acme).await;
    for host in &hosts {
        soon(shared.until_shown(host)).await;
    }
    edge.shutdown().await;
}

#[tokio::test]
async fn two_nodes_make_one_order() {
    let shared = Shared::new(PebbleServer::start());
    let wanted = Wanted::new(["shop.example"]);
    let node = || shared.builder().want(wanted.clone()).build().unwrap();
    let (one, other) = (node(), node());
    let edge = shared.run(&one).await;
    let race = async {
        tokio::select! {
            () = one.maintain() => {}
            () = other.maintain() => {}
            shown = shared.until_shown("shop.example") => return shown,
        }
        unreachable!("maintenance does not end")
    };
    let shown = soon(race).await;
    for node in [&one, &other] {
        let loaded = node.load(&name("shop.example")).await.unwrap();
        assert_eq!(loaded.key.cert[0], shown);
    }
    let fence = std::fs::read_to_string(shared.state.path().join("locks/shop.example.lock"));
    assert!(fence.unwrap().parse::<u64>().unwrap() >= 1);
    let status = one.status().await.unwrap();
    assert_eq!((status.len(), status[0].failures), (1, 0));
    edge.shutdown().await;
}

#[tokio::test]
async fn on_demand_for_names_that_are_allowed() {
    let shared = Shared::new(PebbleServer::start());
    let on_demand = OnDemand::matching(["*.shops.example"]);
    let acme = shared.builder().on_demand(on_demand).build().unwrap();
    let edge = shared.run(&acme).await;
    let shown = soon(shared.until_shown("a.shops.example")).await;
    assert_eq!(names(&shown), ["a.shops.example"]);
    let other = name("a.other.example");
    let lookup = || acme.lookup(&Hello::new(Some(&other)));
    assert!(matches!(lookup(), Lookup::Unknown), "no store is asked");
    edge.shutdown().await;
}

#[tokio::test]
async fn another_authority_takes_over() {
    let shared = Shared::new(PebbleServer::start());
    let gone = format!("https://{}/dir", cirrus_core::testing::ports::free());
    let wanted = Wanted::new(["shop.example"]);
    let acme = Acme::builder(shared.store())
        .authority(Authority::new("gone", gone))
        .authority(shared.authority());
    let acme = acme.want(wanted.clone()).build().unwrap();
    let edge = shared.run(&acme).await;
    soon(shared.until_shown("shop.example")).await;
    let status = acme.status().await.unwrap();
    assert_eq!(status[0].authority.as_deref(), Some("pebble"));
    edge.shutdown().await;
}

#[tokio::test]
async fn what_the_authority_saw_is_told_and_remembered() {
    let shared = Shared::new(PebbleServer::start());
    let wanted = Wanted::new(["shop.example"]);
    let acme = shared.builder().want(wanted.clone()).build().unwrap();
    // Nobody listens where it looks.
    let error = soon(acme.obtain(&wanted)).await.unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("shop.example") && told.contains("refused"),
        "{told}"
    );
    let status = acme.status().await.unwrap();
    assert_eq!(status[0].failures, 1);
    assert_eq!(status[0].last_error.as_deref(), Some(told.as_str()));
    assert_eq!(status[0].not_after, None);
}
