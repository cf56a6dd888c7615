//! The log of purges, which outlives the process.
//!
//! A purge has been written here, and has reached the disk, before it resolves. A log that is not what was written
//! may have lost a purge, so then nothing that is stored may be served: see `directory`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cirrus_core::cache::Moment;
use cirrus_core::cache::epochs::{Epochs, Recorded};
use parking_lot::Mutex;

use super::codec::{Reader, Writer};
use super::frame::{Frame, Scanner, framed};
use super::io::Io;

/// The checksums of this log's records depend on it.
const LOG: u64 = 0x7075_7267_6573;

/// Beyond this it is written anew, with what still matters only.
const COMPACT_FROM: u64 = 8 << 20;

/// The log.
pub(super) struct PurgeLog {
    path: PathBuf,
    seed: u64,
    end: Mutex<End>,
    /// How far it has reached the disk. Held while somebody sees to that, for all who wait.
    synced: Mutex<u64>,
    /// The last purge in it.
    last: AtomicU64,
}

/// The file's end.
struct End {
    file: File,
    len: u64,
    /// Bytes ever appended.
    appended: u64,
    /// What it may not grow beyond before it is compacted.
    compact_from: u64,
}

/// What the log has.
#[derive(Default)]
pub(super) struct Past {
    pub(super) purges: Vec<Recorded>,
    /// When keys of these hashes were removed last.
    pub(super) removed: HashMap<u64, u64, foldhash::fast::RandomState>,
    pub(super) last: u64,
}

/// One record.
enum Entry {
    /// A purge that [`Epochs`] remembers.
    Mark(Recorded),
    /// A key with this hash was removed.
    Removed { hash: u64, moment: u64 },
    /// Purges up to this are in the log, or concern nothing any more.
    Upto(u64),
}

// === impl PurgeLog ===

impl PurgeLog {
    /// What the log says; `None` if that cannot be relied on.
    pub(super) fn read(path: &Path, seed: u64) -> io::Result<Option<Past>> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut scanner = Scanner::new(BufReader::new(file), len, seed ^ LOG);
        let mut past = Past::default();
        loop {
            match scanner.next()? {
                Frame::Whole { .. } => match Entry::decode(scanner.payload()) {
                    Some(entry) => past.add(entry),
                    None => return Ok(None),
                },
                // The last purge, which did not resolve.
                Frame::End | Frame::Torn => break,
                // After a power failure a file may end with zeros that nobody wrote.
                Frame::Lost if len > 0 && is_zero(&mut scanner.into_rest())? => break,
                Frame::Lost | Frame::Damaged => return Ok(None),
            }
        }
        // No log is without a record.
        Ok((past.last > 0).then_some(past))
    }

    /// A log of what `past` and `epochs` say, in the place of the one before.
    pub(super) fn create(
        path: PathBuf,
        seed: u64,
        past: &Past,
        epochs: &Epochs,
    ) -> io::Result<Self> {
        let removed = past.removed.iter().map(|(hash, moment)| (*hash, *moment));
        let last = past.last.max(1);
        let (file, len) = write_new(&path, seed, last, removed, epochs)?;
        Ok(Self {
            path,
            seed,
            end: Mutex::new(End {
                file,
                len,
                appended: len,
                compact_from: COMPACT_FROM.max(len * 2),
            }),
            synced: Mutex::new(len),
            last: AtomicU64::new(last),
        })
    }

    /// The last purge in it.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Writes down a purge by mark.
    pub(super) fn mark(&self, io: &Io, recorded: Recorded) -> io::Result<()> {
        self.append(io, &Entry::Mark(recorded))
    }

    /// Writes down that keys of this hash were removed.
    pub(super) fn remove(&self, io: &Io, hash: u64, moment: Moment) -> io::Result<()> {
        let moment = moment.0;
        self.append(io, &Entry::Removed { hash, moment })
    }

    fn append(&self, io: &Io, entry: &Entry) -> io::Result<()> {
        let mut end = self.end.lock();
        let frame = framed(self.seed ^ LOG, end.len, &entry.encode())?;
        if let Err(error) = io.write(&end.file, &frame, end.len) {
            end.file.set_len(end.len)?;
            return Err(error);
        }
        end.len += frame.len() as u64;
        end.appended += frame.len() as u64;
        let appended = end.appended;
        drop(end);
        self.sync(io, appended)?;
        self.last.fetch_max(entry.moment(), Ordering::AcqRel);
        Ok(())
    }

    fn sync(&self, io: &Io, upto: u64) -> io::Result<()> {
        let mut synced = self.synced.lock();
        // Somebody else's turn has done it for us.
        if *synced >= upto {
            return Ok(());
        }
        let end = self.end.lock();
        let (file, appended) = (end.file.try_clone()?, end.appended);
        drop(end);
        io.sync(&file)?;
        *synced = appended;
        Ok(())
    }

    /// Writes the log anew if it has grown long. What happened before `oldest` began concerns nobody.
    pub(super) fn compact(&self, epochs: &Epochs, oldest: u64) -> io::Result<()> {
        let mut synced = self.synced.lock();
        let mut end = self.end.lock();
        if end.len < end.compact_from {
            return Ok(());
        }
        let Some(mut past) = Self::read(&self.path, self.seed)? else {
            return Err(io::Error::other("the log of purges is damaged"));
        };
        past.removed.retain(|_, moment| *moment > oldest);
        let removed = past.removed.iter().map(|(hash, moment)| (*hash, *moment));
        let last = self.last().max(past.last);
        let (file, len) = write_new(&self.path, self.seed, last, removed, epochs)?;
        *synced = end.appended;
        end.file = file;
        end.len = len;
        end.compact_from = COMPACT_FROM.max(len * 2);
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.end.lock().len
    }
}

