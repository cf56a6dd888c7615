//! A body that is compressed while it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::encoder::Encoder;
use crate::body::Body;
use crate::error::BoxError;
use crate::server::Worker;

/// What is compressed before other tasks of the worker get their turn.
const TURN: usize = 64 * 1024;

/// Less output than this waits for more, unless the origin pauses.
const WORTH_SENDING: usize = 8 * 1024;

/// Compresses a body. It reads no further ahead than one frame of its source, and holds no more output than one turn's.
///
/// ```text
/// source ─┬─ data ──► write, a turn at a time ──► output, once it is worth sending
///         ├─ pause ─► flush ──► output: what has come so far is on its way
///         └─ end ───► finish ─► output ─► trailers
/// ```
pub(super) struct Compressed {
    source: Body,
    /// `None` once it has been finished.
    encoder: Option<Encoder>,
    /// What the source gave and the encoder has not seen.
    input: Bytes,
    /// The encoder has seen what it may not have given out.
    is_dirty: bool,
    /// What has been compressed in this turn.
    spent: usize,
    trailers: Option<Frame<Bytes>>,
    /// Its counters.
    worker: Arc<Worker>,
}

// === impl Compressed ===

impl Compressed {
    pub(super) fn new(source: Body, encoder: Encoder, worker: Arc<Worker>) -> Self {
        Self {
            source,
            encoder: Some(encoder),
            input: Bytes::new(),
            is_dirty: false,
            spent: 0,
            trailers: None,
            worker,
        }
    }

    /// Compresses what the source has given, up to the end of this turn.
    fn compress(&mut self, encoder: &mut Encoder) -> io::Result<()> {
        let room = TURN.saturating_sub(self.spent);
        let piece = self.input.split_to(room.min(self.input.len()));
        encoder.write(&piece)?;
        self.is_dirty = true;
        self.spent += piece.len();
        self.worker.cells.compression_in.add(piece.len() as u64);
        Ok(())
    }

