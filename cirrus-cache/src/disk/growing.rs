//! A body that grows: its beginning is on the disk already, its end still in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use cirrus_core::cache::StoreError;
use http::HeaderMap;
use parking_lot::Mutex;

use super::record::{BLOCK, Layout, Piece};
use super::segment::Segment;

/// How far a detached body's writer runs ahead of its slowest reader, and how much of a body is kept in memory that
/// is not for the disk: 1 MiB.
pub(super) const WINDOW: u64 = 1024 * 1024;

/// Bytes of one body that may wait to be written: 4 MiB.
pub(super) const MOST_WAITING: u64 = 4 * WINDOW;

/// Chunks are put together until they have as many bytes as this.
const SMALL: usize = 16 * 1024;

/// A growing body: one writes it, many read it, and threads of the pool move it to the disk.
pub(super) struct Growing {
    state: Mutex<State>,
    /// Held by whoever writes to the disk.
    pub(super) disk: Mutex<()>,
    backlog: Arc<AtomicU64>,
}

/// Its lock is held for a few instructions at a time.
struct State {
    phase: Phase,
    declared: Option<u64>,
    /// Bytes so far.
    len: u64,
    /// Those on the disk, and where.
    layout: Layout,
    /// Those of the layout's extents.
    segments: Vec<Arc<Segment>>,
    /// Bytes behind those on the disk, each with where in the body they start.
    chunks: VecDeque<(u64, Bytes)>,
    /// Bytes of the chunks.
    waiting: u64,
    /// Not to be stored: kept only as far as present readers need it.
    detached: bool,
    /// A thread of the pool sees to what waits.
    flushing: bool,
    /// It could not be written.
    spoiled: bool,
    /// The writer, while it waits.
    writer: Option<Waker>,
    trailers: Option<HeaderMap>,
    readers: Vec<Option<Place>>,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Growing,
    Whole,
    Failed,
}

/// One reader: how far it is, and whom to wake when there is more.
struct Place {
    at: u64,
    waker: Option<Waker>,
}

/// What a reader gets next.
pub(super) enum Next {
    /// A block on the disk.
    Disk(Arc<Segment>, Piece),
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Broken,
    Wait,
}

/// Bytes for the disk.
pub(super) struct Batch {
    /// Where in the body they start.
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
}

/// The body has another length than was declared.
#[derive(Debug, thiserror::Error)]
#[error("a body of {declared} bytes was declared, but it has {actual}")]
struct WrongLength {
    declared: u64,
    actual: u64,
}

// === impl Growing ===

impl Growing {
    /// `backlog` counts the bytes in memory of all bodies.
    pub(super) fn new(id: u64, declared: Option<u64>, backlog: Arc<AtomicU64>) -> Self {
        let state = State {
            phase: Phase::Growing,
            declared,
            len: 0,
            layout: Layout::of(id),
            segments: Vec::new(),
            chunks: VecDeque::new(),
            waiting: 0,
            detached: false,
            flushing: false,
            spoiled: false,
            writer: None,
            trailers: None,
            readers: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            disk: Mutex::new(()),
            backlog,
        }
    }

    /// How far it is. A detached body counts as failed: nobody can begin to read it any more.
    pub(super) fn phase(&self) -> Phase {
        let state = self.state.lock();
        if state.detached {
            Phase::Failed
        } else {
            state.phase
        }
    }

    pub(super) fn size(&self) -> Option<u64> {
        let state = self.state.lock();
        match state.phase {
            Phase::Whole => Some(state.len),
            Phase::Growing | Phase::Failed => state.declared,
        }
    }

    pub(super) fn declared(&self) -> Option<u64> {
        self.state.lock().declared
    }

    /// A place among its readers; `None` if nobody can begin to read it.
    pub(super) fn attach(&self, at: u64) -> Option<usize> {
        let mut state = self.state.lock();
        if state.detached || state.phase == Phase::Failed {
            return None;
        }
        let place = Some(Place { at, waker: None });
        if let Some(free) = state.readers.iter().position(Option::is_none) {
            state.readers[free] = place;
            return Some(free);
        }
        state.readers.push(place);
        Some(state.readers.len() - 1)
    }

    pub(super) fn leave(&self, reader: usize) {
        let mut state = self.state.lock();
        state.readers[reader] = None;
        let (writer, freed) = state.release();
        drop(state);
        self.freed(freed);
        wake(writer);
    }

