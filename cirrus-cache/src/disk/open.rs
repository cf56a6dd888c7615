//! A directory becomes a store: its lock, what marks it as ours, and what is found there.
//!
//! The directory holds `LOCK`, the mark `cirrus-cache`, the log `purges` and the folder `segments`. If the mark or
//! the log of purges is not what was written, or they are of another version, what is stored cannot be relied on:
//! everything is removed, and a new mark with a new seed makes sure that nothing of it is ever taken for a record.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::hash::BuildHasher;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cirrus_core::Clock;
use cirrus_core::cache::Moment;
use cirrus_core::cache::epochs::Epochs;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_64;

use super::OpenError;
use super::body::Unreadable;
use super::codec::Reader;
use super::fills::Fills;
use super::frame::{Frame, Scanner};
use super::index::{Index, Slot};
use super::io::Io;
use super::pool::Pool;
use super::purges::{Past, PurgeLog, replace};
use super::record::Head;
use super::segment::{Paths, Segment};
use super::segments::Segments;
use super::sketch::Sketch;
use super::store::{Admission, Inner, STRIPES, Weigh};

const LOCK: &str = "LOCK";

/// How often the lock of another process is tried again, and how long after: for one second in all. One that was killed
/// holds it until the system has done with it.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

const MARK: &str = "cirrus-cache";
const PURGES: &str = "purges";
const SEGMENTS: &str = "segments";

/// What the mark begins with; the last byte is the form's version.
const MAGIC: &[u8; 16] = b"cirrus disk  \n\0\x01";

/// What a directory may hold that is to become ours.
const HARMLESS: [&str; 3] = [LOCK, "cirrus-cache.new", "lost+found"];

/// As the builder has it.
pub(super) struct Settings {
    pub(super) path: PathBuf,
    pub(super) capacity: u64,
    pub(super) max_object: u64,
    pub(super) min_uses: u8,
    pub(super) metadata: u64,
    pub(super) threads: usize,
    pub(super) clock: Arc<dyn Clock>,
}

/// What the segments hold.
struct Recovery {
    io: Arc<Io>,
    seed: u64,
    index: Index,
    live: BTreeMap<u32, Arc<Segment>>,
    last_id: u64,
    /// The highest number that any object remembers.
    last_moment: u64,
    /// The last purge that any record knows of.
    last_purge: u64,
    records: u64,
}

pub(super) fn open(settings: Settings) -> Result<Inner, OpenError> {
    let path = settings.path.clone();
    let failed = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(&path).map_err(failed)?;
    check_ours(&path, failed)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK));
    let lock = lock.map_err(failed)?;
    match take(&lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    fs::create_dir_all(path.join(SEGMENTS)).map_err(failed)?;
    open_locked(settings, lock).map_err(failed)
}

fn take(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            taken => return taken,
        }
    }
    lock.try_lock()
}

/// Nothing is written into a directory that is somebody else's.
fn check_ours(path: &Path, failed: impl Fn(io::Error) -> OpenError) -> Result<(), OpenError> {
    if path.join(MARK).is_file() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            let path = path.to_owned();
            let found = name.to_string_lossy().into_owned();
            return Err(OpenError::NotOurs { path, found });
        }
    }
    Ok(())
}

fn open_locked(settings: Settings, lock: File) -> io::Result<Inner> {
    let io = Arc::new(Io::new(Arc::clone(&settings.clock)));
    let (past, found) = recover(&settings.path, &io)?;
    let epochs = Epochs::new();
    past.purges.iter().for_each(|purge| epochs.replay(purge));
    epochs.resume_after(Moment(past.last.max(found.last_moment)));

    let oldest = found.live.values().map(|segment| segment.oldest()).min();
    let mut past = past;
    past.removed
        .retain(|_, moment| *moment > oldest.unwrap_or(u64::MAX));
    let log = PurgeLog::create(settings.path.join(PURGES), found.seed, &past, &epochs)?;

    let directory = settings.path.join(SEGMENTS);
    let (seed, capacity) = (found.seed, settings.capacity);
    let segments = Segments::new(directory, Arc::clone(&io), seed, capacity, found.live)?;
    let sketch = (settings.min_uses > 1).then(Sketch::new);
    let items = usize::try_from(settings.metadata / 1024).unwrap_or(usize::MAX);
    let inner = Inner {
        io,
        segments,
        index: found.index,
        fills: Fills::new(),
        epochs,
        log,
        hot: Cache::with_weighter(items, settings.metadata, Weigh),
        admission: Admission {
            max_object: settings.max_object,
            min_uses: settings.min_uses,
            sketch,
        },
        stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        readers: Pool::start("cirrus-disk-read", settings.threads)?,
        writers: Pool::start("cirrus-disk-write", settings.threads.div_ceil(4) + 1)?,
        backlog: Arc::default(),
        last_id: AtomicU64::new(found.last_id),
        evicted: AtomicU64::new(0),
        seed,
        capacity,
        _lock: lock,
    };
    let mut evicted = Vec::new();
    inner.segments.shrink(&mut evicted);
    inner.drop_segments(evicted);
    Ok(inner)
}