    /// Output as a frame; nothing where there is none.
    fn frame(&self, output: Bytes) -> Option<Frame<Bytes>> {
        let length = output.len() as u64;
        self.worker.cells.compression_out.add(length);
        (length > 0).then(|| Frame::data(output))
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut encoder: Encoder,
    ) -> Result<Poll<Option<Frame<Bytes>>>, BoxError> {
        loop {
            if encoder.len() >= WORTH_SENDING {
                let output = encoder.take();
                self.encoder = Some(encoder);
                return Ok(Poll::Ready(self.frame(output)));
            }
            if self.spent >= TURN {
                // The others' turn; this one goes on at once if there are none.
                self.spent = 0;
                self.encoder = Some(encoder);
                cx.waker().wake_by_ref();
                return Ok(Poll::Pending);
            }
            if !self.input.is_empty() {
                self.compress(&mut encoder)?;
                continue;
            }
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) => self.input = data,
                    Err(trailers) => self.trailers = Some(trailers),
                },
                Poll::Ready(None) => {
                    let rest = encoder.finish()?;
                    let frame = self.frame(rest).or_else(|| self.trailers.take());
                    return Ok(Poll::Ready(frame));
                }
                Poll::Pending => return self.pause(encoder),
            }
        }
    }

    /// The source has nothing for now: what it gave must not wait for what it will give.
    fn pause(&mut self, mut encoder: Encoder) -> Result<Poll<Option<Frame<Bytes>>>, BoxError> {
        self.spent = 0;
        if std::mem::take(&mut self.is_dirty) {
            encoder.flush()?;
        }
        let output = encoder.take();
        self.encoder = Some(encoder);
        Ok(match self.frame(output) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Poll::Pending,
        })
    }
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // An error leaves no encoder behind: what it has seen is no whole body and must not be finished as one.
        let Some(encoder) = self.encoder.take() else {
            return Poll::Ready(self.trailers.take().map(Ok));
        };
        match self.poll(cx, encoder) {
            Ok(poll) => poll.map(|frame| frame.map(Ok)),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;

    use super::*;
    use crate::ManualClock;
    use crate::config::{CompressionLevel, ContentCoding};
    use crate::middleware;

    const CODINGS: [ContentCoding; 3] =
        [ContentCoding::Zstd, ContentCoding::Br, ContentCoding::Gzip];

    fn compressed(source: Body, coding: ContentCoding) -> Compressed {
        let clock = Arc::new(ManualClock::at(crate::clock::Timestamp::from_secs(0)));
        let cx = middleware::Context::testing(clock, None);
        let encoder = Encoder::new(coding, CompressionLevel::Balanced, None).unwrap();
        Compressed::new(source, encoder, cx.worker)
    }

    /// Bytes that nothing makes shorter.
    fn noise(length: usize) -> Bytes {
        let mut state = 1u64;
        let next = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(next).collect()
    }

    fn decoded(coding: ContentCoding, body: &[u8]) -> Vec<u8> {
        use std::io::Read;
        let mut content = Vec::new();
        match coding {
            ContentCoding::Gzip => flate2::read::GzDecoder::new(body).read_to_end(&mut content),
            ContentCoding::Br => brotli::Decompressor::new(body, 4096).read_to_end(&mut content),
            ContentCoding::Zstd => zstd::stream::read::Decoder::new(body)
                .unwrap()
                .read_to_end(&mut content),
        }
        .unwrap();
        content
    }

    /// Frames of a body, and how many have been taken from it.
    fn counted(frames: Vec<Bytes>) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let frames = frames.into_iter().map(move |data| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, BoxError>(Frame::data(data))
        });
        let body = StreamBody::new(futures_util::stream::iter(frames));
        (Body::stream(body), taken)
    }

    #[test]
    fn a_reader_who_does_not_read_has_nothing_read_ahead() {
        for coding in CODINGS {
            let frame = noise(64 * 1024);
            let (source, taken) = counted(vec![frame; 200]);
            let mut body = compressed(source, coding);
            let mut cx = Context::from_waker(Waker::noop());
            let mut sent = 0;
            for _ in 0..40 {
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(&mut cx) {
                    let data = frame.unwrap().unwrap().into_data().unwrap();
                    assert!(data.len() <= 1 << 20, "{} bytes at once", data.len());
                    sent += data.len();
                }
                let taken = taken.load(Ordering::Relaxed) * 64 * 1024;
                // What is behind is the encoder's window, and a frame.
                assert!(
                    taken <= sent + (3 << 20),
                    "{coding:?}: {taken} read, {sent} sent"
                );
            }
        }
    }

    #[test]
    fn a_large_body_gives_way_to_others() {
        for coding in CODINGS {
            let mut body = compressed(Body::full(vec![b'x'; 4 << 20]), coding);
            let mut cx = Context::from_waker(Waker::noop());
            let mut pauses = 0;
            loop {
                match Pin::new(&mut body).poll_frame(&mut cx) {
                    Poll::Pending => pauses += 1,
                    Poll::Ready(Some(frame)) => drop(frame.unwrap()),
                    Poll::Ready(None) => break,
                }
            }
            assert_eq!(pauses, (4 << 20) / TURN, "{coding:?}");
        }
    }

    #[tokio::test]
    async fn trailers_come_behind_the_content() {
        for coding in CODINGS {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            let frames = [
                Frame::data(Bytes::from("content")),
                Frame::trailers(trailers),
            ];
            let frames = frames.map(Ok::<_, BoxError>);
            let source = Body::stream(StreamBody::new(futures_util::stream::iter(frames)));
            let whole = compressed(source, coding).collect().await.unwrap();
            assert_eq!(whole.trailers().unwrap()["x-sum"], "1");
            assert_eq!(decoded(coding, &whole.to_bytes()), b"content");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn whatever_the_pieces_the_content_is_the_same(
            pieces in prop::collection::vec((0..100_000usize, any::<bool>()), 0..6),
            which in 0..3usize,
        ) {
            let coding = CODINGS[which];
            let frames: Vec<Bytes> = pieces
                .iter()
                .map(|&(length, is_noise)| if is_noise { noise(length) } else { vec![7; length].into() })
                .collect();
            let content = frames.concat();
            let (source, _) = counted(frames);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let whole = runtime.block_on(compressed(source, coding).collect()).unwrap();
            prop_assert_eq!(decoded(coding, &whole.to_bytes()), content);
        }
    }
}
