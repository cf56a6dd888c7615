//! What becomes of bodies.

use futures_util::future::join_all;

use super::*;
use crate::cache::{BodyState, StoreError};

/// An empty store has nothing.
pub async fn misses_what_was_never_stored(store: impl CacheStore) {
    assert!(find(&store, &key("a.example", "/")).await.is_empty());
}

/// Status, header, tags, body and trailers.
pub async fn gives_back_what_was_stored(store: impl CacheStore) {
    let (key, body) = (key("a.example", "/page?x=1"), content(300_000));
    let mut meta = fresh().with_vary(vary("de")).with_tags(["t"]);
    meta.status = StatusCode::NOT_FOUND;
    let mut headers = header("content-type", "text/plain");
    headers.append("x-twice", HeaderValue::from_static("1"));
    headers.append(
        "x-twice",
        HeaderValue::from_bytes(b"\xff").expect("obs-text"),
    );
    meta.headers = headers.into();

    let mut fill = begin(&store, &key, meta.clone()).await;
    for chunk in body.chunks(7_001) {
        write(&mut fill, Bytes::copy_from_slice(chunk)).await;
    }
    fill.finish(header("checksum", "1"))
        .await
        .expect("the fill ends");

    let [stored] = &find(&store, &key).await[..] else {
        panic!("one object")
    };
    assert_eq!(*stored.meta, meta);
    assert_eq!(
        (stored.body.state(), stored.body.size()),
        (BodyState::Whole, Some(300_000))
    );
    // Twice, because the first reading must leave nothing behind.
    for _ in 0..2 {
        let read = stored
            .body
            .read(ByteRange::ALL)
            .collect()
            .await
            .expect("an unbroken body");
        assert_eq!(read.trailers(), Some(&header("checksum", "1")));
        assert!(read.to_bytes() == body, "the same bytes");
    }
}

/// No bytes are a body too.
pub async fn keeps_an_empty_body(store: impl CacheStore) {
    let key = key("a.example", "/empty");
    let fill = begin(&store, &key, fresh()).await;
    end(fill).await;
    let found = find(&store, &key).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body.size(), Some(0));
    assert!(read(&found[0]).await.is_empty());
}

/// Readers that begin before, during and after the fill all get everything, and need not wait for its end.
pub async fn is_readable_while_it_grows(store: impl CacheStore) {
    let (key, body) = (key("a.example", "/"), content(100_000));
    let mut fill = begin(&store, &key, fresh()).await;
    let mut first = fill.stored().body.read(ByteRange::ALL);
    assert_eq!(ids(&store, &key).await, [fill.stored().id], "found at once");
    let (mut written, mut read, mut readings) = (0, Vec::new(), Vec::new());
    for chunk in body.chunks(3_000) {
        write(&mut fill, Bytes::copy_from_slice(chunk)).await;
        let found = find(&store, &key).await;
        assert_eq!(found[0].body.state(), BodyState::Growing);
        readings.push(found[0].body.read(ByteRange::ALL));
        written += chunk.len();
        while read.len() < written {
            let frame = first.frame().await.expect("more to come");
            read.extend(frame.expect("an unbroken body").into_data().expect("data"));
        }
    }
    assert!(read == body);
    let (bodies, ()) = tokio::join!(join_all(readings.into_iter().map(all)), end(fill));
    assert!(bodies.iter().all(|read| *read == body));
    assert!(all(first).await.is_empty());
}

/// Never a short body that looks like a whole one.
pub async fn failed_fill_is_an_error_to_its_readers(store: impl CacheStore) {
    let key = key("a.example", "/");
    let mut fill = begin(&store, &key, fresh()).await;
    let stored = fill.stored();
    let early = stored.body.read(ByteRange::ALL);
    write(&mut fill, content(1000)).await;
    let late = find(&store, &key).await[0].body.read(ByteRange {
        start: 10,
        end: None,
    });
    drop(fill);
    assert!(early.collect().await.is_err());
    assert!(late.collect().await.is_err());
    assert!(stored.body.read(ByteRange::ALL).collect().await.is_err());
    assert_eq!(stored.body.state(), BodyState::Failed);
}

/// Nor does it take anything with it.
pub async fn dropped_fill_was_never_there(store: impl CacheStore) {
    let key = key("a.example", "/");
    let mut fill = begin(&store, &key, fresh()).await;
    write(&mut fill, "abandoned").await;
    drop(fill);
    assert!(find(&store, &key).await.is_empty());

    let kept = put(&store, &key, fresh(), "kept").await;
    let mut fill = begin(&store, &key, fresh()).await;
    write(&mut fill, "abandoned").await;
    drop(fill);
    assert_eq!(ids(&store, &key).await, [kept]);
    assert_eq!(read(&find(&store, &key).await[0]).await, "kept");
}

/// A body of another length than its header says is damaged.
pub async fn wrong_length_is_never_stored(store: impl CacheStore) {
    let key = key("a.example", "/");
    for body in ["four", "sixsix"] {
        let mut fill = begin(&store, &key, fresh().with_length(Some(5))).await;
        let reading = fill.stored().body.read(ByteRange::ALL);
        // What is too long may be refused at once, or at the end.
        if fill.write(body.into()).await.is_ok() {
            assert!(fill.finish(HeaderMap::new()).await.is_err(), "{body}");
        } else {
            drop(fill);
        }
        assert!(find(&store, &key).await.is_empty(), "{body}");
        assert!(reading.collect().await.is_err(), "{body}");
    }
    put(&store, &key, fresh().with_length(Some(5)), "right").await;
    assert_eq!(find(&store, &key).await[0].body.size(), Some(5));
}