/// What is found, if it can be relied on; else the beginning of an empty store.
fn recover(path: &Path, io: &Arc<Io>) -> io::Result<(Past, Recovery)> {
    let log = path.join(PURGES);
    if let Some(seed) = read_mark(path) {
        let past = PurgeLog::read(&log, seed).ok().flatten();
        if let Some(past) = past {
            let found = Recovery::scan(path, seed, &past, io)?;
            // A record knows of a purge that the log has lost: who knows which others it has lost?
            if found.last_purge <= past.last {
                return Ok((past, found));
            }
        }
    }
    if path.join(MARK).exists() {
        tracing::warn!(path = %path.display(), "disk cache: damaged or of another version, begun anew");
    }
    start_over(path)?;
    let seed = write_mark(path)?;
    let past = Past::default();
    PurgeLog::create(log, seed, &past, &Epochs::new())?;
    let found = Recovery::scan(path, seed, &past, io)?;
    Ok((past, found))
}

fn start_over(path: &Path) -> io::Result<()> {
    for (_, paths) in segments_in(path)? {
        // A file that is missing need not be removed.
        let _ = paths.remove();
    }
    Ok(())
}

/// The files in the folder of segments that are such, by their names.
fn segments_in(path: &Path) -> io::Result<BTreeMap<u32, Paths>> {
    let directory = path.join(SEGMENTS);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let stem = name
            .strip_suffix(".data")
            .or_else(|| name.strip_suffix(".log"));
        if let Some(id) = stem.and_then(|stem| stem.parse().ok()) {
            found.insert(id, Paths::of(&directory, id));
        }
    }
    Ok(found)
}

fn read_mark(path: &Path) -> Option<u64> {
    let mark = fs::read(path.join(MARK)).ok()?;
    let (magic, rest) = mark.split_first_chunk::<16>()?;
    let mut rest = Reader(rest);
    let (seed, sum) = (rest.u64()?, rest.u64()?);
    (magic == MAGIC && rest.0.is_empty() && xxh3_64(&mark[..24]) == sum).then_some(seed)
}

fn write_mark(path: &Path) -> io::Result<u64> {
    // Nobody can know it in advance, and so make keys of the same hash.
    let seed = std::hash::RandomState::new().hash_one(path);
    let mut mark = MAGIC.to_vec();
    mark.extend_from_slice(&seed.to_le_bytes());
    mark.extend_from_slice(&xxh3_64(&mark).to_le_bytes());
    replace(&path.join(MARK), &mark)?;
    Ok(seed)
}

// === impl Recovery ===

impl Recovery {
    fn scan(path: &Path, seed: u64, past: &Past, io: &Arc<Io>) -> io::Result<Self> {
        let mut found = Self {
            io: Arc::clone(io),
            seed,
            index: Index::new(),
            live: BTreeMap::new(),
            last_id: 0,
            last_moment: 0,
            last_purge: 0,
            records: 0,
        };
        for (id, paths) in segments_in(path)? {
            if paths.data.is_file() && paths.log.is_file() {
                found.add(id, paths, past)?;
            } else {
                // Half of one that was being removed or made.
                let _ = paths.remove();
            }
        }
        if found.records > 0 {
            tracing::info!(records = found.records, "disk cache: opened");
        }
        Ok(found)
    }

    fn add(&mut self, id: u32, paths: Paths, past: &Past) -> io::Result<()> {
        let segment = Segment::open(paths, id, self.seed, &self.io)?;
        let (len, log) = (segment.log_len(), segment.log().try_clone()?);
        let log = BufReader::with_capacity(1 << 20, log);
        let mut scanner = Scanner::new(log, len, segment.seed());
        loop {
            match scanner.next()? {
                Frame::Whole { at } => {
                    let head = Head::decode(&mut Reader(scanner.payload()));
                    if let Some(head) = head {
                        self.take(&segment, head, at, scanner.end() - at, past);
                    }
                }
                Frame::Damaged => self.io.report("a record is lost", &Unreadable::Damaged),
                Frame::End => break,
                Frame::Lost | Frame::Torn => {
                    segment.cut(scanner.end())?;
                    break;
                }
            }
        }
        segment.seal();
        self.live.insert(id, Arc::new(segment));
        Ok(())
    }

    /// A record that comes later takes the place of one that came earlier.
    fn take(&mut self, segment: &Segment, head: Head, at: u64, len: u64, past: &Past) {
        self.last_id = self.last_id.max(head.id);
        self.last_moment = self.last_moment.max(head.born).max(head.renewed);
        self.last_purge = self.last_purge.max(head.purged);
        self.records += 1;
        segment.note(head.hash, head.born);
        let removed = past.removed.get(&head.hash).copied().unwrap_or(0);
        let (Ok(at), Ok(len)) = (u32::try_from(at), u32::try_from(len)) else {
            return;
        };
        if removed <= head.born {
            let (hash, variant) = (head.hash, head.variant);
            let segment = segment.id;
            self.index.place(Slot {
                hash,
                segment,
                at,
                len,
                variant,
            });
        }
    }
}