    /// The reader has everything before `at`.
    pub(super) fn moved(&self, reader: usize, at: u64) {
        let mut state = self.state.lock();
        if let Some(place) = &mut state.readers[reader] {
            place.at = at;
        }
        let (writer, freed) = state.release();
        drop(state);
        self.freed(freed);
        wake(writer);
    }

    pub(super) fn next(&self, reader: usize, at: u64, end: u64, cx: &Context<'_>) -> Next {
        self.state.lock().next(reader, at, end, cx)
    }

    /// Appends without waiting.
    pub(super) fn push(&self, chunk: Bytes) -> Result<(), StoreError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let actual = state.len + chunk.len() as u64;
        if let Some(declared) = state.declared.filter(|declared| actual > *declared) {
            drop(state);
            self.fail();
            return Err(StoreError::Damaged(WrongLength { declared, actual }.into()));
        }
        self.backlog
            .fetch_add(chunk.len() as u64, Ordering::Relaxed);
        state.append(chunk);
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The body is complete.
    pub(super) fn finish(&self, trailers: HeaderMap) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(declared) = state.declared.filter(|declared| *declared != state.len) {
            let actual = state.len;
            drop(state);
            self.fail();
            return Err(StoreError::Damaged(WrongLength { declared, actual }.into()));
        }
        state.phase = Phase::Whole;
        state.trailers = (!trailers.is_empty()).then_some(trailers);
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Its readers get an error, unless it is whole.
    pub(super) fn fail(&self) {
        let mut state = self.state.lock();
        if state.phase != Phase::Growing {
            return;
        }
        state.phase = Phase::Failed;
        let freed = std::mem::take(&mut state.waiting);
        state.chunks = VecDeque::new();
        let wakers = state.take_wakers();
        drop(state);
        self.freed(freed);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// It will not be stored: no new readers are let in, and what all present ones have read is released.
    pub(super) fn detach(&self) {
        let mut state = self.state.lock();
        state.detached = true;
        let (_, freed) = state.release();
        drop(state);
        self.freed(freed);
    }

    /// Waits until a detached body may grow: the slowest reader is at most [`WINDOW`] behind.
    pub(super) fn poll_detached(&self, cx: &Context<'_>) -> Poll<Result<(), StoreError>> {
        let mut state = self.state.lock();
        match state.slowest() {
            _ if !state.detached => Poll::Ready(Ok(())),
            None => Poll::Ready(Err(StoreError::Full)),
            Some(at) if state.len.saturating_sub(at) <= WINDOW => Poll::Ready(Ok(())),
            Some(_) => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Waits until at most `most` bytes wait to be written; `false` if it could not be written.
    pub(super) fn poll_waiting(&self, most: u64, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        if state.spoiled || state.waiting <= most {
            return Poll::Ready(!state.spoiled);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether to have a thread write: a full batch waits, and nobody sees to it yet.
    pub(super) fn begin_flush(&self, unit: u64) -> bool {
        let mut state = self.state.lock();
        let due = !state.flushing && !state.spoiled && state.waiting >= unit;
        state.flushing |= due;
        due
    }

    /// What to write next: whole blocks, at most `unit` bytes; with `rest` also what follows them.
    pub(super) fn batch(&self, unit: u64, rest: bool) -> Option<Batch> {
        let mut state = self.state.lock();
        let waiting = state.waiting;
        let len = match rest {
            true => waiting.min(unit),
            false => waiting.min(unit) / BLOCK * BLOCK,
        };
        if len == 0 || state.detached || state.spoiled || state.phase == Phase::Failed {
            state.flushing = false;
            return None;
        }
        let start = state.layout.len;
        let chunks: Vec<_> = state
            .chunks
            .iter()
            .map(|(_, chunk)| chunk.clone())
            .collect();
        drop(state);
        let len = usize::try_from(len).ok()?;
        let mut bytes = Vec::with_capacity(len);
        for chunk in chunks {
            let take = chunk.len().min(len - bytes.len());
            bytes.extend_from_slice(&chunk[..take]);
        }
        Some(Batch { start, bytes })
    }

    /// The next `len` bytes are on the disk now.
    pub(super) fn written(&self, segment: &Arc<Segment>, at: u64, len: u64, checks: &[u64]) {
        let mut state = self.state.lock();
        state.layout.append(segment.id, at, len, checks);
        if state.segments.len() < state.layout.extents.len() {
            state.segments.push(Arc::clone(segment));
        }
        // A detached body may have let go of it already.
        let end = state.layout.len;
        let freed = state.drop_before(end);
        let writer = state.writer.take();
        drop(state);
        self.freed(freed);
        wake(writer);
    }

    /// It could not be written.
    pub(super) fn spoil(&self) {
        let mut state = self.state.lock();
        state.spoiled = true;
        state.flushing = false;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// Where it is, if all of it is on the disk, and its trailers.
    pub(super) fn on_disk(&self) -> Option<(Layout, Vec<Arc<Segment>>, Option<HeaderMap>)> {
        let state = self.state.lock();
        let complete = state.phase == Phase::Whole && state.layout.len == state.len;
        let parts = || {
            let layout = state.layout.clone();
            (layout, state.segments.clone(), state.trailers.clone())
        };
        (complete && !state.spoiled).then(parts)
    }

    fn freed(&self, bytes: u64) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let waiting = self.state.get_mut().waiting;
        self.freed(waiting);
    }
}

// === impl State ===

impl State {
    fn append(&mut self, chunk: Bytes) {
        let start = self.len;
        self.len += chunk.len() as u64;
        self.waiting += chunk.len() as u64;
        self.chunks.push_back((start, chunk));
        self.merge();
    }

    /// Puts small chunks together, as in a binary counter, so that each byte is copied a few times only.
    fn merge(&mut self) {
        while let [.., (_, one), (_, other)] = &*self.chunks.make_contiguous() {
            if one.len() > other.len() || one.len() + other.len() > SMALL {
                return;
            }
            let both = [&one[..], &other[..]].concat();
            self.chunks.pop_back();
            if let Some((_, last)) = self.chunks.back_mut() {
                *last = both.into();
            }
        }
    }

    fn next(&mut self, reader: usize, at: u64, end: u64, cx: &Context<'_>) -> Next {
        if self.phase == Phase::Failed {
            return Next::Broken;
        }
        if let Some(bytes) = self.bytes(at, end) {
            return Next::Data(bytes);
        }
        if at < self.layout.len {
            let piece = self.layout.piece(at);
            let found = piece.and_then(|piece| Some((self.segments.get(piece.extent)?, piece)));
            return found.map_or(Next::Broken, |(segment, piece)| {
                Next::Disk(Arc::clone(segment), piece)
            });
        }
        if self.phase == Phase::Whole {
            return self.trailers.clone().map_or(Next::End, Next::Trailers);
        }
        if let Some(place) = &mut self.readers[reader] {
            place.waker = Some(cx.waker().clone());
        }
        Next::Wait
    }

    /// What of `at..end` comes next, if it is in memory.
    fn bytes(&self, at: u64, end: u64) -> Option<Bytes> {
        let behind = self.chunks.partition_point(|(start, _)| *start <= at);
        let (start, chunk) = self.chunks.get(behind.checked_sub(1)?)?;
        let from = usize::try_from(at - start).ok()?;
        let to = usize::try_from(end.saturating_sub(*start)).unwrap_or(usize::MAX);
        let to = to.min(chunk.len());
        (from < to).then(|| chunk.slice(from..to))
    }

    /// How far the slowest reader is; `None` without readers.
    fn slowest(&self) -> Option<u64> {
        self.readers.iter().flatten().map(|reader| reader.at).min()
    }

    /// Lets go of what every reader of a detached body has; gives the writer, if it waits, and how much that was.
    fn release(&mut self) -> (Option<Waker>, u64) {
        if !self.detached {
            return (None, 0);
        }
        let freed = self.drop_before(self.slowest().unwrap_or(u64::MAX));
        (self.writer.take(), freed)
    }

    fn drop_before(&mut self, at: u64) -> u64 {
        let before = self.waiting;
        while let Some((start, chunk)) = self.chunks.front_mut() {
            let end = *start + chunk.len() as u64;
            if end > at {
                // A part of a chunk is no longer counted, though its memory is still held.
                let part = at.saturating_sub(*start);
                let _ = chunk.split_to(usize::try_from(part).unwrap_or_default());
                *start += part;
                self.waiting -= part;
                break;
            }
            self.waiting -= chunk.len() as u64;
            self.chunks.pop_front();
        }
        before - self.waiting
    }

    /// All readers that wait.
    fn take_wakers(&mut self) -> Vec<Waker> {
        let readers = self.readers.iter_mut().flatten();
        readers.filter_map(|reader| reader.waker.take()).collect()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
