//! Killed at random moments, a disk store serves nothing wrong, brings nothing purged back, and loses nothing whole.
//!
//! A child process stores and purges, and says so before and after; its parent kills it, opens the store, and holds
//! what is there against what was said. `CIRRUS_KILLS` says how often, in all; 24 times by default.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use cirrus_cache::DiskStore;
use cirrus_core::cache::{
    ByteRange, CacheKey, CacheStore, Freshness, Meta, Purge, Scheme, Selection,
};
use cirrus_core::{Clock, SystemClock};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;

const KEYS: u64 = 24;

/// How often one directory is used before the next.
const LIVES: u64 = 8;

/// What the child says: "+" before something is done, "-" after it.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    done: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Put { key: u64, version: u64 },
    Refresh { key: u64, version: u64, round: u64 },
    Purge { kind: u64, of: u64, number: u64 },
}

struct Random(u64);

// === what is stored ===

fn key(n: u64) -> CacheKey {
    let target = PathAndQuery::try_from(format!("/{}/{n}", n % 3)).unwrap();
    CacheKey::new(Scheme::Https, &format!("host{}.example", n % 2), &target)
}

fn body(key: u64, version: u64) -> Bytes {
    let mut random = Random(key << 32 ^ version);
    let most = [200, 20_000, 200_000, 1_500_000][usize::try_from(random.below(4)).unwrap()];
    let len = usize::try_from(random.below(most)).unwrap();
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

fn meta(key: u64, version: u64, round: u64) -> Meta {
    let mut freshness = Freshness::default();
    freshness.received = SystemClock.now();
    freshness.lifetime = Duration::from_secs(3600);
    let mut headers = HeaderMap::new();
    headers.insert("x-key", HeaderValue::from(key));
    headers.insert("x-version", HeaderValue::from(version));
    headers.insert("x-round", HeaderValue::from(round));
    Meta::new(StatusCode::OK, headers)
        .with_freshness(freshness)
        .with_tags([format!("tag{}", key % 4)])
}

fn selection(kind: u64, of: u64) -> Selection {
    match kind {
        0 => Selection::Url(key(of)),
        1 => Selection::Tag(format!("tag{}", of % 4).into()),
        2 => Selection::Prefix {
            host: "host0.example".into(),
            path: format!("/{}/", of % 3).into(),
        },
        3 => Selection::Host(format!("host{}.example", of % 2).into()),
        _ => Selection::All,
    }
}

fn concerns(kind: u64, of: u64, key: u64) -> bool {
    match kind {
        0 => key == of,
        1 => key % 4 == of % 4,
        2 => key.is_multiple_of(2) && key % 3 == of % 3,
        3 => key % 2 == of % 2,
        _ => true,
    }
}

fn open(path: &Path, capacity: u64) -> DiskStore {
    DiskStore::builder(path)
        .capacity(capacity)
        .open_now()
        .unwrap()
}

// === the child ===

/// Not a test: what the parent starts.
#[test]
fn child() {
    let Ok(given) = std::env::var("CIRRUS_DISK_CHILD") else {
        return;
    };
    let [path, capacity, seed] = given.splitn(3, '\n').collect::<Vec<_>>()[..] else {
        panic!("three values");
    };
    let (capacity, seed) = (capacity.parse().unwrap(), seed.parse().unwrap());
    let store = open(Path::new(path), capacity);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Several at a time, each with keys of its own.
    runtime.block_on(async {
        tokio::join!(
            work(&store, seed, 0),
            work(&store, seed, 1),
            work(&store, seed, 2)
        )
    });
}

async fn work(store: &DiskStore, seed: u64, actor: u64) {
    let mut random = Random(seed * 3 + actor);
    for step in 0.. {
        let n = random.below(KEYS / 3) * 3 + actor;
        let version = (seed << 24) + (step << 2) + actor;
        match random.below(12) {
            0..8 => put(store, n, version).await,
            8 => abandon(store, n, version).await,
            9 => refresh(store, n, version).await,
            _ => purge(store, &mut random, n, version).await,
        }
    }
}

fn say(done: bool, what: &What) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let sign = if done { '-' } else { '+' };
    let line = match what {
        What::Put { key, version } => format!("{sign} put {key} {version} 0"),
        What::Refresh {
            key,
            version,
            round,
        } => format!("{sign} refresh {key} {version} {round}"),
        What::Purge { kind, of, number } => format!("{sign} purge {kind} {of} {number}"),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nJ {line}").unwrap();
    out.flush().unwrap();
}

async fn put(store: &DiskStore, n: u64, version: u64) {
    let what = What::Put { key: n, version };
    say(false, &what);
    let content = body(n, version);
    let Ok(mut fill) = store.insert(&key(n), meta(n, version, 0)).await else {
        return;
    };
    for chunk in content.chunks(50_000) {
        fill.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        tokio::task::yield_now().await;
    }
    let found = fill.stored();
    if fill.finish(HeaderMap::new()).await.is_ok() {
        // A fill that was detached because the disk fell behind is not stored.
        let kept = store.lookup(&key(n)).await.unwrap();
        if kept.iter().any(|stored| stored.id == found.id) {
            say(true, &what);
        }
    }
}

async fn abandon(store: &DiskStore, n: u64, version: u64) {
    let mut fill = store.insert(&key(n), meta(n, version, 0)).await.unwrap();
    for _ in 0..4 {
        fill.write(Bytes::from(vec![0xFF; 100_000])).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn refresh(store: &DiskStore, n: u64, round: u64) {
    let found = store.lookup(&key(n)).await.unwrap();
    let Some(stored) = found.first() else { return };
    let version = number(&stored.meta, "x-version");
    let what = What::Refresh {
        key: n,
        version,
        round,
    };
    say(false, &what);
    let refreshed = store
        .refresh(&key(n), stored.id, meta(n, version, round))
        .await;
    if refreshed.unwrap() {
        say(true, &what);
    }
}

async fn purge(store: &DiskStore, random: &mut Random, n: u64, number: u64) {
    let kind = [0, 0, 0, 0, 1, 1, 2, 3, 4][usize::try_from(random.below(9)).unwrap()];
    let what = What::Purge {
        kind,
        of: n,
        number,
    };
    say(false, &what);
    store.purge(&Purge::hard(selection(kind, n))).await.unwrap();
    say(true, &what);
}

fn number(meta: &Meta, name: &str) -> u64 {
    let value = meta.headers.get(name).unwrap();
    value.to_str().unwrap().parse().unwrap()
}

// === the parent ===

#[test]
fn killed_at_any_moment_it_serves_what_is_right() {
    let kills = std::env::var("CIRRUS_KILLS").map_or(24, |kills| kills.parse().unwrap());
    let mut random = Random(kills ^ 0xC1AA);
    for life in 0..kills {
        if !life.is_multiple_of(LIVES) {
            continue;
        }
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // With room for everything, and with evictions.
        let capacity = if (life / LIVES).is_multiple_of(2) {
            64 << 30
        } else {
            12 << 20
        };
        let mut said = Vec::new();
        for n in 0..LIVES.min(kills - life) {
            let events = 1 + random.below(120);
            said.extend(live_and_die(
                directory.path(),
                capacity,
                life + n + 1,
                events,
            ));
            check(directory.path(), capacity, &said);
        }
    }
}

/// Lets a child work until it has said so many things, and kills it.
fn live_and_die(path: &Path, capacity: u64, seed: u64, events: u64) -> Vec<Said> {
    let given = format!("{}\n{capacity}\n{seed}", path.display());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("CIRRUS_DISK_CHILD", given)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut text, mut seen) = (String::new(), 0);
    while seen < events {
        let start = text.len();
        assert!(
            out.read_line(&mut text).unwrap() > 0,
            "the child works on: {text}"
        );
        seen += u64::from(text[start..].starts_with("J "));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    out.read_to_string(&mut text).unwrap();
    text.split_inclusive('\n').filter_map(parse).collect()
}

/// `None` for what is not the child's, or was cut off.
fn parse(line: &str) -> Option<Said> {
    let line = line.strip_prefix("J ")?.strip_suffix('\n')?;
    let [sign, verb, one, two, three] = line.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let [one, two, three] = [one, two, three].map(|word| word.parse().unwrap());
    let what = match verb {
        "put" => What::Put {
            key: one,
            version: two,
        },
        "refresh" => What::Refresh {
            key: one,
            version: two,
            round: three,
        },
        _ => What::Purge {
            kind: one,
            of: two,
            number: three,
        },
    };
    let done = sign == "-";
    Some(Said { done, what })
}

fn check(path: &Path, capacity: u64, said: &[Said]) {
    let store = open(path, capacity);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for n in 0..KEYS {
            let found = store.lookup(&key(n)).await.unwrap();
            assert!(found.len() < 2, "one variant of {n}");
            let found = match found.first() {
                Some(stored) => {
                    let version = number(&stored.meta, "x-version");
                    assert_eq!(number(&stored.meta, "x-key"), n);
                    let read = stored.body.read(ByteRange::ALL).collect().await.unwrap();
                    assert!(read.to_bytes() == body(n, version), "{n}'s own bytes");
                    Some((version, number(&stored.meta, "x-round")))
                }
                None => None,
            };
            judge(n, found, said, capacity > 1 << 30);
        }
    });
    assert_eq!(store.errors(), 0);
}

/// Whether what was found for a key may be there, and whether something must be.
fn judge(n: u64, found: Option<(u64, u64)>, said: &[Said], roomy: bool) {
    let place = |what: &What, done: bool| {
        said.iter()
            .position(|said| said.what == *what && said.done == done)
    };
    let purges = || {
        said.iter().enumerate().filter(|(_, said)| match said.what {
            What::Purge { kind, of, .. } => !said.done && concerns(kind, of, n),
            _ => false,
        })
    };
    let puts = || {
        said.iter().enumerate().filter(|(_, said)| match said.what {
            What::Put { key, .. } => !said.done && key == n,
            _ => false,
        })
    };
    if let Some((version, round)) = found {
        let what = What::Put { key: n, version };
        let began = place(&what, false).expect("nothing that nobody stored");
        for (at, purge) in purges() {
            let resolved = place(&purge.what, true).is_some();
            assert!(at < began || !resolved, "{what:?} is back after {purge:?}");
        }
        for (at, put) in puts() {
            let stored = place(&put.what, true).is_some();
            assert!(at <= began || !stored, "{what:?} is back after {put:?}");
        }
        let refreshed = said.iter().rev().find_map(|said| match said.what {
            What::Refresh {
                key,
                version: of,
                round,
            } if said.done && key == n && of == version => Some(round),
            _ => None,
        });
        assert!(
            refreshed.is_none_or(|done| round >= done),
            "{what:?} is as it was refreshed"
        );
    }
    // The last one that is known to be stored.
    let last = puts().rfind(|(_, put)| place(&put.what, true).is_some());
    let Some((began, put)) = last else { return };
    let purged = purges().any(|(at, _)| at > began);
    if roomy && !purged {
        assert!(found.is_some(), "{put:?} is lost");
    }
}

// === impl Random ===

impl Random {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}
