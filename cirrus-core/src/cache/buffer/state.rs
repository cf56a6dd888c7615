//! What a growing body's writer and readers share under its lock.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::HeaderMap;

use super::{BLOCK, Block, WINDOW, Whole};

/// A growing body. Its lock is held for a few instructions at a time, never while anybody is woken.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) declared: Option<u64>,
    /// Bytes written so far.
    pub(super) len: u64,
    /// It outgrew its store: kept only as far as present readers need it.
    pub(super) detached: bool,
    /// The writer, while it waits for room.
    pub(super) writer: Option<Waker>,
    trailers: Option<HeaderMap>,
    /// Every block but the last has at least [`BLOCK`] bytes.
    blocks: VecDeque<Block>,
    /// The bytes behind the last block: fewer than [`BLOCK`].
    tail: Vec<u8>,
    readers: Vec<Option<Slot>>,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Growing,
    Whole,
    Failed,
}

/// What a reader gets next.
pub(super) enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Broken,
    Wait,
    /// The body has become whole: read that.
    Whole,
}

/// One reader: how far it is, and whom to wake when there is more.
struct Slot {
    at: u64,
    waker: Option<Waker>,
}

/// Who is to be woken once the lock is free. One costs no allocation.
#[derive(Default)]
pub(super) struct Wakers {
    first: Option<Waker>,
    others: Vec<Waker>,
}

// === impl State ===

impl State {
    pub(super) fn new(declared: Option<u64>) -> Self {
        Self {
            phase: Phase::Growing,
            declared,
            len: 0,
            detached: false,
            writer: None,
            trailers: None,
            blocks: VecDeque::new(),
            tail: Vec::new(),
            readers: Vec::new(),
        }
    }

    pub(super) fn size(&self) -> Option<u64> {
        match self.phase {
            Phase::Whole => Some(self.len),
            Phase::Growing | Phase::Failed => self.declared,
        }
    }

    pub(super) fn append(&mut self, mut chunk: Bytes) {
        if !self.tail.is_empty() {
            let rest = chunk.split_off(chunk.len().min(BLOCK - self.tail.len()));
            self.gather(&chunk);
            chunk = rest;
        }
        if chunk.len() >= BLOCK {
            self.keep(chunk);
        } else if !chunk.is_empty() {
            self.gather(&chunk);
        }
    }

    /// Copies a small chunk into the block in the making.
    fn gather(&mut self, chunk: &[u8]) {
        if self.tail.is_empty() {
            // As much as is declared to come; without that it grows with its content.
            let to_come = self
                .declared
                .map_or(chunk.len() as u64, |size| size - self.len);
            self.tail
                .reserve_exact(usize::try_from(to_come).map_or(BLOCK, |bytes| bytes.min(BLOCK)));
        }
        self.tail.extend_from_slice(chunk);
        self.len += chunk.len() as u64;
        if self.tail.len() >= BLOCK {
            self.seal();
        }
    }

    fn keep(&mut self, bytes: Bytes) {
        let start = self.len;
        self.len += bytes.len() as u64;
        self.blocks.push_back(Block { start, bytes });
    }

    /// The block in the making becomes a block.
    fn seal(&mut self) {
        let mut bytes = std::mem::take(&mut self.tail);
        bytes.shrink_to_fit();
        let start = self.len - bytes.len() as u64;
        self.blocks.push_back(Block {
            start,
            bytes: bytes.into(),
        });
    }

