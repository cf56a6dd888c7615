use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use proptest::prelude::*;

use super::world::*;
use crate::cache::Rules;

const HEADER: &str = "cache-control: max-age=60 | etag: \"a\"";

fn sliced(size: u64) -> World {
    let mut rules = Rules::enabled();
    rules.slice = Some(size);
    World::ruled(rules)
}

fn text(size: usize) -> String {
    ('a'..='z').cycle().take(size).collect()
}

/// The bytes that the origin is asked for, the end exclusive.
fn asked(parts: &Parts) -> Option<(usize, usize)> {
    let range = parts.headers.get("range")?.to_str().ok()?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse::<usize>().ok()? + 1))
}

/// What an origin with `text` answers.
fn part(parts: &Parts, text: &str) -> crate::body::Response {
    let Some((start, end)) = asked(parts) else {
        return response(200, HEADER, text.to_owned());
    };
    if start >= text.len() {
        return response(416, &format!("content-range: bytes */{}", text.len()), "");
    }
    let end = end.min(text.len());
    let header = format!(
        "{HEADER} | content-range: bytes {start}-{}/{}",
        end - 1,
        text.len()
    );
    response(206, &header, text[start..end].to_owned())
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_until_a_store_has_kept_what_it_was_given() {
    let world = sliced(10);
    world.origin.acts(|parts| at_once(part(parts, &text(30))));
    world.store.has(Fault::Stuck);
    let limit = Duration::from_secs(1);
    for status in ["fwd=uri-miss; stored", "hit; ttl=60"] {
        let asked = tokio::time::timeout(limit, world.get("/")).await;
        asked.expect("an answer").is(200, &text(30)).cached(status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_slice_is_not_waited_for_forever() {
    let world = sliced(10);
    let whole = text(30);
    let sent = whole.clone();
    world.origin.acts(move |parts| at_once(part(parts, &sent)));
    world.get_with("/", "range: bytes=0-0").await.is(206, "a");
    let sent = whole.clone();
    world.origin.acts(move |parts| match asked(parts) {
        Some((10, 20)) => Box::pin(std::future::pending()),
        _ => at_once(part(parts, &sent)),
    });
    let begun = tokio::time::Instant::now();
    let second = async {
        settle().await;
        world.get_with("/", "range: bytes=12-14").await
    };
    let reply = tokio::select! {
        biased;
        _ = world.get_with("/", "range: bytes=10-11") => panic!("nobody answers that"),
        reply = second => reply,
    };
    reply.is(206, "mno");
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(world.origin.saw("range").unwrap(), "bytes=12-14");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_takes_no_slice_along() {
    let world = sliced(10);
    let whole = text(30);
    let (mut tap, slow) = trickle();
    let slow = parking_lot::Mutex::new(Some(slow));
    world.origin.acts(move |parts| match asked(parts) {
        Some((10, 20)) => {
            let body = slow.lock().take().expect("one request for it");
            let header = format!("{HEADER} | content-range: bytes 10-19/30");
            at_once(response(206, &header, body))
        }
        _ => at_once(part(parts, &whole)),
    });
    world.get_with("/", "range: bytes=0-0").await.is(206, "a");
    tokio::select! {
        biased;
        _ = world.get_with("/", "range: bytes=10-11") => panic!("none of it is there"),
        () = settle() => {}
    }
    assert_eq!(world.origin.calls(), 2);
    let sending = async {
        tap.send_data("klmno".into()).await.unwrap();
        tap.send_data("pqrst".into()).await.unwrap();
        drop(tap);
    };
    let (read, ()) = tokio::join!(world.get_with("/", "range: bytes=10-19"), sending);
    read.is(206, "klmnopqrst");
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_slice_is_asked_for_again_by_the_next_one() {
    let world = sliced(10);
    let whole = text(30);
    let failures = Arc::new(AtomicU64::new(1));
    let left = Arc::clone(&failures);
    world.origin.acts(move |parts| match asked(parts) {
        Some((10, 20))
            if left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok() =>
        {
            failure()
        }
        _ => at_once(part(parts, &whole)),
    });
    world.get_with("/", "range: bytes=0-0").await.is(206, "a");
    assert!(world.begin("GET", "/", "range: bytes=10-11").await.is_err());
    world
        .get_with("/", "range: bytes=10-11")
        .await
        .is(206, "kl");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_costs_no_bytes() {
    let world = sliced(10);
    let whole = text(35);
    let sent = whole.clone();
    world.origin.acts(move |parts| at_once(part(parts, &sent)));
    for fault in [Fault::Full, Fault::Unavailable] {
        world.store.has(fault);
        world.get("/").await.is(200, &whole);
        world
            .get_with("/", "range: bytes=12-14")
            .await
            .is(206, "mno");
        world.advance(2);
    }
    world.store.has(Fault::None);
    world.get("/").await.is(200, &whole);
    world
        .get_with("/", "range: bytes=12-14")
        .await
        .is(206, "mno")
        .cached("hit; ttl=60");
}

/// What a client puts together of `multipart/byteranges`.
fn put_together(reply: &Reply) -> Vec<(usize, String)> {
    let boundary = reply
        .field("content-type")
        .split_once("boundary=")
        .unwrap()
        .1
        .to_owned();
    let body = reply.body.as_deref().unwrap();
    let parts = body
        .strip_suffix(&format!("\r\n--{boundary}--\r\n"))
        .unwrap();
    let line = format!("\r\n--{boundary}\r\n");
    let parts = parts.split(&line).skip(1);
    let placed = parts.map(|part| {
        let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
        let range = head.split_once("content-range: bytes ").unwrap().1;
        (
            range.split_once('-').unwrap().0.parse().unwrap(),
            bytes.to_owned(),
        )
    });
    placed.collect()
}

proptest! {
    /// Whatever the sizes, in whatever order parts are asked for, and wherever what was fetched came from.
    #[test]
    fn every_byte_is_in_its_place(
        size in 1_usize..600,
        slice in 1_u64..200,
        asked in proptest::collection::vec(
            proptest::collection::vec((0_usize..650, 0_usize..300), 0..4), 1..8,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = sliced(slice);
            let whole = text(size);
            let sent = whole.clone();
            world.origin.acts(move |parts| at_once(part_of_any(parts, &sent)));
            for ranges in asked {
                let specs = ranges.iter().map(|(first, more)| format!("{first}-{}", first + more));
                let specs = specs.collect::<Vec<_>>().join(",");
                let field = if specs.is_empty() { String::new() } else { format!("range: bytes={specs}") };
                let reply = world.get_with("/", &field).await;
                let length = reply.field("content-length");
                let body = reply.body.as_deref().unwrap();
                match reply.status {
                    200 => assert_eq!(body, whole),
                    416 => assert!(ranges.iter().all(|(first, _)| *first >= size), "{specs}"),
                    206 if reply.field("content-range").is_empty() => {
                        assert_eq!(length, body.len().to_string());
                        for (start, bytes) in put_together(&reply) {
                            assert_eq!(bytes, whole[start..start + bytes.len()]);
                        }
                    }
                    206 => {
                        let range = reply.field("content-range");
                        let (first, last) = range[6..].split_once('/').unwrap().0.split_once('-').unwrap();
                        let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
                        assert_eq!(body, &whole[first..=last], "{specs}");
                    }
                    other => panic!("{other} for {specs}"),
                }
            }
        });
    }
}

/// As [`part`]; and of a request that is passed on as the client wrote it, everything.
fn part_of_any(parts: &Parts, text: &str) -> crate::body::Response {
    match asked(parts) {
        None if parts.headers.contains_key("range") => response(200, HEADER, text.to_owned()),
        _ => part(parts, text),
    }
}
