//! Bodies as their readers see them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::BoxError;
use cirrus_core::cache::buffer::{BrokeOff, broken};
use cirrus_core::cache::{BodyState, ByteRange, StoredBody};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::growing::{Growing, Next, Phase};
use super::index::Slot;
use super::record::{BLOCK, Piece, Record};
use super::segment::Segment;
use super::store::Inner;

/// The body of an object on the disk.
pub(super) struct WholeBody {
    pub(super) store: Arc<Inner>,
    pub(super) record: Arc<Record>,
    pub(super) slot: Slot,
    /// Those of the layout's extents.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Its first block, if that was read along with the record.
    pub(super) first: Option<Bytes>,
}

/// The body of an object that is being stored, or was when it was found.
pub(super) struct GrowingBody {
    pub(super) store: Arc<Inner>,
    pub(super) growing: Arc<Growing>,
}

/// One reading of a body, from `at` to `end`, or to the end and its trailers.
struct DiskReader {
    store: Arc<Inner>,
    source: Source,
    at: u64,
    end: Option<u64>,
    /// Blocks that were asked for: the next one, and the one behind it.
    pending: [Option<Pending>; 2],
    done: bool,
}

enum Source {
    Whole(Arc<WholeBody>),
    /// With the reader's place.
    Growing(Arc<Growing>, usize),
}

struct Pending {
    /// Where in the body the block starts.
    start: u64,
    bytes: oneshot::Receiver<Result<Bytes, Unreadable>>,
}

/// A block that cannot be read, or is not what was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the disk cannot be read")]
    Io(#[from] std::io::Error),
    #[error("the disk has other bytes than were written")]
    Damaged,
}

/// Reads a block. For threads that may wait.
pub(super) fn read(segment: &Segment, piece: &Piece) -> Result<Bytes, Unreadable> {
    checked(piece, segment.read(piece.len, piece.at)?)
}

fn checked(piece: &Piece, bytes: Vec<u8>) -> Result<Bytes, Unreadable> {
    if piece.is_intact(&bytes) {
        Ok(bytes.into())
    } else {
        Err(Unreadable::Damaged)
    }
}

// === impl WholeBody ===

impl WholeBody {
    fn len(&self) -> u64 {
        self.record.layout.len
    }

    fn next(&self, at: u64) -> Next {
        if at >= self.len() {
            let trailers = self.record.trailers.clone();
            return trailers.map_or(Next::End, Next::Trailers);
        }
        let piece = self.record.layout.piece(at);
        let found = piece.and_then(|piece| Some((self.segments.get(piece.extent)?, piece)));
        found.map_or(Next::Broken, |(segment, piece)| {
            Next::Disk(Arc::clone(segment), piece)
        })
    }

    /// The bytes of a range, if they are at hand and no trailers follow.
    fn at_once(&self, start: u64, end: Option<u64>) -> Option<Bytes> {
        if end.is_none() && self.record.trailers.is_some() {
            return None;
        }
        let end = end.unwrap_or(self.len());
        if start >= end {
            return Some(Bytes::new());
        }
        let first = self.first.as_ref()?;
        let (from, to) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        (to <= first.len()).then(|| first.slice(from..to))
    }
}

/// Shared, so that each reading can hold on to it.
pub(super) struct Whole(pub(super) Arc<WholeBody>);

impl StoredBody for Whole {
    fn state(&self) -> BodyState {
        BodyState::Whole
    }

    fn size(&self) -> Option<u64> {
        Some(self.0.len())
    }

    fn read(&self, range: ByteRange) -> Body {
        let end = range.end.filter(|end| *end < self.0.len());
        match self.0.at_once(range.start, end) {
            Some(bytes) => Body::full(bytes),
            None => {
                let source = Source::Whole(Arc::clone(&self.0));
                Body::stream(DiskReader::new(&self.0.store, source, range.start, end))
            }
        }
    }
}

// === impl GrowingBody ===

impl StoredBody for GrowingBody {
    fn state(&self) -> BodyState {
        match self.growing.phase() {
            Phase::Growing => BodyState::Growing,
            Phase::Whole => BodyState::Whole,
            Phase::Failed => BodyState::Failed,
        }
    }

    fn size(&self) -> Option<u64> {
        self.growing.size()
    }

    fn read(&self, range: ByteRange) -> Body {
        let declared = self.growing.declared();
        let end = range
            .end
            .filter(|end| declared.is_none_or(|size| *end < size));
        if end.is_some_and(|end| end <= range.start) {
            return Body::empty();
        }
        match self.growing.attach(range.start) {
            Some(place) => {
                let source = Source::Growing(Arc::clone(&self.growing), place);
                Body::stream(DiskReader::new(&self.store, source, range.start, end))
            }
            None => broken(),
        }
    }
}

// === impl DiskReader ===

impl DiskReader {
    fn new(store: &Arc<Inner>, source: Source, at: u64, end: Option<u64>) -> Self {
        Self {
            store: Arc::clone(store),
            source,
            at,
            end,
            pending: [None, None],
            done: false,
        }
    }

    fn next(&self, cx: &Context<'_>) -> Next {
        match &self.source {
            Source::Whole(body) => body.next(self.at),
            Source::Growing(growing, place) => {
                growing.next(*place, self.at, self.end.unwrap_or(u64::MAX), cx)
            }
        }
    }

