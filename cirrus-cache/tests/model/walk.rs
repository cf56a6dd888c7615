//! What happens, by chance, and what comes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::cache::{CacheKey, CacheStore, Mode, Purge, Scheme, Selection};
use cirrus_core::testing::{Client, Reply, RunningOrigin, proxy};
use cirrus_core::{Clock, ManualClock, Timestamp};
use http::uri::PathAndQuery;
use tokio::task::JoinSet;

use crate::Shared;
use crate::ask::{Ask, HOSTS, place};
use crate::origin::{self, label};
use crate::random::Random;
use crate::truth::{Place, Truth};

/// How many of the last things that happened are told when something is wrong.
const TOLD: usize = 25;

/// How long a store may take to be closed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Walk<O> {
    random: Random,
    truth: Arc<Truth>,
    origin: RunningOrigin,
    open: O,
    store: Shared,
    proxy: proxy::Running,
    last_id: u64,
    story: VecDeque<String>,
    /// How often the cache had which part in an answer.
    counts: BTreeMap<&'static str, u64>,
}

/// What came of a request; `None` if it broke off.
struct Told {
    ask: Ask,
    begun: u64,
    now: Timestamp,
    reply: Option<Reply>,
}

/// A walk of so many steps.
pub(crate) async fn walk(seed: u64, rounds: u64, open: impl Fn(&ManualClock) -> Option<Shared>) {
    let clock = ManualClock::at(Timestamp::from_secs(1_795_200_000));
    let truth = Arc::new(Truth::new(clock.clone()));
    let origin = origin::run(Arc::clone(&truth), seed).await;
    let store = opened(&open, &clock).await;
    let proxy = start(&origin, &clock, &store).await;
    let mut walk = Walk {
        random: Random::seeded(seed.wrapping_mul(0x1000_0001)),
        truth,
        origin,
        open,
        store,
        proxy,
        last_id: 0,
        story: VecDeque::new(),
        counts: BTreeMap::new(),
    };
    for round in 0..rounds {
        if let Err(wrong) = walk.round().await {
            let story = walk.story.make_contiguous().join("\n");
            panic!("seed {seed}, round {round}: {wrong}\n{story}");
        }
    }
    let Walk { counts, proxy, .. } = walk;
    proxy.shutdown().await;
    for word in [
        "hit",
        "miss",
        "stale",
        "vary-miss",
        "collapsed",
        "304",
        "206",
    ] {
        let is_there = counts.contains_key(word) || rounds < 100;
        assert!(is_there, "seed {seed}: no {word}, too tame: {counts:?}");
    }
}

