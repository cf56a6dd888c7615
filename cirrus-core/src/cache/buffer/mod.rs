//! A body that grows: one writes it, many read it at the same time, each at its own pace.
//!
//! Small chunks are gathered into blocks of [`BLOCK`] bytes, so a body of tiny frames is no list of tiny allocations;
//! larger ones are kept as they come. Once a body is whole it never changes again, and reading it takes no lock.

mod reader;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use self::reader::Reader;
pub use self::reader::{BrokeOff, broken};
use self::state::{Phase, State, Wakers};
use super::store::{BodyState, ByteRange, StoreError, StoredBody};
use crate::body::Body;

/// Chunks smaller than this are gathered until they fill a block of this size: 16 KiB.
pub const BLOCK: usize = 16 * 1024;

/// How far a detached body's writer runs ahead of its slowest reader: 1 MiB.
pub const WINDOW: u64 = 1024 * 1024;

/// The reading half of a growing body; its clones are the same body.
#[derive(Clone)]
pub struct Buffer(Arc<Shared>);

/// The writing half. Dropped unfinished: the body has failed, and its readers get an error.
pub struct Writer {
    shared: Arc<Shared>,
    ended: bool,
}

struct Shared {
    /// Set once, when the body is complete: from then on nobody needs the lock.
    whole: OnceLock<Whole>,
    state: Mutex<State>,
}

/// A body that is all there.
struct Whole {
    blocks: Box<[Block]>,
    len: u64,
    trailers: Option<HeaderMap>,
}

/// A part of a body, and where in it it starts.
struct Block {
    start: u64,
    bytes: Bytes,
}

/// The body has another length than was declared.
#[derive(Debug, thiserror::Error)]
#[error("a body of {declared} bytes was declared, but it has {actual}")]
struct WrongLength {
    declared: u64,
    actual: u64,
}

/// Begins a body, of `declared` bytes if that is known already.
#[must_use]
pub fn growing(declared: Option<u64>) -> (Writer, Buffer) {
    let shared = Arc::new(Shared {
        whole: OnceLock::new(),
        state: Mutex::new(State::new(declared)),
    });
    (
        Writer {
            shared: Arc::clone(&shared),
            ended: false,
        },
        Buffer(shared),
    )
}

// === impl Writer ===

impl Writer {
    /// Appends without waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the body becomes longer than was declared; it has failed then.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.state.lock();
        if let Some(declared) = state.declared {
            let actual = state.len + chunk.len() as u64;
            if actual > declared {
                drop(state);
                self.fail();
                return Err(StoreError::Damaged(WrongLength { declared, actual }.into()));
            }
        }
        state.append(chunk);
        let wakers = state.take_wakers();
        drop(state);
        wakers.wake();
        Ok(())
    }

    /// Appends. Once the body is detached, it first waits until the slowest reader is at most [`WINDOW`] behind.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] if it is detached and has no reader left; else as [`push`](Self::push).
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        poll_fn(|cx| self.shared.poll_room(cx)).await?;
        self.push(chunk)
    }

    /// Stops keeping the body: what all present readers have read is released, and no new ones are let in.
    pub fn detach(&mut self) {
        let mut state = self.shared.state.lock();
        state.detached = true;
        state.release();
    }

    /// The body is complete.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if it is shorter than was declared; it has failed then.
    pub fn finish(mut self, trailers: HeaderMap) -> Result<(), StoreError> {
        let mut state = self.shared.state.lock();
        if let Some(declared) = state.declared
            && declared != state.len
        {
            // Dropping the writer fails the body.
            let actual = state.len;
            drop(state);
            return Err(StoreError::Damaged(WrongLength { declared, actual }.into()));
        }
        self.ended = true;
        let trailers = (!trailers.is_empty()).then_some(trailers);
        if let Some(whole) = state.finish(trailers) {
            // The writer is the only one that sets it, and does so once.
            let _ = self.shared.whole.set(whole);
        }
        let wakers = state.take_wakers();
        drop(state);
        wakers.wake();
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.state.lock().len
    }

    fn fail(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut state = self.shared.state.lock();
        state.fail();
        let wakers = state.take_wakers();
        drop(state);
        wakers.wake();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.fail();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("written", &self.written())
            .finish_non_exhaustive()
    }
}

