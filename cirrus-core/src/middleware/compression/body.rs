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