    /// The whole body, unless it was not kept.
    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>) -> Option<Whole> {
        self.phase = Phase::Whole;
        if self.detached {
            self.trailers = trailers;
            return None;
        }
        if !self.tail.is_empty() {
            self.seal();
        }
        let blocks = std::mem::take(&mut self.blocks).into_iter().collect();
        Some(Whole {
            blocks,
            len: self.len,
            trailers,
        })
    }

    pub(super) fn fail(&mut self) {
        self.phase = Phase::Failed;
        self.blocks = VecDeque::new();
        self.tail = Vec::new();
    }

    pub(super) fn attach(&mut self, at: u64) -> usize {
        let slot = Some(Slot { at, waker: None });
        if let Some(free) = self.readers.iter().position(Option::is_none) {
            self.readers[free] = slot;
            return free;
        }
        self.readers.push(slot);
        self.readers.len() - 1
    }

    pub(super) fn leave(&mut self, slot: usize) {
        self.readers[slot] = None;
    }

    /// How far the slowest reader is; `None` without readers.
    fn slowest(&self) -> Option<u64> {
        self.readers.iter().flatten().map(|reader| reader.at).min()
    }

    /// Whether a detached body may grow; `None` if nobody is left to read it.
    pub(super) fn has_room(&self) -> Option<bool> {
        self.slowest()
            .map(|at| self.len.saturating_sub(at) <= WINDOW)
    }

    /// Lets go of what every reader of a detached body has; gives the writer if it waits and need not any more.
    pub(super) fn release(&mut self) -> Option<Waker> {
        if !self.detached {
            return None;
        }
        let slowest = self.slowest().unwrap_or(u64::MAX);
        while self
            .blocks
            .front()
            .is_some_and(|block| block.end() <= slowest)
        {
            self.blocks.pop_front();
        }
        if self.has_room() == Some(false) {
            None
        } else {
            self.writer.take()
        }
    }

    /// What comes at `at`, for the reader in `slot`, of a body read up to `end`.
    pub(super) fn next(
        &mut self,
        slot: usize,
        at: u64,
        end: Option<u64>,
        cx: &Context<'_>,
    ) -> Next {
        match self.phase {
            Phase::Failed => return Next::Broken,
            Phase::Whole if !self.detached => return Next::Whole,
            Phase::Growing | Phase::Whole => {}
        }
        if let Some(bytes) = self.bytes(at, end.unwrap_or(u64::MAX)) {
            return Next::Data(bytes);
        }
        if self.phase == Phase::Whole {
            return self.trailers.clone().map_or(Next::End, Next::Trailers);
        }
        self.park(slot, cx);
        Next::Wait
    }

    pub(super) fn bytes(&mut self, at: u64, end: u64) -> Option<Bytes> {
        if at >= self.len {
            return None;
        }
        let tail_start = self.len - self.tail.len() as u64;
        if at < tail_start {
            return Block::find(self.blocks.make_contiguous(), at, end);
        }
        // The tail goes on growing, so those who are this far get a copy of it: less than a block.
        let from = usize::try_from(at - tail_start).ok()?;
        let to = usize::try_from(end.min(self.len) - tail_start).ok()?;
        Some(Bytes::copy_from_slice(&self.tail[from..to]))
    }

    /// The reader in `slot` has moved on; gives the writer if that makes room for it.
    pub(super) fn moved(&mut self, slot: usize, at: u64) -> Option<Waker> {
        if let Some(reader) = &mut self.readers[slot] {
            reader.at = at;
        }
        self.release()
    }

    fn park(&mut self, slot: usize, cx: &Context<'_>) {
        let Some(reader) = &mut self.readers[slot] else {
            return;
        };
        match &mut reader.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.readers.len()
    }

    /// All readers that wait.
    pub(super) fn take_wakers(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        for reader in self.readers.iter_mut().flatten() {
            wakers.add(reader.waker.take());
        }
        wakers
    }
}

// === impl Wakers ===

impl Wakers {
    pub(super) fn one(waker: Option<Waker>) -> Self {
        Self {
            first: waker,
            others: Vec::new(),
        }
    }

    fn add(&mut self, waker: Option<Waker>) {
        match self.first {
            None => self.first = waker,
            Some(_) => self.others.extend(waker),
        }
    }

    pub(super) fn wake(self) {
        self.first
            .into_iter()
            .chain(self.others)
            .for_each(Waker::wake);
    }
}