async fn opened(open: &impl Fn(&ManualClock) -> Option<Shared>, clock: &ManualClock) -> Shared {
    let opening = async {
        loop {
            match open(clock) {
                Some(store) => return store,
                // What is left of the one before is being written.
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    let opened = tokio::time::timeout(PATIENCE, opening).await;
    opened.expect("a store that can be opened")
}

async fn start(origin: &RunningOrigin, clock: &ManualClock, store: &Shared) -> proxy::Running {
    let origin = origin.url();
    let toml = format!(
        "[server]\nworkers = 2\n[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\n\
         origin = [{{ url = \"{origin}\" }}]\n[[site.route]]\npath = \"/sliced/*\"\n\
         cache = {{ enable = true, slice = \"64KiB\" }}\norigin = [{{ url = \"{origin}\" }}]\n"
    );
    let (store, clock) = (Arc::clone(store), clock.clone());
    let proxy = proxy::new(&toml).with(|builder| builder.cache(store).clock(clock));
    proxy.run().await
}

// === impl Walk ===

impl<O: Fn(&ManualClock) -> Option<Shared>> Walk<O> {
    async fn round(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..12 => self.turn_forward(),
            12..15 => self.turn_back(),
            15..18 => self.restart().await,
            18..40 => return self.burst(true).await,
            _ => return self.burst(false).await,
        }
        Ok(())
    }

    fn tell(&mut self, what: String) {
        self.story.push_back(what);
        if self.story.len() > TOLD {
            self.story.pop_front();
        }
    }

    fn turn_forward(&mut self) {
        let secs = self.random.of(&[1, 1, 2, 4, 9, 31, 3600]);
        self.truth.clock.advance(Duration::from_secs(secs));
        self.tell(format!("{secs} s later"));
    }

    fn turn_back(&mut self) {
        let secs = self.random.of(&[1, 5, 60, 86_400]);
        let now = self.truth.clock.now().as_secs();
        self.truth.clock.set(Timestamp::from_secs(now - secs));
        self.tell(format!("the clock is set back by {secs} s"));
    }

    async fn restart(&mut self) {
        let clock = self.truth.clock.clone();
        // Something that holds nothing, so that the store is closed.
        let nothing: Shared = Arc::new(crate::memory(&clock));
        let between = start(&self.origin, &clock, &nothing).await;
        std::mem::replace(&mut self.proxy, between).shutdown().await;
        self.store = nothing;
        self.store = opened(&self.open, &clock).await;
        let proxy = start(&self.origin, &clock, &self.store).await;
        std::mem::replace(&mut self.proxy, proxy).shutdown().await;
        self.tell("a restart".to_owned());
    }

    /// Some requests at the same time, most of them for the same; with a purge among them, perhaps.
    async fn burst(&mut self, purges: bool) -> Result<(), String> {
        let count = self.random.of(&[1, 1, 1, 2, 3, 6]);
        let common = place(&mut self.random);
        let mut asking = JoinSet::new();
        for _ in 0..count {
            let place = match self.random.below(4) {
                0 => place(&mut self.random),
                _ => common,
            };
            self.last_id += 1;
            let ask = Ask::by_chance(self.last_id, place, &mut self.random, &self.truth);
            asking.spawn(asked(ask, Arc::clone(&self.truth), self.proxy.address()));
        }
        if purges {
            let wait = self.random.of(&[0, 0, 1, 3, 9]);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            self.purge(common).await;
            if self.random.below(2) == 0 {
                self.last_id += 1;
                let ask = Ask::by_chance(self.last_id, common, &mut self.random, &self.truth);
                asking.spawn(asked(ask, Arc::clone(&self.truth), self.proxy.address()));
            }
        }
        let mut right = Ok(());
        while let Some(told) = asking.join_next().await {
            let told = told.map_err(|error| error.to_string());
            right = right.and(told.and_then(|told| self.check(told)));
        }
        right
    }

    async fn purge(&mut self, place: Place) {
        let (what, concerns) = selection(place, &mut self.random);
        let is_soft = self.random.below(3) == 0;
        let purge = if is_soft {
            Purge::soft(what)
        } else {
            Purge::hard(what)
        };
        // Mostly because something has changed.
        if self.random.below(10) < 7 {
            self.truth.renew(&concerns);
        }
        let number = self.truth.purge(is_soft, concerns);
        let began = format!("{purge:?}");
        let done = self.store.purge(&purge).await;
        assert!(done.is_ok(), "{began}: {done:?}");
        assert_eq!(purge.mode == Mode::Soft, is_soft);
        self.truth.resolved(number);
        let at = self.truth.number();
        self.tell(format!("{at}: {began}"));
    }

    fn check(&mut self, told: Told) -> Result<(), String> {
        let Told {
            ask,
            begun,
            now,
            reply,
        } = told;
        let Some(reply) = reply else {
            self.tell(format!("{begun}: {ask:?} broke off"));
            let may_break = self.truth.may_break(ask.place);
            return if may_break {
                Ok(())
            } else {
                Err(format!("{ask:?} broke off"))
            };
        };
        let did = reply.header("cache-status");
        let short = reply.status;
        self.tell(format!(
            "{begun}: {ask:?} got {short} {} by {did}",
            reply.header("etag")
        ));
        self.count(&reply, &did);
        let with_reply = |why: String| format!("{why}\n{ask:?}\ngot {reply:?} at {begun}");
        match reply.status {
            _ if ask.is_unsafe() => Ok(()),
            500..=599 | 412 | 416 => Ok(()),
            _ => self
                .truth
                .judge(&ask, begun, now, &reply)
                .map_err(with_reply),
        }
    }

    fn count(&mut self, reply: &Reply, did: &str) {
        let words = ["hit", "collapsed", "vary-miss", "stale", "stored"];
        for word in words.into_iter().filter(|word| did.contains(word)) {
            *self.counts.entry(word).or_default() += 1;
        }
        let status = match reply.status {
            206 => "206",
            304 => "304",
            500..=599 => "5xx",
            _ => "other",
        };
        *self.counts.entry(status).or_default() += 1;
        if did.contains("uri-miss") {
            *self.counts.entry("miss").or_default() += 1;
        }
    }
}

async fn asked(ask: Ask, truth: Arc<Truth>, address: std::net::SocketAddr) -> Told {
    let (now, begun) = (truth.clock.now(), truth.number());
    let place = ask.place;
    // What an unsafe request may have changed is void once it has succeeded.
    let voids = ask
        .is_unsafe()
        .then(|| truth.purge(false, move |other| other == place));
    let mut client = Client::to(address);
    client.send(ask.head().as_bytes()).await;
    let reply = client.reply_or_end(ask.method).await;
    let has_succeeded = reply.as_ref().is_some_and(|reply| reply.status < 400);
    if let Some(purge) = voids.filter(|_| has_succeeded) {
        truth.resolved(purge);
    }
    Told {
        ask,
        begun,
        now,
        reply,
    }
}

type Concerns = Box<dyn Fn(Place) -> bool + Send>;

/// What a purge is for, and the places that it concerns.
fn selection(at: Place, random: &mut Random) -> (Selection, Concerns) {
    let host: Arc<str> = at.host.into();
    match random.below(12) {
        0..5 => {
            let target = PathAndQuery::from_static(at.path);
            let key = CacheKey::new(Scheme::Http, at.host, &target);
            (Selection::Url(key), Box::new(move |other| other == at))
        }
        5 | 6 => {
            let path = random.of(&[&at.path[..2], "/", "/plain/", "/s"]);
            let concerns =
                move |other: Place| other.host == at.host && other.path.starts_with(path);
            let path = path.into();
            (Selection::Prefix { host, path }, Box::new(concerns))
        }
        7 | 8 => {
            let tag = label(at.path);
            let concerns = move |other: Place| label(other.path) == tag;
            (Selection::Tag(tag.into()), Box::new(concerns))
        }
        9 => {
            let host = random.of(&HOSTS);
            let concerns = move |other: Place| other.host == host;
            (Selection::Host(host.into()), Box::new(concerns))
        }
        10 => (Selection::Tag("all".into()), Box::new(|_| true)),
        _ => (Selection::All, Box::new(|_| true)),
    }
}
