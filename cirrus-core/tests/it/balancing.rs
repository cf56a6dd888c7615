//! Which endpoint is asked.

use std::collections::HashMap;

use cirrus_core::testing::{Client, Origin, RunningOrigin, proxy, reply};

/// So many origins, each of which answers everything with its number.
pub(crate) async fn origins(count: usize) -> Vec<RunningOrigin> {
    let mut all = Vec::new();
    for number in 0..count {
        let answer = move |_| reply(number.to_string());
        all.push(Origin::new().get("*", answer).run().await);
    }
    all
}

pub(crate) fn list(key: &str, origins: &[RunningOrigin]) -> String {
    let one = |origin: &RunningOrigin| format!("[[{key}]]\nurl = \"{}\"\n", origin.url());
    origins.iter().map(one).collect()
}

fn site(balance: &str, origins: &[RunningOrigin]) -> String {
    let list = list("site.origin", origins);
    format!("[[site]]\nhosts = [\"*\"]\nbalance = {{ {balance} }}\n{list}")
}

async fn asked(client: &mut Client, path: &str, headers: &str) -> String {
    client
        .ask("GET", path, headers, b"")
        .await
        .text()
        .to_owned()
}

#[tokio::test]
async fn every_policy_serves_and_spreads() {
    let origins = origins(3).await;
    for policy in [
        "round_robin",
        "random",
        "least_requests",
        "peak_ewma",
        "least_connections",
        "ring",
        "maglev",
        "rendezvous",
    ] {
        let hash = match policy {
            "ring" | "maglev" | "rendezvous" => ", hash = \"path\"",
            _ => "",
        };
        let toml = site(&format!("policy = \"{policy}\"{hash}"), &origins);
        let proxy = proxy::new(&toml).run().await;
        let mut client = Client::to(proxy.address());
        let mut shares: HashMap<String, usize> = HashMap::new();
        for n in 0..120 {
            *shares
                .entry(asked(&mut client, &format!("/{n}"), "").await)
                .or_default() += 1;
        }
        assert_eq!(shares.values().sum::<usize>(), 120);
        // By its latency one of them may be far ahead of the others.
        let least = if policy == "peak_ewma" { 1 } else { 3 };
        assert!(shares.len() >= least, "{policy}: {shares:?}");
    }
}

#[tokio::test]
async fn the_same_key_goes_to_the_same_endpoint() {
    let origins = origins(5).await;
    for (hash, path, header) in [
        ("header:x-user", "/", "x-user: {}\r\n"),
        ("cookie:user", "/", "cookie: a=b; user={}\r\n"),
        ("path", "/{}", ""),
        ("query:user", "/?a=b&user={}", ""),
        ("query", "/?{}", ""),
    ] {
        let toml = site(&format!("policy = \"maglev\", hash = \"{hash}\""), &origins);
        let proxy = proxy::new(&toml).run().await;
        let mut client = Client::to(proxy.address());
        let mut seen = std::collections::HashSet::new();
        for user in 0..30 {
            let of = |text: &str| text.replace("{}", &format!("user{user}"));
            let first = asked(&mut client, &of(path), &of(header)).await;
            for _ in 0..3 {
                assert_eq!(
                    asked(&mut client, &of(path), &of(header)).await,
                    first,
                    "{hash}"
                );
            }
            seen.insert(first);
        }
        assert!(seen.len() >= 4, "{hash}: {seen:?}");
    }
}

#[tokio::test]
async fn a_session_stays_with_its_endpoint_which_it_does_not_tell() {
    let origins = origins(3).await;
    let sticky = "sticky = { cookie = \"sid\", ttl = \"1h\", secret = \"0123456789abcdef\" }";
    let proxy = proxy::new(&site(sticky, &origins)).run().await;
    let mut client = Client::to(proxy.address());
    let first = client.get("/").await;
    let told = first.header("set-cookie");
    assert!(
        told.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"),
        "{told}"
    );
    assert!(!told.contains("127.0.0.1"));
    let cookie = format!("cookie: {}\r\n", told.split(';').next().unwrap());
    for _ in 0..9 {
        let again = client.ask("GET", "/", &cookie, b"").await;
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("set-cookie"), "", "it is known");
    }
    let other = client
        .ask("GET", "/", "cookie: sid=0000000000000001\r\n", b"")
        .await;
    assert_ne!(other.header("set-cookie"), "", "nobody's session");

    // Drained, it keeps the session and gets no other; the secret is the same after a restart.
    let place: usize = first.text().parse().unwrap();
    let toml = site(sticky, &origins);
    let url = format!("url = \"{}\"\n", origins[place].url());
    let toml = toml.replace(&url, &format!("{url}drain = true\n"));
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..6 {
        assert_eq!(asked(&mut client, "/", &cookie).await, first.text());
        assert_ne!(asked(&mut client, "/", "").await, first.text());
    }
}

#[tokio::test]
async fn the_own_zone_and_the_lower_priority_go_first() {
    let origins = origins(3).await;
    let [near, far, backup] = &origins[..] else {
        panic!("three")
    };
    let list = |near: &str| {
        format!(
            "[[site]]\nhosts = [\"*\"]\nbalance = {{ zone = \"a\" }}\n\
             [[site.origin]]\nurl = \"{near}\"\nzone = \"a\"\n\
             [[site.origin]]\nurl = \"{}\"\nzone = \"b\"\n\
             [[site.origin]]\nurl = \"{}\"\npriority = 1\n",
            far.url(),
            backup.url()
        )
    };
    let proxy = proxy::new(&list(&near.url())).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..20 {
        assert_eq!(asked(&mut client, "/", "").await, "0");
    }
    let proxy = proxy::new(&list(&crate::nowhere())).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..20 {
        assert_eq!(asked(&mut client, "/", "").await, "1", "spilled over");
    }
}

#[tokio::test]
async fn weights_change_while_running() {
    let origins = origins(2).await;
    let toml = |weight: u16| {
        let list = list("site.origin", &origins);
        let first = format!("url = \"{}\"\n", origins[0].url());
        let list = list.replace(&first, &format!("{first}weight = {weight}\n"));
        format!("[[site]]\nhosts = [\"*\"]\n{list}")
    };
    let proxy = proxy::new(&toml(1)).run().await;
    let mut client = Client::to(proxy.address());
    let mut share = async || {
        let mut first = 0;
        for _ in 0..40 {
            first += usize::from(asked(&mut client, "/", "").await == "0");
        }
        first
    };
    assert_eq!(share().await, 20);
    crate::canary::change(&proxy, &toml(3)).await;
    assert_eq!(share().await, 30);
}
