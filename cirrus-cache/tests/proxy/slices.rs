//! Large responses that are fetched and stored in slices.

use std::sync::Arc;

use bytes::Bytes;
use cirrus_cache::MemoryStore;
use cirrus_core::cache::{CacheKey, CacheStore, Purge, Scheme, Selection};
use cirrus_core::testing::{Asked, Client, Describe, Origin, RunningOrigin, proxy, reply};
use cirrus_core::{Body, Response};
use http_body_util::channel::Channel;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::{MIB, did, is_hit, secs, store, until};

const KIB: u64 = 1 << 10;
const SLICE: u64 = 64 * KIB;

/// A file whose bytes are made up when they are asked for.
#[derive(Clone)]
struct File(Arc<Mutex<State>>);

struct State {
    size: u64,
    /// Which of the files of that name it is; 0 has no tag.
    edition: u8,
    ranges: bool,
    header: Vec<(&'static str, &'static str)>,
    /// How many more slices are given before the next edition comes out.
    changes_after: Option<u32>,
    /// The slice from this byte on is sent by half.
    cut_at: Option<u64>,
}

fn file(size: u64) -> File {
    File(Arc::new(Mutex::new(State {
        size,
        edition: 1,
        ranges: true,
        header: vec![("cache-control", "max-age=60")],
        changes_after: None,
        cut_at: None,
    })))
}

fn byte(edition: u8, at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16) ^ (at >> 24)) as u8 ^ edition.wrapping_mul(0x5b)
}

fn bytes(edition: u8, start: u64, end: u64) -> Bytes {
    (start..end).map(|at| byte(edition, at)).collect()
}

/// The first byte that was asked for, and the last.
fn range(asked: &Asked) -> Option<(u64, u64)> {
    let field = asked.header("range");
    let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() {
        u64::MAX - 1
    } else {
        last.parse().ok()?
    };
    Some((first.parse().ok()?, last))
}

// === impl File ===

impl File {
    fn with(self, name: &'static str, value: &'static str) -> Self {
        self.0.lock().header.push((name, value));
        self
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock());
    }

    fn answer(&self, asked: &Asked) -> Response {
        let mut state = self.0.lock();
        match &mut state.changes_after {
            Some(0) => (state.edition, state.changes_after) = (state.edition + 1, None),
            Some(more) => *more -= 1,
            None => {}
        }
        let etag = format!("\"{}\"", state.edition);
        if state.edition > 0 && asked.header("if-none-match") == etag {
            return state.describe(reply("").with_status(304), &etag);
        }
        let Some((first, last)) = range(asked).filter(|_| state.ranges) else {
            let body = reply(bytes(state.edition, 0, state.size));
            return state.describe(body, &etag);
        };
        if first >= state.size {
            return reply("")
                .with_status(416)
                .with("content-range", &format!("bytes */{}", state.size));
        }
        let end = (last + 1).min(state.size);
        let body = match state.cut_at {
            Some(at) if at == first => {
                let (mut tap, body) = Channel::<Bytes, std::io::Error>::new(2);
                tap.try_send(http_body::Frame::data(bytes(
                    state.edition,
                    first,
                    first + 1000,
                )))
                .ok();
                tap.abort(std::io::Error::other("cut short"));
                Body::stream(body)
            }
            _ => bytes(state.edition, first, end).into(),
        };
        let range = format!("bytes {first}-{}/{}", end - 1, state.size);
        let response = reply(body)
            .with_status(206)
            .with("content-length", &(end - first).to_string())
            .with("content-range", &range);
        state.describe(response, &etag)
    }

    async fn serve(&self) -> RunningOrigin {
        let file = self.clone();
        Origin::new()
            .get("*", move |asked| file.answer(&asked))
            .run()
            .await
    }
}

impl State {
    fn describe(&self, mut response: Response, etag: &str) -> Response {
        if self.edition > 0 {
            response = response.with("etag", etag);
        }
        for (name, value) in &self.header {
            response = response.with(name, value);
        }
        response
    }
}