/// Of a whole body and of one still growing. What begins behind the end is empty.
pub async fn ranges_are_what_they_name(store: impl CacheStore) {
    let (key, body) = (key("a.example", "/"), content(200_000));
    let ranges = [
        (0, None),
        (0, Some(1)),
        (0, Some(200_000)),
        (17, Some(150_003)),
        (199_999, None),
        (65_536, Some(65_537)),
    ]
    .into_iter()
    .chain([
        (150_000, Some(999_999)),
        (200_000, None),
        (300_000, Some(400_000)),
        (5, Some(5)),
    ]);
    let mut fill = begin(&store, &key, fresh()).await;
    let stored = fill.stored();
    let early: Vec<_> = ranges
        .clone()
        .map(|(start, end)| stored.body.read(ByteRange { start, end }))
        .collect();
    for chunk in body.chunks(30_000) {
        write(&mut fill, Bytes::copy_from_slice(chunk)).await;
    }
    end(fill).await;
    let found = find(&store, &key).await;
    for ((start, end), early) in ranges.zip(early) {
        let to = usize::try_from(end.unwrap_or(u64::MAX))
            .unwrap_or(usize::MAX)
            .min(body.len());
        let from = usize::try_from(start).unwrap_or(usize::MAX);
        let expected = body.get(from..to).unwrap_or_default();
        assert!(
            all(early).await == expected,
            "{start}..{end:?} of a growing body"
        );
        assert!(
            all(found[0].body.read(ByteRange { start, end })).await == expected,
            "{start}..{end:?}"
        );
    }
}

/// Nor the fill: an object that the store keeps is written at the origin's pace.
pub async fn slow_reader_does_not_hold_up_a_fast_one(store: impl CacheStore) {
    let (key, body) = (key("a.example", "/"), content(1 << 20));
    let mut fill = begin(&store, &key, fresh().with_length(Some(1 << 20))).await;
    let slow = fill.stored().body.read(ByteRange::ALL);
    let fast = fill.stored().body.read(ByteRange::ALL);
    let writing = async {
        for chunk in body.chunks(64 * 1024) {
            write(&mut fill, Bytes::copy_from_slice(chunk)).await;
        }
        end(fill).await;
    };
    let (read, ()) = tokio::join!(all(fast), writing);
    assert!(read == body);
    assert!(
        all(slow).await == body,
        "and the slow one still gets everything"
    );
}

/// It is not found any more, but whoever reads it gets every byte.
pub async fn body_that_outgrows_the_store_reaches_its_readers(store: impl CacheStore) {
    const CHUNK: usize = 64 * 1024;
    let key = key("a.example", "/large");
    let capacity = store.usage().map_or(u64::MAX, |usage| usage.capacity);
    let chunks = usize::try_from(capacity.min(64 << 20)).unwrap_or(64 << 20) / CHUNK + 32;
    let chunk = |n: usize| Bytes::from(n.to_le_bytes().repeat(CHUNK / size_of::<usize>()));

    let mut fill = begin(&store, &key, fresh()).await;
    let readings = [
        fill.stored().body.read(ByteRange::ALL),
        fill.stored().body.read(ByteRange::ALL),
    ];
    let writing = async {
        for n in 0..chunks {
            write(&mut fill, chunk(n)).await;
        }
        fill.finish(header("checksum", "1"))
            .await
            .expect("no error even so");
    };
    let reading = |mut body: Body, patience: usize| async move {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.expect("an unbroken body").into_data() else {
                continue;
            };
            for (byte, at) in data.iter().zip(read..) {
                let expected = (at / CHUNK).to_le_bytes()[at % size_of::<usize>()];
                assert_eq!(*byte, expected, "byte {at}");
            }
            read += data.len();
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
        }
        read
    };
    let [first, second] = readings;
    let (fast, slow, ()) = tokio::join!(reading(first, 0), reading(second, 10), writing);
    assert_eq!((fast, slow), (chunks * CHUNK, chunks * CHUNK));
    for stored in find(&store, &key).await {
        assert_eq!(
            stored.body.state(),
            BodyState::Whole,
            "kept whole or not at all"
        );
    }
    assert_nobody_reads_what_does_not_fit(&store, chunks).await;
}

/// Without readers there is no use in going on.
async fn assert_nobody_reads_what_does_not_fit(store: &impl CacheStore, chunks: usize) {
    let key = key("a.example", "/unread");
    let mut fill = begin(store, &key, fresh()).await;
    for _ in 0..chunks {
        match fill.write(content(64 * 1024)).await {
            Ok(()) => {}
            Err(StoreError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

/// 64 of them, each of its own URL.
pub async fn many_fills_at_once(store: impl CacheStore) {
    let key = |n: usize| {
        let target = PathAndQuery::try_from(format!("/{n}")).expect("a target");
        CacheKey::new(Scheme::Https, "a.example", &target)
    };
    let body = |n: usize| Bytes::from(format!("{n} ").repeat(5_000));
    let fill = async |n: usize| {
        let mut fill = begin(&store, &key(n), fresh()).await;
        for chunk in body(n).chunks(1_024) {
            write(&mut fill, Bytes::copy_from_slice(chunk)).await;
            tokio::task::yield_now().await;
        }
        end(fill).await;
    };
    join_all((0..64).map(fill)).await;
    for n in 0..64 {
        let found = find(&store, &key(n)).await;
        assert_eq!(found.len(), 1);
        assert!(read(&found[0]).await == body(n), "the body of its own URL");
    }
}
