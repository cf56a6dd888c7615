//! Many requests while the configuration is replaced all the time: no error, no wrong body.
//!
//! By hand, in a release build: `CIRRUS_SOAK_REQUESTS=1000000 CIRRUS_SOAK_CLIENTS=200`.

use std::net::SocketAddr;
use std::time::Duration;

use cirrus_core::testing::{Asked, Client, Describe, Origin, RunningOrigin, proxy, reply};
use tokio::task::JoinSet;

use crate::random::{Random, from_env};
use crate::{WORKERS, counted, with_store};

/// How often the configuration is replaced.
const REPLACED: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_notices_that_the_configuration_is_replaced() {
    let clients = from_env("CIRRUS_SOAK_CLIENTS", 50);
    let requests = from_env("CIRRUS_SOAK_REQUESTS", 20_000) / clients;
    let origins = [origin().await, origin().await];
    let proxy = with_store(proxy::new(&sites(&origins, 0))).run().await;
    let mut crowd = JoinSet::new();
    for number in 0..clients {
        crowd.spawn(visit(proxy.address(), number, requests));
    }
    let mut ticks = tokio::time::interval(REPLACED);
    let mut step = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                step += 1;
                proxy.reconfigure(&sites(&origins, step));
            }
            done = crowd.join_next() => match done {
                Some(done) => done.expect("no error and no wrong body"),
                None => break,
            },
        }
    }
    assert!(
        proxy.revision() > step / 10,
        "{} of {step} configurations came into force",
        proxy.revision()
    );
    let all = clients * requests;
    let hits = counted(&proxy, "hit").await;
    assert!(hits > all / 2, "{hits} hits of {all}");
    let mut words = 0;
    for word in [
        "hit",
        "stale",
        "revalidated",
        "collapsed",
        "miss",
        "pass",
        "none",
    ] {
        words += counted(&proxy, word).await;
    }
    assert_eq!(words, all);
}

async fn visit(address: SocketAddr, number: u64, requests: u64) {
    let mut random = Random::seeded(number);
    let mut client = Client::to(address);
    for _ in 0..requests {
        let host = random.of(&[
            "stays.example",
            "moves.example",
            "a.any.example",
            "b.any.example",
        ]);
        let path = format!("/{}", random.below(40));
        client = client.host(host);
        let reply = client.get(&path).await;
        assert_eq!((reply.status, reply.text()), (200, &*body(host, &path)));
    }
}

fn body(host: &str, target: &str) -> String {
    format!("{host}{target} ").repeat(1 + target.len() * 10)
}

/// One path in forty is never stored.
async fn origin() -> RunningOrigin {
    let answer = |asked: Asked| {
        let control = if asked.target == "/39" {
            "private"
        } else {
            "max-age=3600"
        };
        reply(body(&asked.header("host"), &asked.target)).with("cache-control", control)
    };
    Origin::new().get("*", answer).run().await
}

/// One site stays as it is, one moves between the origins, one changes its timeouts, and one comes and goes.
fn sites(origins: &[RunningOrigin; 2], step: u64) -> String {
    let site = |hosts: &str, origin: &RunningOrigin, more: &str| {
        let url = origin.url();
        format!(
            "[[site]]\nhosts = [\"{hosts}\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{url}\" }}]\n{more}"
        )
    };
    let [one, two] = origins;
    let moved = if step.is_multiple_of(2) { one } else { two };
    let timeouts = format!("timeouts = {{ first_byte = \"{}s\" }}\n", 30 + step % 30);
    let mut text = WORKERS.to_owned()
        + &site("stays.example", one, "")
        + &site("moves.example", moved, "")
        + &site("*.any.example", two, &timeouts);
    if step.is_multiple_of(3) {
        text += &site("fleeting.example", one, "");
    }
    text
}