/// A proxy that slices, its store, and a client.
async fn sliced_by(
    origin: &RunningOrigin,
    max_object: u64,
) -> (proxy::Running, MemoryStore, Client) {
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true, slice = \"64KiB\" }}\n\
         origin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    let proxy = proxy::new(&toml);
    let store = store(&proxy.clock(), 256 * MIB, max_object);
    let keeps = store.clone();
    let proxy = proxy.with(|builder| builder.cache(keeps)).run().await;
    let client = Client::to(proxy.address()).host("shop.example");
    (proxy, store, client)
}

async fn sliced(origin: &RunningOrigin) -> (proxy::Running, MemoryStore, Client) {
    sliced_by(origin, 32 * MIB).await
}

/// The ranges that an origin was asked for, sorted.
fn asked(origin: &RunningOrigin) -> Vec<(u64, u64)> {
    let mut ranges: Vec<_> = origin.asked().iter().filter_map(range).collect();
    ranges.sort_unstable();
    ranges
}

fn slices(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let span = |number| (number * SLICE, (number + 1) * SLICE - 1);
    numbers.into_iter().map(span).collect()
}

#[tokio::test]
async fn a_byte_far_inside_costs_one_slice() {
    const SIZE: u64 = 10 << 30;
    let origin = file(SIZE).serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    let at: u64 = 8 << 30;
    for (first, length, did_what) in [
        (at, 1, "fwd=uri-miss; stored"),
        (at + 100, 100, "hit; ttl=60"),
        (at + SLICE, 10, "fwd=uri-miss; stored; detail=slice"),
    ] {
        let lines = format!("range: bytes={first}-{}\r\n", first + length - 1);
        let part = client.get_with("/film", &lines).await;
        assert_eq!((part.status, &*did(&part)), (206, did_what));
        assert!(part.body == bytes(1, first, first + length));
        assert_eq!(part.header("content-length"), length.to_string());
        let told = format!("bytes {first}-{}/{SIZE}", first + length - 1);
        assert_eq!(part.header("content-range"), told);
        assert_eq!(part.header("cirrus-slices"), "");
    }
    let end = client.get_with("/film", "range: bytes=-5\r\n").await;
    assert!(end.body == bytes(1, SIZE - 5, SIZE));
    let number = at / SLICE;
    assert_eq!(
        asked(&origin),
        slices([number, number + 1, SIZE / SLICE - 1])
    );
    assert_eq!(origin.count(), 3);
    let head = client.ask("HEAD", "/film", "", b"").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, SIZE.to_string())
    );
    assert!(is_hit(&head));
    assert_eq!(
        client
            .get_with("/film", "if-none-match: \"1\"\r\n")
            .await
            .status,
        304
    );
    assert_eq!(
        client.get_with("/film", "if-match: \"2\"\r\n").await.status,
        412
    );
    let behind = client
        .get_with("/film", &format!("range: bytes={SIZE}-\r\n"))
        .await;
    assert_eq!(
        (behind.status, behind.header("content-range")),
        (416, format!("bytes */{SIZE}"))
    );
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn slices_fit_together() {
    let size = 20 * SLICE + 12_345;
    let origin = file(size).serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    for turn in 0..2 {
        let whole = client.get("/film").await;
        assert_eq!((whole.status, is_hit(&whole)), (200, turn == 1));
        assert_eq!(whole.header("content-length"), size.to_string());
        assert_eq!(whole.header("content-range"), "");
        assert!(whole.body == bytes(1, 0, size));
    }
    // The last one ends with the file: it is asked for by what is known of that.
    let mut expected = slices(0..20);
    expected.push((20 * SLICE, size - 1));
    assert_eq!(asked(&origin), expected);
}

