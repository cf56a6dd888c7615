//! Reading and writing files, and what becomes of errors: they are counted, and told now and then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cirrus_core::{Clock, Timestamp};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ReadWriteFlags};

/// How often an error is told at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// All access to the store's files.
pub(super) struct Io {
    clock: Arc<dyn Clock>,
    errors: AtomicU64,
    /// When an error was told last, in milliseconds.
    told: AtomicU64,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// What a test lets go wrong.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Faults {
    pub(super) reads: std::sync::atomic::AtomicBool,
    pub(super) writes: std::sync::atomic::AtomicBool,
    /// Writes that still succeed once `writes` is set.
    pub(super) writes_left: std::sync::atomic::AtomicI64,
}

// === impl Io ===

impl Io {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            errors: AtomicU64::new(0),
            told: AtomicU64::new(0),
            #[cfg(test)]
            faults: Faults::default(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Counts an error, and tells it unless another was told just before.
    pub(super) fn report(&self, what: &str, error: &(dyn std::error::Error + 'static)) {
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        let (now, told) = (self.now(), self.told.load(Ordering::Relaxed));
        let due = told == 0 || now.since(Timestamp::from_millis(told)) >= TELL_EVERY;
        let claim = || {
            let (relaxed, now) = (Ordering::Relaxed, now.as_millis().max(1));
            self.told.compare_exchange(told, now, relaxed, relaxed)
        };
        if due && claim().is_ok() {
            tracing::warn!(error, errors, "disk cache: {what}");
        }
    }

    pub(super) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write()?;
        file.write_all_at(bytes, at)
    }

    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write()?;
        file.sync_data()
    }

    pub(super) fn read(&self, file: &File, len: usize, at: u64) -> io::Result<Vec<u8>> {
        #[cfg(test)]
        self.faults.before_read()?;
        // Into memory that is not cleared first.
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = at + bytes.len() as u64;
            match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // An allocator may give more room than it was asked for.
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Without waiting for the disk: `None` if not all of it is in memory.
    pub(super) fn read_cached(&self, file: &File, len: usize, at: u64) -> Option<Vec<u8>> {
        #[cfg(test)]
        self.faults.before_read().ok()?;
        let mut bytes = vec![0; len];
        let slices = &mut [io::IoSliceMut::new(&mut bytes)];
        let read = rustix::io::preadv2(file, slices, at, ReadWriteFlags::NOWAIT);
        (read == Ok(len)).then_some(bytes)
    }
}

// === impl Faults ===

#[cfg(test)]
impl Faults {
    fn before_read(&self) -> io::Result<()> {
        if self.reads.load(Ordering::SeqCst) {
            return Err(io::Error::other("a read fault"));
        }
        Ok(())
    }

    fn before_write(&self) -> io::Result<()> {
        let fails = self.writes.load(Ordering::SeqCst);
        if fails && self.writes_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}
