//! No client ever receives another's bytes: everything at once, by chance, and every body is looked at.
//!
//! A body says for whom it was made: scheme, host, path, language and user, with `-` where it is for everybody.

mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use cirrus_core::testing::{Client, proxy};
use tokio::task::JoinSet;

use self::world::{HOSTS, LANGUAGES, PATHS, Wanted, origin, sites};
use crate::random::{Random, from_env};
use crate::tls::{Known, secure_client};
use crate::{MIB, counted, did, secs, store};

const CLIENTS: usize = 64;

/// One client, as good as its connection.
struct Visitor {
    client: Client,
    address: SocketAddr,
    /// Whom it trusts, if it comes by TLS.
    known: Option<Known>,
    random: Random,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_what_is_for_another() {
    let seed = from_env("CIRRUS_SOAK_SEED", 1);
    let requests = from_env("CIRRUS_SOAK_REQUESTS", 6400);
    let origin = origin(seed).await;
    let known = Known::for_names(&HOSTS.map(|host| host.split(':').next().unwrap_or(host)));
    let plain = proxy::new(&sites(&origin.url(), 0));
    let clock = plain.clock();
    // So small that things are evicted all the time.
    let stored = store(&clock, 2 * MIB, MIB / 4);
    let shared = stored.clone();
    let plain = plain.with(|builder| builder.cache(stored)).run().await;
    let secure = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}",
        sites(&origin.url(), 0)
    );
    let (certs, time) = (known.clone(), clock.clone());
    // One store for both: only the key keeps the schemes apart.
    let secure = proxy::new(&secure)
        .with(|builder| builder.cache(shared).certs(certs).clock(time))
        .run()
        .await;

    let mut visitors = JoinSet::new();
    for number in 0..CLIENTS {
        let is_secure = number % 4 == 0;
        let visitor = Visitor {
            client: Client::to(plain.address()),
            address: if is_secure {
                secure.address()
            } else {
                plain.address()
            },
            known: is_secure.then(|| known.clone()),
            random: Random::seeded(seed + 1000 + number as u64),
        };
        visitors.spawn(visitor.visit(requests / CLIENTS as u64));
    }
    let mut random = Random::seeded(seed);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    for step in 1.. {
        tokio::select! {
            _ = ticks.tick() => {}
            done = visitors.join_next() => match done {
                Some(done) => done.expect("nothing that is for another"),
                None => break,
            },
        }
        clock.advance(secs(random.below(3) as u64));
        plain.reconfigure(&sites(&origin.url(), step));
        secure.reconfigure(&sites(&origin.url(), step));
    }
    for word in ["hit", "miss", "pass", "collapsed", "revalidated", "stale"] {
        assert_ne!(
            counted(&plain, word).await,
            0,
            "nothing was {word}: the mix is too tame"
        );
    }
    assert!(plain.revision() > 5);
}

impl Visitor {
    async fn visit(mut self, requests: u64) {
        self.connect().await;
        for _ in 0..requests {
            let wanted = self.choose();
            self.client =
                std::mem::replace(&mut self.client, Client::to(self.address)).host(wanted.host);
            self.ask(&wanted).await;
        }
    }

    async fn connect(&mut self) {
        self.client = match &self.known {
            Some(known) => secure_client(self.address, known, HOSTS[0]).await,
            None => Client::to(self.address),
        };
    }

    fn choose(&mut self) -> Wanted {
        let random = &mut self.random;
        let lines = [
            "",
            "",
            "",
            "range: bytes=3-40\r\n",
            "if-none-match: \"nothing\"\r\n",
            "if-none-match: *\r\n",
        ];
        Wanted {
            scheme: if self.known.is_some() {
                "https"
            } else {
                "http"
            },
            host: random.of(&HOSTS),
            path: random.of(&PATHS),
            language: random.of(&LANGUAGES),
            user: random.of(&["-", "anna", "bert", "carl", "dora"]),
            by_cookie: random.below(2) == 0,
            method: random.of(&[
                "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST",
            ]),
            lines: random.of(&lines),
        }
    }

    async fn ask(&mut self, wanted: &Wanted) {
        self.client.send(wanted.head().as_bytes()).await;
        let Some(reply) = self.client.reply_or_end(wanted.method).await else {
            assert!(wanted.may_break(), "broken off: {wanted:?}");
            return self.connect().await;
        };
        let told = || {
            format!(
                "{wanted:?} got {:?} by {}",
                String::from_utf8_lossy(&reply.body),
                did(&reply)
            )
        };
        match reply.status {
            200 if wanted.method == "HEAD" => {}
            200 => assert!(wanted.allows(reply.text(), &did(&reply)), "{}", told()),
            206 => assert!(wanted.allows_part(&reply), "{}", told()),
            304 => assert!(
                wanted.lines.starts_with("if-none-match") && reply.body.is_empty(),
                "{}",
                told()
            ),
            // The site is away for a moment.
            404 => assert_eq!(wanted.host, "away.example", "{}", told()),
            // The origin has broken off before its answer began.
            502 => assert!(wanted.may_break(), "{}", told()),
            500 if wanted.method == "HEAD" => {}
            500 => assert_eq!(reply.text(), "out of order", "{}", told()),
            _ => panic!("{}: {}", reply.status, told()),
        }
        if reply.closes {
            self.connect().await;
        }
    }
}

/// An origin's handler runs wherever the test's runtime likes.
type Shared<T> = Arc<parking_lot::Mutex<T>>;