#[tokio::test]
async fn whatever_is_asked_for_is_what_comes() {
    let size = 7 * SLICE + 1;
    let origin = file(size).serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..200 {
        let first = next(size);
        let last = (first + next(3 * SLICE)).min(size - 1);
        let answer = client
            .get_with("/film", &format!("range: bytes={first}-{last}\r\n"))
            .await;
        assert_eq!(answer.status, 206);
        assert!(answer.body == bytes(1, first, last + 1), "{first}-{last}");
    }
    let answer = client
        .get_with("/film", "range: bytes=400000-400009,0-9\r\n")
        .await;
    assert!(
        answer
            .header("content-type")
            .starts_with("multipart/byteranges")
    );
    assert!(
        answer
            .body
            .windows(10)
            .any(|ten| ten == bytes(1, 400_000, 400_010))
    );
    assert!(origin.count() <= 8, "{}", origin.count());
}

#[tokio::test]
async fn a_crowd_asks_for_each_slice_once() {
    let size = 10 * SLICE;
    let origin = file(size).serve().await;
    let (proxy, _store, _client) = sliced(&origin).await;
    let address = proxy.address();
    let mut crowd = JoinSet::new();
    for _ in 0..30 {
        crowd.spawn(async move { Client::to(address).get("/film").await.body });
    }
    for body in crowd.join_all().await {
        assert!(body == bytes(1, 0, size));
    }
    assert_eq!(asked(&origin), slices(0..10));
}

#[tokio::test]
async fn a_file_that_changes_in_the_middle_is_never_mixed() {
    let size = 10 * SLICE;
    let film = file(size);
    let origin = film.serve().await;
    let (proxy, _store, mut client) = sliced(&origin).await;
    film.change(|film| film.changes_after = Some(4));
    client
        .send(b"GET /film HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    assert!(
        client.reply_or_end("GET").await.is_none(),
        "it must break off"
    );
    let mut next = Client::to(proxy.address()).host("shop.example");
    for _ in 0..2 {
        let whole = next.get("/film").await;
        assert!(whole.body == bytes(2, 0, size));
        assert_eq!(whole.header("etag"), "\"2\"");
    }
    assert!(is_hit(&next.get("/film").await));
}

#[tokio::test]
async fn a_file_that_has_changed_before_the_first_byte_is_asked_for_as_the_client_did() {
    let film = file(10 * SLICE);
    let origin = film.serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    client.get_with("/film", "range: bytes=0-0\r\n").await;
    film.change(|film| film.edition = 2);
    let lines = "range: bytes=500000-500009\r\n";
    let part = client.get_with("/film", lines).await;
    assert_eq!(did(&part), "fwd=stale; detail=slice-changed");
    assert_eq!((part.status, part.header("etag")), (206, "\"2\"".into()));
    assert!(part.body == bytes(2, 500_000, 500_010));
    client.get_with("/film", "range: bytes=0-0\r\n").await;
    film.change(|film| film.edition = 3);
    let several = client
        .get_with("/film", "range: bytes=300000-300009,0-9\r\n")
        .await;
    assert_eq!(did(&several), "fwd=stale; detail=slice-changed");
    film.change(|film| film.edition = 2);
    let part = client.get_with("/film", "range: bytes=0-9\r\n").await;
    assert_eq!(did(&part), "fwd=uri-miss; stored");
    assert!(part.body == bytes(2, 0, 10));
}

