//! A pair of files: bytes of bodies, and a log of the records about them. Both only grow.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::frame::{HEADER, framed, unframed};
use super::io::Io;

/// A pair of files; open as long as anybody reads them, removed or not.
pub(super) struct Segment {
    pub(super) id: u32,
    paths: Paths,
    io: Arc<Io>,
    data: File,
    log: File,
    seed: u64,
    /// How long the log is. Held while it is written to: a record is whole before the next one begins.
    end: Mutex<u64>,
    /// Bytes in both files.
    used: AtomicU64,
    /// The hashes of the keys of all its records.
    hashes: Mutex<Vec<u64>>,
    /// When the objects of its records began.
    oldest: AtomicU64,
    youngest: AtomicU64,
    gone: AtomicBool,
    /// After an error that leaves the end of the log in doubt.
    closed: AtomicBool,
}

/// Its files' names.
pub(super) struct Paths {
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

// === impl Paths ===

impl Paths {
    pub(super) fn of(directory: &Path, id: u32) -> Self {
        Self {
            data: directory.join(format!("{id:010}.data")),
            log: directory.join(format!("{id:010}.log")),
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        // The log first: what it says holds as long as it is there.
        let results = [fs::remove_file(&self.log), fs::remove_file(&self.data)];
        results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }
}

// === impl Segment ===

impl Segment {
    /// Opens both files, making them if there are none.
    pub(super) fn open(paths: Paths, id: u32, seed: u64, io: &Arc<Io>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let (data, log) = (options.open(&paths.data)?, options.open(&paths.log)?);
        let end = log.metadata()?.len();
        let used = data.metadata()?.len() + end;
        Ok(Self {
            id,
            paths,
            io: Arc::clone(io),
            data,
            log,
            seed: seed ^ u64::from(id) << 32,
            end: Mutex::new(end),
            used: AtomicU64::new(used),
            hashes: Mutex::default(),
            oldest: AtomicU64::new(u64::MAX),
            youngest: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn log(&self) -> &File {
        &self.log
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn add_used(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn log_len(&self) -> u64 {
        *self.end.lock()
    }

    pub(super) fn data_len(&self) -> io::Result<u64> {
        Ok(self.data.metadata()?.len())
    }

    /// Cuts off what is behind the last record.
    pub(super) fn cut(&self, end: u64) -> io::Result<()> {
        let mut len = self.end.lock();
        self.log.set_len(end)?;
        self.used
            .fetch_sub(len.saturating_sub(end), Ordering::Relaxed);
        *len = end;
        Ok(())
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.io.write(&self.data, bytes, at)
    }

    pub(super) fn read(&self, len: usize, at: u64) -> io::Result<Vec<u8>> {
        self.io.read(&self.data, len, at)
    }

    pub(super) fn read_cached(&self, len: usize, at: u64) -> Option<Vec<u8>> {
        self.io.read_cached(&self.data, len, at)
    }

    /// Appends a record; gives where its frame starts, and how long that is.
    pub(super) fn append(&self, payload: &[u8], hash: u64, born: u64) -> io::Result<(u32, u32)> {
        let mut end = self.end.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(io::Error::other("the segment's log is closed"));
        }
        let frame = framed(self.seed, *end, payload)?;
        let at = u32::try_from(*end).map_err(io::Error::other)?;
        let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
        self.note(hash, born);
        if let Err(error) = self.io.write(&self.log, &frame, *end) {
            // Nothing may follow half a record.
            let cut = self.log.set_len(*end);
            self.closed.store(cut.is_err(), Ordering::Relaxed);
            return Err(error);
        }
        *end += u64::from(len);
        Ok((at, len))
    }

    /// The record whose frame is there; `None` if it is not what was written.
    pub(super) fn record(&self, at: u32, len: u32) -> io::Result<Option<Vec<u8>>> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut frame = self.io.read(&self.log, len, u64::from(at))?;
        let intact = unframed(self.seed, u64::from(at), &frame).is_some();
        frame.drain(..HEADER.min(frame.len()));
        Ok(intact.then_some(frame))
    }

    /// It has, or is to have, a record of such a key.
    pub(super) fn note(&self, hash: u64, born: u64) {
        self.oldest.fetch_min(born, Ordering::AcqRel);
        self.youngest.fetch_max(born, Ordering::AcqRel);
        self.hashes.lock().push(hash);
    }

    /// When the oldest object of its records began.
    pub(super) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// When the youngest object of its records began.
    pub(super) fn youngest(&self) -> u64 {
        self.youngest.load(Ordering::Acquire)
    }

    /// No more objects come: the list of them takes what it needs.
    pub(super) fn seal(&self) {
        self.hashes.lock().shrink_to_fit();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Removes its files; who reads them goes on. Gives the hashes of its records' keys.
    pub(super) fn remove(&self) -> Vec<u64> {
        self.gone.store(true, Ordering::Release);
        if let Err(error) = self.paths.remove() {
            self.io.report("a segment cannot be removed", &error);
        }
        std::mem::take(&mut self.hashes.lock())
    }
}