    /// The block that comes next, if that takes no waiting; else it is asked for, and the one behind it too.
    fn fetch(&mut self, segment: Arc<Segment>, piece: Piece) -> Option<Result<Bytes, Unreadable>> {
        let start = self.at / BLOCK * BLOCK;
        if let Source::Whole(body) = &self.source
            && let (0, Some(first)) = (start, &body.first)
        {
            return Some(Ok(first.clone()));
        }
        if let Some(bytes) = segment.read_cached(piece.len, piece.at) {
            return Some(self.cached(start, &piece, bytes));
        }
        self.pending[0] = Some(self.ask(start, segment, piece));
        self.look_ahead(start + BLOCK);
        None
    }

    /// What the system had in memory. Checking it costs as much as copying it, so that is done once.
    fn cached(&self, start: u64, piece: &Piece, bytes: Vec<u8>) -> Result<Bytes, Unreadable> {
        let Source::Whole(body) = &self.source else {
            return checked(piece, bytes);
        };
        let intact = &body.record.intact;
        if intact.has(start) {
            return Ok(bytes.into());
        }
        let bytes = checked(piece, bytes)?;
        intact.add(start);
        Ok(bytes)
    }

    fn ask(&self, start: u64, segment: Arc<Segment>, piece: Piece) -> Pending {
        let bytes = self.store.readers.run(move || read(&segment, &piece));
        Pending { start, bytes }
    }

    fn look_ahead(&mut self, start: u64) {
        let Source::Whole(body) = &self.source else {
            return;
        };
        if self.end.is_some_and(|end| start >= end) {
            return;
        }
        if let Next::Disk(segment, piece) = body.next(start) {
            self.pending[1] = Some(self.ask(start, segment, piece));
        }
    }

    /// What of a block that starts at `start` is wanted.
    fn data(&mut self, start: u64, block: &Bytes) -> Frame<Bytes> {
        let from = usize::try_from(self.at - start).unwrap_or_default();
        let wanted = self.end.map_or(u64::MAX, |end| end.saturating_sub(start));
        let to = usize::try_from(wanted)
            .unwrap_or(usize::MAX)
            .min(block.len());
        self.pass(block.slice(from.min(to)..to))
    }

    fn pass(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.at += bytes.len() as u64;
        if let Source::Growing(growing, place) = &self.source {
            growing.moved(*place, self.at);
        }
        Frame::data(bytes)
    }

    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Unreadable>>> {
        let Some(pending) = &mut self.pending[0] else {
            return Poll::Ready(None);
        };
        let block = ready!(Pin::new(&mut pending.bytes).poll(cx));
        let start = pending.start;
        self.pending.swap(0, 1);
        self.pending[1] = None;
        if self.pending[0].is_some() {
            self.look_ahead(start + 2 * BLOCK);
        }
        // A job that panicked says nothing.
        Poll::Ready(Some(block.unwrap_or(Err(Unreadable::Damaged))))
    }

    fn close(&mut self) {
        self.pending = [None, None];
        if let Source::Growing(growing, place) = &self.source
            && !self.done
        {
            growing.leave(*place);
        }
        self.done = true;
    }

    fn broken(&mut self, error: Unreadable) -> BoxError {
        self.close();
        self.store.report("a body cannot be read", &error);
        if let Source::Whole(body) = &self.source {
            self.store.condemn(body.slot);
        }
        error.into()
    }

    /// Where this reading ends, as far as that is known.
    fn stop(&self) -> Option<u64> {
        let size = match &self.source {
            Source::Whole(body) => Some(body.len()),
            Source::Growing(growing, _) => growing.size(),
        };
        size.map(|size| self.end.map_or(size, |end| end.min(size)))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let start = self.at / BLOCK * BLOCK;
        if let Some(block) = ready!(self.poll_block(cx)) {
            let block = block.map_err(|error| self.broken(error));
            return Poll::Ready(Some(block.map(|block| self.data(start, &block))));
        }
        if self.end.is_some_and(|end| self.at >= end) {
            return Poll::Ready(None);
        }
        match self.next(cx) {
            Next::Data(bytes) => Poll::Ready(Some(Ok(self.pass(bytes)))),
            Next::Disk(segment, piece) => match self.fetch(segment, piece) {
                Some(Ok(block)) => Poll::Ready(Some(Ok(self.data(start, &block)))),
                Some(Err(error)) => Poll::Ready(Some(Err(self.broken(error)))),
                None => self.poll_next(cx),
            },
            Next::Trailers(trailers) => Poll::Ready(Some(Ok(self.trailers(trailers)))),
            Next::End => Poll::Ready(None),
            Next::Broken => Poll::Ready(Some(Err(BrokeOff.into()))),
            Next::Wait => Poll::Pending,
        }
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Frame<Bytes> {
        self.close();
        Frame::trailers(trailers)
    }
}

impl HttpBody for DiskReader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_next(cx));
        if !matches!(next, Some(Ok(_))) {
            self.close();
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        match self.stop() {
            Some(stop) => SizeHint::with_exact(stop.saturating_sub(self.at)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for DiskReader {
    fn drop(&mut self) {
        self.close();
    }
}
