//! Writes the file: one writer at a time, and never half a line that anybody would believe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cirrus_core::cache::{LogPosition, Purge};

use super::beside;
use super::format::{Head, Line, line, whole_lines};

/// The turn to write, until it is dropped. Not the log's own file, which may be replaced. It also holds how far the log
/// was, so that one that was set back is noticed.
struct Turn(File);

/// What the file holds.
struct State {
    head: Head,
    /// The number of the last purge.
    last: u64,
    /// The length of what is whole.
    len: u64,
}

/// Makes the file if it is not there, or empty.
pub(super) fn ensure(path: &Path) -> io::Result<()> {
    let _turn = Turn::take(path)?;
    let (_, text) = open(path)?;
    if text.is_empty() {
        return begin(path).map(drop);
    }
    // Something else that somebody has there is left alone.
    Head::read(&text).map_err(|error| of_file(path, &error))?;
    Ok(())
}

/// Appends, durably. A file of more than `most` bytes is replaced by its newer half before.
pub(super) fn append(path: &Path, purges: &[Purge], most: u64) -> io::Result<LogPosition> {
    let mut turn = Turn::take(path)?;
    let (mut file, mut text) = open(path)?;
    let mut state = state(&text).map_err(|error| of_file(path, &error))?;
    if state.as_ref().is_some_and(|state| turn.is_ahead(state)) {
        state = None;
    }
    let state = match state {
        Some(state) => state,
        None => {
            let state = begin(path)?;
            (file, text) = open(path)?;
            state
        }
    };
    let position = LogPosition::new(state.head.log.as_str(), state.last + purges.len() as u64);
    let mut lines = Vec::new();
    for (n, purge) in (state.last + 1..).zip(purges) {
        let purge = purge.clone();
        lines.extend(line(&Line { n, purge })?);
    }
    if state.len > most {
        text.truncate(usize::try_from(state.len).unwrap_or(usize::MAX));
        text.extend(lines);
        replace(path, &newer_half(state.head, &text)?)?;
    } else {
        extend(&mut file, state.len, &lines).map_err(|error| of_file(path, &error))?;
    }
    turn.note(&position);
    Ok(position)
}

/// A new log in place of whatever is there.
fn begin(path: &Path) -> io::Result<State> {
    let head = Head::new();
    let text = line(&head)?;
    replace(path, &text)?;
    Ok(State {
        head,
        last: 0,
        len: text.len() as u64,
    })
}

/// Behind what is whole: what a writer that died has begun, nobody was told of.
fn extend(file: &mut File, len: u64, lines: &[u8]) -> io::Result<()> {
    file.set_len(len)?;
    file.seek(SeekFrom::End(0))?;
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // As if it had never been begun, as far as that can be done.
        let _ = file.set_len(len);
    }
    written
}

/// `None` for a file that has to begin anew.
fn state(text: &[u8]) -> io::Result<Option<State>> {
    let Some((head, begin)) = Head::read(text)? else {
        return Ok(None);
    };
    let (lines, len) = whole_lines(&text[begin..]);
    let last = head.first.saturating_sub(1) + lines.count() as u64;
    Ok(Some(State {
        head,
        last,
        len: (begin + len) as u64,
    }))
}

fn newer_half(head: Head, text: &[u8]) -> io::Result<Vec<u8>> {
    let begin = Head::read(text)?.map_or(0, |(_, begin)| begin);
    let (lines, _) = whole_lines(&text[begin..]);
    let lines: Vec<_> = lines.collect();
    let gone = lines.len() / 2;
    let first = head.first + gone as u64;
    let mut shorter = line(&head.from(first))?;
    for kept in &lines[gone..] {
        shorter.extend_from_slice(kept);
        shorter.push(b'\n');
    }
    Ok(shorter)
}

/// Has the file hold this, all at once.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| of_file(path, &error))
}

fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let read = options.open(path).and_then(|mut file| {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok((file, text))
    });
    read.map_err(|error| of_file(path, &error))
}

/// Says which file it is about.
pub(super) fn of_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

// === impl Turn ===

impl Turn {
    fn take(path: &Path) -> io::Result<Self> {
        let path = beside(path, ".lock");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let taken = options.open(&path).and_then(|file| {
            file.lock()?;
            Ok(Self(file))
        });
        taken.map_err(|error| of_file(&path, &error))
    }

    /// More has been appended to this log than there is: somebody has cut it or put back an old copy.
    fn is_ahead(&mut self, state: &State) -> bool {
        let mut text = Vec::new();
        let read = self.0.rewind().and_then(|()| self.0.read_to_end(&mut text));
        let noted = read.ok().and_then(|_| serde_json::from_slice(&text).ok());
        noted.is_some_and(|noted: LogPosition| {
            *noted.log == state.head.log && noted.number > state.last
        })
    }

    fn note(&mut self, position: &LogPosition) {
        let Ok(text) = serde_json::to_vec(position) else {
            return;
        };
        // Only a help: the purges are in the log already.
        let _ = (self.0.set_len(0))
            .and_then(|()| self.0.rewind())
            .and_then(|()| self.0.write_all(&text));
    }
}
