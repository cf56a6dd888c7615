//! Reads what is new in the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cirrus_core::cache::{LogPosition, LogUpdate};

use super::format::{Head, Line, whole_lines};
use super::writer;

/// How far somebody has read.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    position: Option<LogPosition>,
    /// Which file that was, and how much of it.
    seen: Option<Seen>,
    has_looked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
}

/// What lines say to somebody who expects a certain number.
struct Heard {
    purges: Vec<cirrus_core::cache::Purge>,
    is_lost: bool,
    last: u64,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(path: &Path, position: Option<LogPosition>) -> Self {
        Self {
            path: path.to_owned(),
            position,
            seen: None,
            has_looked: false,
        }
    }

    pub(super) fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// What is new. The file is made again if it is gone.
    pub(super) fn look(&mut self) -> io::Result<Vec<LogUpdate>> {
        self.has_looked = true;
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                writer::ensure(&self.path)?;
                File::open(&self.path)
            }
            file => file,
        }
        .map_err(|error| writer::of_file(&self.path, &error))?;
        let meta = file.metadata()?;
        let now = Seen {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
        };
        if self.seen == Some(now) {
            return Ok(vec![LogUpdate::Current]);
        }
        if meta.len() == 0 {
            // Somebody has emptied it. With a head it is a log again, and another one.
            writer::ensure(&self.path)?;
            return self.look();
        }
        let mut updates = Vec::new();
        updates.extend(self.read(&mut file, now)?);
        updates.push(LogUpdate::Current);
        Ok(updates)
    }

    fn read(&mut self, file: &mut File, now: Seen) -> io::Result<Option<LogUpdate>> {
        let mut start = vec![0; 4096];
        file.seek(SeekFrom::Start(0))?;
        let len = read_up_to(file, &mut start)?;
        let Some((head, begin)) = Head::read(&start[..len])? else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the purge log has no first line yet",
            ));
        };
        let seen = self.seen.filter(|seen| {
            let is_same = (seen.device, seen.inode) == (now.device, now.inode);
            is_same && seen.bytes <= now.bytes && self.is_of(&head)
        });
        let from = seen.map_or(begin as u64, |seen| seen.bytes);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let (lines, len) = whole_lines(&text);
        let known = self.position.as_ref().filter(|_| self.is_of(&head));
        let after = known.map(|position| position.number);
        let first = match seen {
            Some(_) => after.map_or(head.first, |number| number + 1),
            None => head.first,
        };
        let heard = heed(lines, first, after);
        self.seen = Some(Seen {
            bytes: from + len as u64,
            ..now
        });
        Ok(self.update(head, heard, after))
    }

    fn is_of(&self, head: &Head) -> bool {
        let known = self.position.as_ref();
        known.is_some_and(|position| *position.log == head.log)
    }

    fn update(&mut self, head: Head, heard: Heard, after: Option<u64>) -> Option<LogUpdate> {
        let position = LogPosition::new(head.log, heard.last);
        if !heard.is_lost && after == Some(heard.last) {
            return None;
        }
        self.position = Some(position.clone());
        Some(if heard.is_lost {
            LogUpdate::Lost(position)
        } else {
            LogUpdate::Purges {
                purges: heard.purges,
                position,
            }
        })
    }
}

/// Reads lines of which the first should have the number `first`. Purges up to `after` have been done; what cannot be
/// read, or is missing, is lost.
fn heed<'t>(lines: impl Iterator<Item = &'t [u8]>, first: u64, after: Option<u64>) -> Heard {
    let mut heard = Heard {
        purges: Vec::new(),
        // Nobody knows what came before, or it is not there any more.
        is_lost: after.is_none_or(|after| after + 1 < first),
        last: first.saturating_sub(1),
    };
    for line in lines {
        let expected = heard.last + 1;
        match serde_json::from_slice::<Line>(line) {
            Ok(Line { n, purge }) if n == expected => {
                if after.is_none_or(|after| n > after) {
                    heard.purges.push(purge);
                }
            }
            _ => heard.is_lost = true,
        }
        heard.last = expected;
    }
    // A number that was never given: the log has been set back.
    heard.is_lost |= after.is_some_and(|after| after > heard.last);
    heard
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}