// === impl Buffer ===

impl Buffer {
    /// All bytes, once it is whole, if they lie in one piece and no trailers follow: a store may keep them in its place.
    #[must_use]
    pub fn in_one_piece(&self) -> Option<Bytes> {
        self.0.whole.get()?.at_once(ByteRange::ALL)
    }

    fn attach(&self, range: ByteRange) -> Body {
        let mut state = self.0.state.lock();
        if state.phase == Phase::Whole && !state.detached {
            drop(state);
            return self.read(range);
        }
        if state.detached || state.phase == Phase::Failed {
            return broken();
        }
        // A range up to the declared end is one that reads to the end: trailers follow it.
        let end = range
            .end
            .filter(|end| state.declared.is_none_or(|size| *end < size));
        if end.is_some_and(|end| end <= range.start) {
            return Body::empty();
        }
        let slot = state.attach(range.start);
        drop(state);
        Body::stream(Reader::new(
            Arc::clone(&self.0),
            range.start,
            end,
            Some(slot),
        ))
    }
}

impl StoredBody for Buffer {
    /// A detached body counts as failed: nobody can begin to read it any more.
    fn state(&self) -> BodyState {
        if self.0.whole.get().is_some() {
            return BodyState::Whole;
        }
        let state = self.0.state.lock();
        match state.phase {
            Phase::Failed => BodyState::Failed,
            _ if state.detached => BodyState::Failed,
            Phase::Growing => BodyState::Growing,
            Phase::Whole => BodyState::Whole,
        }
    }

    fn size(&self) -> Option<u64> {
        match self.0.whole.get() {
            Some(whole) => Some(whole.len),
            None => self.0.state.lock().size(),
        }
    }

    /// A range that begins behind the end is empty, and one that ends behind it ends with the body.
    fn read(&self, range: ByteRange) -> Body {
        let Some(whole) = self.0.whole.get() else {
            return self.attach(range);
        };
        match whole.at_once(range) {
            Some(bytes) => Body::full(bytes),
            None => Body::stream(Reader::new(
                Arc::clone(&self.0),
                range.start,
                range.end,
                None,
            )),
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("state", &self.state())
            .field("size", &self.size())
            .finish()
    }
}

// === impl Shared ===

impl Shared {
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let mut state = self.state.lock();
        if !state.detached {
            return Poll::Ready(Ok(()));
        }
        match state.has_room() {
            None => Poll::Ready(Err(StoreError::Full)),
            Some(true) => Poll::Ready(Ok(())),
            Some(false) => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A reader of the growing body is gone, or has all it wanted.
    fn leave(&self, slot: usize) {
        let mut state = self.state.lock();
        state.leave(slot);
        let writer = state.release();
        drop(state);
        Wakers::one(writer).wake();
    }
}

// === impl Whole ===

impl Whole {
    /// The bytes of `range`, if they lie in one block and no trailers follow.
    fn at_once(&self, range: ByteRange) -> Option<Bytes> {
        let end = range.end.map_or(self.len, |end| end.min(self.len));
        if self.trailers.is_some() && end == self.len {
            return None;
        }
        if range.start >= end {
            return Some(Bytes::new());
        }
        Block::find(&self.blocks, range.start, end)
            .filter(|bytes| bytes.len() as u64 == end - range.start)
    }
}

// === impl Block ===

impl Block {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What the block that holds byte `at` has of `at..end`. The blocks are in order and without gaps.
    fn find(blocks: &[Self], at: u64, end: u64) -> Option<Bytes> {
        let block = blocks.get(blocks.partition_point(|block| block.end() <= at))?;
        if at < block.start || at >= end {
            return None;
        }
        // Both lie within the block, whose length is a `usize`.
        let from = usize::try_from(at - block.start).ok()?;
        let to = usize::try_from(end.min(block.end()) - block.start).ok()?;
        Some(block.bytes.slice(from..to))
    }
}
