use std::future::Future;
use std::pin::pin;
use std::task::Waker;

use http_body::Body as _;
use http_body_util::BodyExt;

use super::*;

fn bytes(len: usize) -> Bytes {
    (0..len).map(|n| n.to_le_bytes()[0]).collect()
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange {
        start,
        end: Some(end),
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("checksum"),
        http::HeaderValue::from_static("1"),
    )])
}

async fn all(body: Body) -> Bytes {
    body.collect().await.expect("an unbroken body").to_bytes()
}

async fn frame(body: &mut Body) -> Option<Bytes> {
    let frame = body.frame().await?.expect("an unbroken body");
    Some(frame.into_data().expect("data"))
}

fn is_pending<T>(future: impl Future<Output = T>) -> bool {
    pin!(future)
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

#[tokio::test]
async fn reader_gets_each_chunk_as_it_comes() {
    let (mut writer, buffer) = growing(None);
    let mut body = buffer.read(ByteRange::ALL);
    assert!(is_pending(body.frame()));
    writer.push("one".into()).unwrap();
    assert_eq!(frame(&mut body).await.unwrap(), "one");
    assert!(is_pending(body.frame()));
    writer.push("two".into()).unwrap();
    writer.finish(HeaderMap::new()).unwrap();
    assert_eq!(frame(&mut body).await.unwrap(), "two");
    assert!(frame(&mut body).await.is_none());
}

#[tokio::test]
async fn waiting_reader_is_woken_by_data_end_and_failure() {
    for finish in [true, false] {
        let (mut writer, buffer) = growing(None);
        let mut body = buffer.read(ByteRange::ALL);
        let write = async {
            tokio::task::yield_now().await;
            writer.push("x".into()).unwrap();
            tokio::task::yield_now().await;
            if finish {
                writer.finish(HeaderMap::new()).unwrap();
            } else {
                drop(writer);
            }
        };
        let (first, ()) = tokio::join!(
            async {
                assert_eq!(frame(&mut body).await.unwrap(), "x");
                body.frame().await
            },
            write
        );
        assert_eq!(first.is_some_and(|frame| frame.is_err()), !finish);
    }
}

#[test]
fn tiny_chunks_become_full_blocks() {
    let (mut writer, buffer) = growing(None);
    let content = bytes(3 * BLOCK + 5);
    for chunk in content.chunks(7) {
        writer.push(Bytes::copy_from_slice(chunk)).unwrap();
    }
    writer.finish(HeaderMap::new()).unwrap();
    let whole = buffer.0.whole.get().unwrap();
    let lengths: Vec<_> = whole.blocks.iter().map(|block| block.bytes.len()).collect();
    assert_eq!(lengths, [BLOCK, BLOCK, BLOCK, 5]);
    assert_eq!(
        whole
            .blocks
            .iter()
            .flat_map(|block| block.bytes.to_vec())
            .collect::<Bytes>(),
        content
    );
}

#[test]
fn large_chunks_are_kept_as_they_are() {
    let (mut writer, buffer) = growing(None);
    let chunk = bytes(2 * BLOCK);
    writer.push(chunk.clone()).unwrap();
    writer.finish(HeaderMap::new()).unwrap();
    let body = buffer.read(ByteRange::ALL);
    assert_eq!(body.as_bytes().unwrap().as_ptr(), chunk.as_ptr());
    let part = buffer.read(range(10, 20));
    assert_eq!(part.as_bytes().unwrap().as_ptr(), chunk[10..].as_ptr());
}

#[tokio::test]
async fn every_range_is_right_whole_and_growing() {
    let content = bytes(2 * BLOCK + 100);
    for (start, end) in [
        (0, None),
        (5, None),
        (BLOCK, None),
        (0, Some(1)),
        (BLOCK - 1, Some(BLOCK + 1)),
    ]
    .into_iter()
    .chain([
        (100, Some(2 * BLOCK + 50)),
        (7, Some(7)),
        (9, Some(3)),
        (2 * BLOCK + 100, None),
    ])
    .chain([(1 << 40, None), (2 * BLOCK, Some(usize::MAX))])
    {
        let to = end.unwrap_or(usize::MAX).min(content.len());
        let expected = content.get(start..to).unwrap_or_default();
        let range = ByteRange {
            start: start as u64,
            end: end.map(|end| end as u64),
        };
        let (mut writer, buffer) = growing(None);
        let early = buffer.read(range);
        for chunk in content.chunks(1000) {
            writer.push(Bytes::copy_from_slice(chunk)).unwrap();
        }
        let midway = buffer.read(range);
        writer.finish(HeaderMap::new()).unwrap();
        let late = buffer.read(range);
        assert_eq!(
            late.size_hint().exact(),
            Some(expected.len() as u64),
            "{range:?}"
        );
        for body in [early, midway, late] {
            assert_eq!(all(body).await, expected, "{range:?}");
        }
    }
}

#[tokio::test]
async fn bounded_range_ends_before_the_body_does() {
    let (mut writer, buffer) = growing(None);
    let mut body = buffer.read(range(1, 3));
    writer.push("abcdef".into()).unwrap();
    assert_eq!(frame(&mut body).await.unwrap(), "bc");
    assert!(frame(&mut body).await.is_none());
}

#[test]
fn declared_length_is_the_size_hint() {
    let (mut writer, buffer) = growing(Some(10));
    assert_eq!(buffer.size(), Some(10));
    assert_eq!(buffer.read(ByteRange::ALL).size_hint().exact(), Some(10));
    assert_eq!(buffer.read(range(4, 100)).size_hint().exact(), Some(6));
    writer.push(bytes(10)).unwrap();
    writer.finish(HeaderMap::new()).unwrap();
    assert_eq!(buffer.read(ByteRange::ALL).as_bytes().unwrap().len(), 10);
}

#[tokio::test]
async fn trailers_follow_what_reads_to_the_end() {
    let (mut writer, buffer) = growing(Some(4));
    let growing = [buffer.read(ByteRange::ALL), buffer.read(range(2, 4))];
    let short = buffer.read(range(0, 2));
    writer.push("abcd".into()).unwrap();
    writer.finish(trailers()).unwrap();
    for body in growing
        .into_iter()
        .chain([buffer.read(ByteRange::ALL), buffer.read(range(1, 9))])
    {
        assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers()));
    }
    for body in [short, buffer.read(range(0, 3))] {
        assert_eq!(body.collect().await.unwrap().trailers(), None);
    }
}