#[tokio::test]
async fn origins_without_ranges_are_stored_as_a_whole() {
    let film = file(3 * SLICE);
    film.change(|film| film.ranges = false);
    let origin = film.serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    let part = client
        .get_with("/film", "range: bytes=100000-100009\r\n")
        .await;
    assert_eq!((part.status, &*did(&part)), (206, "fwd=uri-miss; stored"));
    assert!(part.body == bytes(1, 100_000, 100_010));
    let whole = client.get("/film").await;
    assert!(whole.body == bytes(1, 0, 3 * SLICE) && is_hit(&whole));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_fits_into_a_slice_is_no_slice() {
    let origin = file(SLICE).serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    for turn in 0..2 {
        let whole = client.get("/page").await;
        assert_eq!((whole.status, is_hit(&whole)), (200, turn == 1));
        assert!(whole.body == bytes(1, 0, SLICE));
    }
    let part = client.get_with("/page", "range: bytes=5-6\r\n").await;
    assert_eq!((part.status, is_hit(&part)), (206, true));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_cannot_be_told_apart_is_not_sliced() {
    let film = file(3 * SLICE);
    film.change(|film| film.edition = 0);
    let origin = film.serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    let part = client
        .get_with("/film", "range: bytes=70000-70009\r\n")
        .await;
    assert_eq!(
        (part.status, &*did(&part)),
        (206, "fwd=uri-miss; detail=unsliced")
    );
    assert!(part.body == bytes(0, 70_000, 70_010));
    let whole = client.get("/film").await;
    assert!(whole.body == bytes(0, 0, 3 * SLICE));
    let part = client
        .get_with("/film", "range: bytes=70000-70009\r\n")
        .await;
    assert!(is_hit(&part) && part.body == bytes(0, 70_000, 70_010));
    // A slice, what the client asked for, and the whole.
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn what_must_not_be_stored_is_passed_on() {
    let film = file(3 * SLICE);
    film.change(|film| film.header = vec![("cache-control", "private")]);
    let origin = film.serve().await;
    let (_proxy, store, mut client) = sliced(&origin).await;
    for _ in 0..2 {
        assert!(client.get("/film").await.body == bytes(1, 0, 3 * SLICE));
        let part = client
            .get_with("/film", "range: bytes=70000-70009\r\n")
            .await;
        assert!(part.status == 206 && part.body == bytes(1, 70_000, 70_010));
    }
    assert_eq!(store.usage().unwrap().objects, 0);
}

#[tokio::test]
async fn purges_concern_every_slice() {
    let film = file(5 * SLICE).with("cache-tag", "films");
    let origin = film.serve().await;
    let (_proxy, store, mut client) = sliced(&origin).await;
    let key = CacheKey::new(Scheme::Http, "shop.example", &"/film".parse().unwrap());
    let host: Arc<str> = "shop.example".into();
    let selections = [
        Selection::Url(key),
        Selection::Prefix {
            host: Arc::clone(&host),
            path: "/fi".into(),
        },
        Selection::Tag("films".into()),
        Selection::Host(host),
        Selection::All,
    ];
    for (turn, what) in (0_u8..).zip(selections) {
        // The same tag all the time: nothing but the purge says that these are other bytes.
        client.get("/film").await;
        assert!(is_hit(
            &client
                .get_with("/film", "range: bytes=200000-200009\r\n")
                .await
        ));
        store.purge(&Purge::hard(what.clone())).await.unwrap();
        let before = origin.count();
        let again = client
            .get_with("/film", "range: bytes=200000-200009\r\n")
            .await;
        assert_eq!(did(&again), "fwd=uri-miss; stored", "{what:?}");
        assert!(again.body == bytes(1, 200_000, 200_010));
        client.get("/film").await;
        assert_eq!(origin.count(), before + 5, "{turn} {what:?}");
    }
}

#[tokio::test]
async fn an_unsafe_request_makes_every_slice_void() {
    let film = file(5 * SLICE);
    let origin = film.serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    client.get("/film").await;
    client.ask("POST", "/film", "", b"x").await;
    let before = origin.count();
    client.get("/film").await;
    assert_eq!(origin.count(), before + 5);
}

#[tokio::test]
async fn a_confirmed_index_confirms_its_slices() {
    // The name of our own field, which nobody else has a say in.
    let film = file(5 * SLICE).with("cirrus-slices", "1 2 3");
    let origin = film.serve().await;
    let (proxy, store, mut client) = sliced(&origin).await;
    client.get("/film").await;
    proxy.clock().advance(secs(61));
    let whole = client.get("/film").await;
    assert_eq!(did(&whole), "fwd=stale; fwd-status=304");
    assert_eq!(whole.header("cirrus-slices"), "");
    assert!(whole.body == bytes(1, 0, 5 * SLICE));
    assert!(is_hit(&client.get("/film").await));
    assert_eq!(origin.count(), 6);
    // Soft: asked about, and kept.
    let key = CacheKey::new(Scheme::Http, "shop.example", &"/film".parse().unwrap());
    store
        .purge(&Purge::soft(Selection::Url(key)))
        .await
        .unwrap();
    let part = client
        .get_with("/film", "range: bytes=200000-200009\r\n")
        .await;
    assert_eq!(
        (part.status, &*did(&part)),
        (206, "fwd=stale; fwd-status=304")
    );
    assert_eq!(origin.count(), 7);
    proxy.clock().advance(secs(61));
    film.change(|film| film.edition = 2);
    let part = client
        .get_with("/film", "range: bytes=200000-200009\r\n")
        .await;
    assert_eq!((part.status, &*did(&part)), (206, "fwd=stale; stored"));
    assert!(part.body == bytes(2, 200_000, 200_010));
    assert!(client.get("/film").await.body == bytes(2, 0, 5 * SLICE));
    assert_eq!(origin.count(), 12);
}

#[tokio::test]
async fn a_slice_that_is_cut_short_breaks_the_answer_and_is_not_stored() {
    let film = file(5 * SLICE);
    let origin = film.serve().await;
    let (proxy, _store, mut client) = sliced(&origin).await;
    film.change(|film| film.cut_at = Some(2 * SLICE));
    client
        .send(b"GET /film HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    assert!(client.reply_or_end("GET").await.is_none());
    film.change(|film| film.cut_at = None);
    let mut client = Client::to(proxy.address()).host("shop.example");
    let whole = client.get("/film").await;
    assert!(is_hit(&whole) && whole.body == bytes(1, 0, 5 * SLICE));
}

#[tokio::test]
async fn slices_that_are_not_stored_are_passed_on() {
    let origin = file(5 * SLICE).serve().await;
    let (_proxy, _store, mut client) = sliced_by(&origin, 1000).await;
    for _ in 0..2 {
        let whole = client.get("/film").await;
        assert!(whole.body == bytes(1, 0, 5 * SLICE));
        let part = client
            .get_with("/film", "range: bytes=70000-140009\r\n")
            .await;
        assert!(part.status == 206 && part.body == bytes(1, 70_000, 140_010));
    }
}

#[tokio::test]
async fn nothing_is_fetched_far_ahead_of_a_reader() {
    let size = 1000 * SLICE;
    let origin = file(size).serve().await;
    let (proxy, _store, _client) = sliced(&origin).await;
    let mut slow = Client::to(proxy.address());
    slow.send(b"GET /film HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    until(async || origin.count() > 2).await;
    // Others are served meanwhile, of the same slices too.
    let mut client = Client::to(proxy.address()).host("shop.example");
    let part = client.get_with("/film", "range: bytes=0-199999\r\n").await;
    assert!(part.body == bytes(1, 0, 200_000));
    assert!(
        origin.count() < 500,
        "{} slices for a client who reads nothing",
        origin.count()
    );
    drop(slow);
}

#[tokio::test]
async fn a_range_behind_the_end_of_what_is_not_stored_is_the_origins_to_refuse() {
    let origin = file(5 * SLICE).serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    let behind = client.get_with("/film", "range: bytes=99999999-\r\n").await;
    assert_eq!(behind.status, 416);
    // That says nothing about others.
    let part = client.get_with("/film", "range: bytes=0-9\r\n").await;
    assert_eq!(did(&part), "fwd=uri-miss; stored");
}

#[tokio::test]
async fn an_origin_that_fails_before_the_first_byte_is_an_error() {
    let film = file(5 * SLICE);
    let origin = film.serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    client.get_with("/film", "range: bytes=0-9\r\n").await;
    origin.stop();
    let part = client.get_with("/film", "range: bytes=0-9\r\n").await;
    assert_eq!((part.status, is_hit(&part)), (206, true));
    let missing = client.get_with("/film", "range: bytes=200000-\r\n").await;
    assert_eq!(missing.status, 502);
}

#[tokio::test]
async fn a_stale_index_is_confirmed_behind_the_clients_back() {
    let film = file(5 * SLICE);
    film.change(|film| {
        film.header = vec![("cache-control", "max-age=60, stale-while-revalidate=60")];
    });
    let origin = film.serve().await;
    let (proxy, _store, mut client) = sliced(&origin).await;
    client.get("/film").await;
    proxy.clock().advance(secs(61));
    film.change(|film| film.edition = 2);
    let lines = "range: bytes=200000-200009\r\n";
    let stale = client.get_with("/film", lines).await;
    assert_eq!((stale.status, &*did(&stale)), (206, "hit; ttl=-1"));
    assert!(stale.body == bytes(1, 200_000, 200_010));
    until(async || origin.count() == 6).await;
    assert_eq!(asked(&origin)[4], (3 * SLICE, 4 * SLICE - 1));
    let new = client.get_with("/film", lines).await;
    assert!(is_hit(&new) && new.body == bytes(2, 200_000, 200_010));
    assert_eq!(origin.count(), 6);
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let origin = file(5 * SLICE).serve().await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    client.get_with("/film", "range: bytes=0-9\r\n").await;
    for (range, status) in [("0-99", 206), ("65535-65536", 504), ("200000-200009", 504)] {
        let lines = format!("range: bytes={range}\r\ncache-control: only-if-cached\r\n");
        assert_eq!(
            client.get_with("/film", &lines).await.status,
            status,
            "{range}"
        );
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn variants_have_slices_of_their_own() {
    let size = 3 * SLICE;
    let origin = Origin::new()
        .get("/", move |asked| {
            let edition = asked.header("accept-language").len() as u8;
            let (first, last) = range(&asked).expect("a slice");
            let end = (last + 1).min(size);
            reply(bytes(edition, first, end))
                .with_status(206)
                .with(
                    "content-range",
                    &format!("bytes {first}-{}/{size}", end - 1),
                )
                .with("cache-control", "max-age=60")
                .with("vary", "accept-language")
                // The same for all: the variant is what tells them apart.
                .with("last-modified", "Fri, 20 Nov 2020 12:00:00 GMT")
        })
        .run()
        .await;
    let (_proxy, _store, mut client) = sliced(&origin).await;
    for turn in 0..2 {
        for (language, edition) in [("de", 2), ("fra", 3)] {
            let lines = format!("accept-language: {language}\r\n");
            let whole = client.get_with("/", &lines).await;
            assert!(whole.body == bytes(edition, 0, size), "{turn} {language}");
        }
    }
    assert_eq!(origin.count(), 6);
}

/// What the origin tells one user is neither stored nor mixed with what it tells others.
#[tokio::test]
async fn credentials_keep_slices_out_of_the_store() {
    let origin = file(3 * SLICE).serve().await;
    let (_proxy, store, mut client) = sliced(&origin).await;
    for _ in 0..2 {
        let whole = client
            .get_with("/film", "authorization: Basic YTpi\r\n")
            .await;
        assert!(whole.body == bytes(1, 0, 3 * SLICE));
        assert_eq!(store.usage().unwrap().objects, 0);
    }
    client.get_with("/film", "range: bytes=0-9\r\n").await;
    assert_eq!(store.usage().unwrap().objects, 2);
    let whole = client
        .get_with("/film", "authorization: Basic YTpi\r\n")
        .await;
    assert!(whole.body == bytes(1, 0, 3 * SLICE));
    assert_eq!(store.usage().unwrap().objects, 2);
}
