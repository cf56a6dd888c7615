//! Several clusters share a route's requests, and one that only gets copies.

use std::time::Duration;

use cirrus_core::testing::{Client, Origin, RunningOrigin, proxy, reply};

use crate::balancing::origins;
use crate::upstream::metric;

/// Another configuration, once it is in force.
pub(crate) async fn change(proxy: &proxy::Running, toml: &str) {
    let before = proxy.revision();
    proxy.reconfigure(toml);
    until(|| proxy.revision() > before).await;
}

/// Waits for what happens behind the client's back.
async fn until(happened: impl Fn() -> bool) {
    let looking = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking)
        .await
        .unwrap();
}

fn clusters(origins: &[RunningOrigin]) -> String {
    let numbered = origins.iter().enumerate();
    let one = |(number, origin): (usize, &RunningOrigin)| {
        let url = origin.url();
        format!("[[cluster]]\nname = \"v{number}\"\norigin = [{{ url = \"{url}\" }}]\n")
    };
    numbered.map(one).collect()
}

fn split(origins: &[RunningOrigin], weights: [u16; 2], by: &str) -> String {
    let [one, other] = weights;
    format!(
        "{}[[site]]\nhosts = [\"*\"]\n[[site.route]]\nsplit_by = \"{by}\"\n\
         split = [{{ cluster = \"v0\", weight = {one} }}, {{ cluster = \"v1\", weight = {other} }}]\n",
        clusters(origins)
    )
}

/// How many of so many users go to the second cluster, and which.
async fn second(proxy: &proxy::Running, users: usize, header: &str) -> Vec<usize> {
    let mut client = Client::to(proxy.address());
    let mut second = Vec::new();
    for user in 0..users {
        let header = header.replace("{}", &format!("user{user}"));
        if client.ask("GET", "/", &header, b"").await.text() == "1" {
            second.push(user);
        }
    }
    second
}

#[tokio::test]
async fn requests_are_shared_by_chance_and_shares_change_while_running() {
    let origins = origins(2).await;
    let proxy = proxy::new(&split(&origins, [1, 0], "random")).run().await;
    assert_eq!(second(&proxy, 50, "").await.len(), 0);
    change(&proxy, &split(&origins, [50, 50], "random")).await;
    let half = second(&proxy, 400, "").await.len();
    assert!((140..260).contains(&half), "{half}");
    change(&proxy, &split(&origins, [0, 1], "random")).await;
    assert_eq!(second(&proxy, 50, "").await.len(), 50);
}

#[tokio::test]
async fn a_user_stays_with_a_version_while_its_share_grows() {
    let origins = origins(2).await;
    for (by, header) in [
        ("header:x-user", "x-user: {}\r\n"),
        ("cookie:u", "cookie: u={}\r\n"),
    ] {
        let proxy = proxy::new(&split(&origins, [80, 20], by)).run().await;
        let few = second(&proxy, 200, header).await;
        assert!((20..65).contains(&few.len()), "{}", few.len());
        assert_eq!(second(&proxy, 200, header).await, few);
        change(&proxy, &split(&origins, [50, 50], by)).await;
        let more = second(&proxy, 200, header).await;
        assert!((70..130).contains(&more.len()), "{}", more.len());
        assert!(
            few.iter().all(|user| more.contains(user)),
            "nobody goes back"
        );
    }
}

fn mirrored(origins: &[RunningOrigin], mirror: &str) -> String {
    format!(
        "{}[[site]]\nhosts = [\"*\"]\ncluster = \"v0\"\nmirror = {{ cluster = \"v1\", {mirror} }}\n",
        clusters(origins)
    )
}

#[tokio::test]
async fn copies_are_like_their_originals_and_nobody_waits_for_them() {
    let main = Origin::new().get("*", |_| reply("main")).run().await;
    // Never answers.
    let shadow = Origin::new()
        .later("*", |_| std::future::pending())
        .run()
        .await;
    let origins = [main, shadow];
    let toml = mirrored(
        &origins,
        "percent = 100, buffer = \"1KiB\", concurrency = 3",
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(
        client
            .ask("POST", "/a?b=c", "x-a: 1\r\n", b"body")
            .await
            .text(),
        "main"
    );
    assert_eq!(client.get("/").await.text(), "main");
    until(|| origins[1].count() == 2).await;
    let mut copies = origins[1].asked();
    copies.sort_by_key(|copy| copy.method.clone());
    let copy = &copies[1];
    assert_eq!(
        (copy.method.as_str(), copy.target.as_str()),
        ("POST", "/a?b=c")
    );
    assert_eq!(copy.body.as_deref(), Some(&b"body"[..]));
    assert_eq!(copy.header("x-a"), "1");
    assert_ne!(copy.header("via"), "");

    assert_eq!(
        client.ask("POST", "/", "", &[b'x'; 2000]).await.text(),
        "main"
    );
    assert_eq!(
        metric(&proxy, "cirrus_mirror_dropped_total").await,
        1.0,
        "too large"
    );
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "main");
    }
    assert_eq!(metric(&proxy, "cirrus_mirrored_requests_total").await, 3.0);
    assert_eq!(
        metric(&proxy, "cirrus_mirror_dropped_total").await,
        3.0,
        "too many"
    );
    assert_eq!(origins[0].count(), 6);
}

#[tokio::test]
async fn only_a_share_is_copied() {
    let origins = origins(2).await;
    let proxy = proxy::new(&mirrored(&origins, "percent = 25")).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..200 {
        assert_eq!(client.get("/").await.text(), "0");
    }
    let copies = metric(&proxy, "cirrus_mirrored_requests_total").await;
    assert!((20.0..80.0).contains(&copies), "{copies}");
}

/// A split route asks an origin: it can rewrite, and is told as what it is.
#[tokio::test]
async fn a_split_is_explained_and_can_rewrite() {
    let origins = origins(2).await;
    let config = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n{}\
         path = \"/new/*\"\nrewrite = {{ strip_prefix = \"/new\" }}\n",
        split(&origins, [9, 1], "random")
    );
    let proxy = proxy::new(&config).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/new/a").await.status, 200);
    let asked = origins.iter().flat_map(|origin| origin.asked());
    let targets: Vec<_> = asked.map(|asked| asked.target).collect();
    assert_eq!(targets, ["/a"]);
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let told = admin.get("/api/v1/explain?url=http://a/new/a").await;
    let wanted = "answered by split v0 (9), v1 (1)";
    assert!(told.text().contains(wanted), "{}", told.text());
}