/// Replaces the log as a whole: whenever this stops, either the old or the new one is there.
fn write_new(
    path: &Path,
    seed: u64,
    last: u64,
    removed: impl Iterator<Item = (u64, u64)>,
    epochs: &Epochs,
) -> io::Result<(File, u64)> {
    let marks = epochs.recorded().into_iter().map(Entry::Mark);
    let removed = removed.map(|(hash, moment)| Entry::Removed { hash, moment });
    let mut entries: Vec<_> = marks.chain(removed).chain([Entry::Upto(last)]).collect();
    // So that a log which is cut does not know the numbers that records written later know.
    entries.sort_by_key(Entry::moment);
    let mut log = Vec::new();
    for entry in entries {
        let frame = framed(seed ^ LOG, log.len() as u64, &entry.encode())?;
        log.extend_from_slice(&frame);
    }
    replace(path, &log)?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    Ok((file, log.len() as u64))
}

/// Puts a file in the place of the one before, and has all of it reach the disk.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn is_zero(rest: &mut impl Read) -> io::Result<bool> {
    let mut bytes = Vec::new();
    rest.read_to_end(&mut bytes)?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

// === impl Past ===

impl Past {
    fn add(&mut self, entry: Entry) {
        self.last = self.last.max(entry.moment());
        match entry {
            Entry::Mark(recorded) => self.purges.push(recorded),
            Entry::Removed { hash, moment } => {
                let last = self.removed.entry(hash).or_default();
                *last = moment.max(*last);
            }
            Entry::Upto(_) => {}
        }
    }
}

// === impl Entry ===

impl Entry {
    fn moment(&self) -> u64 {
        match self {
            Self::Mark(recorded) => recorded.moment.0,
            Self::Removed { moment, .. } | Self::Upto(moment) => *moment,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Mark(recorded) => {
                out.u8(0);
                out.purge(recorded);
            }
            Self::Removed { hash, moment } => {
                out.u8(1);
                out.u64(*hash);
                out.u64(*moment);
            }
            Self::Upto(moment) => {
                out.u8(2);
                out.u64(*moment);
            }
        }
        out.0
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut from = Reader(payload);
        Some(match from.u8()? {
            0 => Self::Mark(from.purge()?),
            1 => Self::Removed {
                hash: from.u64()?,
                moment: from.u64()?,
            },
            2 => Self::Upto(from.u64()?),
            _ => return None,
        })
    }
}