#[tokio::test]
async fn wrong_length_fails_the_body() {
    let (mut writer, buffer) = growing(Some(3));
    let body = buffer.read(ByteRange::ALL);
    writer.push("ab".into()).unwrap();
    assert!(matches!(
        writer.finish(HeaderMap::new()),
        Err(StoreError::Damaged(_))
    ));
    assert!(body.collect().await.is_err());
    assert_eq!(buffer.state(), BodyState::Failed);

    let (mut writer, buffer) = growing(Some(3));
    assert!(matches!(
        writer.push("abcd".into()),
        Err(StoreError::Damaged(_))
    ));
    assert!(buffer.read(ByteRange::ALL).collect().await.is_err());
}

#[tokio::test]
async fn detached_writer_goes_at_the_pace_of_the_slowest() {
    const CHUNK: usize = 256 * 1024;
    let (mut writer, buffer) = growing(None);
    let (mut fast, mut slow) = (buffer.read(ByteRange::ALL), buffer.read(ByteRange::ALL));
    writer.push(bytes(CHUNK)).unwrap();
    writer.detach();
    assert_eq!(buffer.state(), BodyState::Failed);
    assert!(
        buffer.read(ByteRange::ALL).collect().await.is_err(),
        "no new readers"
    );
    for _ in 0..4 {
        writer.write(bytes(CHUNK)).await.unwrap();
    }
    for _ in 0..5 {
        assert_eq!(frame(&mut fast).await.unwrap(), bytes(CHUNK));
    }
    assert!(
        is_pending(writer.write(bytes(CHUNK))),
        "the slow one is more than the window behind"
    );
    {
        let mut write = pin!(writer.write(bytes(CHUNK)));
        assert!(is_pending(write.as_mut()));
        assert_eq!(frame(&mut slow).await.unwrap(), bytes(CHUNK));
        write.await.unwrap();
    }
    assert_eq!(frame(&mut fast).await.unwrap(), bytes(CHUNK));
    assert!(buffer.0.state.lock().bytes(0, 1).is_none(), "released");
    writer.finish(trailers()).unwrap();
    let rest = slow.collect().await.unwrap();
    assert_eq!(rest.trailers(), Some(&trailers()));
    assert_eq!(rest.to_bytes().len(), 5 * CHUNK);
}

#[tokio::test]
async fn detached_writer_ends_with_its_last_reader() {
    let (mut writer, buffer) = growing(None);
    let body = buffer.read(ByteRange::ALL);
    writer.push(bytes(3 << 20)).unwrap();
    writer.detach();
    let (result, ()) = tokio::join!(writer.write(bytes(1)), async {
        tokio::task::yield_now().await;
        drop(body);
    });
    assert!(matches!(result, Err(StoreError::Full)));
}

#[tokio::test]
async fn detached_reader_with_its_range_does_not_hold_up_the_writer() {
    let (mut writer, buffer) = growing(None);
    let (mut short, _far) = (
        buffer.read(range(0, 10)),
        buffer.read(range(1 << 40, 1 << 41)),
    );
    writer.push(bytes(2 << 20)).unwrap();
    writer.detach();
    assert!(is_pending(writer.write(bytes(1))));
    assert_eq!(frame(&mut short).await.unwrap().len(), 10);
    writer.write(bytes(1)).await.unwrap();
}

#[test]
fn dropped_reader_frees_its_slot() {
    let (_writer, buffer) = growing(None);
    for _ in 0..100 {
        drop(buffer.read(ByteRange::ALL));
    }
    assert_eq!(buffer.0.state.lock().slots(), 1);
}
