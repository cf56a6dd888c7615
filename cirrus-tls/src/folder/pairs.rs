//! The pairs of a directory, from one reading to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cirrus_core::Timestamp;

use super::Problem;
use super::rivals::rivals;
use crate::pem::{Loaded, Warning};

/// Every pair, by its files' name without the ending.
#[derive(Default)]
pub(super) struct Pairs {
    pairs: BTreeMap<String, Pair>,
    /// The directory itself cannot be read.
    unreadable: Option<Problem>,
    /// Pairs that others are in the way of.
    rivals: Vec<Problem>,
}

/// The last good state of a pair, and what has been wrong since.
struct Pair {
    files: Files,
    /// What was last read: an unchanged pair is not parsed, nor complained about, again.
    seen: Option<[u64; 3]>,
    loaded: Option<Loaded>,
    /// Read already, but not valid yet: takes over once it is.
    next: Option<Loaded>,
    fault: Option<Problem>,
    lapse: Option<Warning>,
}

/// Two files that may make a pair.
struct Files {
    stem: String,
    chain: PathBuf,
    key: PathBuf,
    /// What a responder says of it; need not be there.
    staple: PathBuf,
}

/// A file, as far as it could be read.
#[derive(Hash)]
enum Half {
    Missing,
    Unreadable(String),
    Text(Vec<u8>),
}

const CHAIN: &str = "pem";
const KEY: &str = "key";
const STAPLE: &str = "ocsp";

/// Far beyond any chain; what is larger was put there by mistake.
const MAX_FILE: u64 = 1 << 20;

// === impl Pairs ===

impl Pairs {
    /// Reads `directory` and takes over what can be served. Logs what is newly wrong.
    pub(super) fn read(&mut self, directory: &Path, now: Timestamp) {
        match stems(directory) {
            Ok(stems) => {
                self.unreadable = None;
                self.read_all(directory, &stems, now);
            }
            Err(error) => self.vanish(directory, &error),
        }
        for pair in self.pairs.values_mut() {
            pair.check_dates(now);
        }
        self.compare(directory, now);
    }

    fn compare(&mut self, directory: &Path, now: Timestamp) {
        let rivals = rivals(directory, self.served(), now);
        for problem in rivals.iter().filter(|one| !self.rivals.contains(one)) {
            tracing::warn!(%problem, "two certificates for one name");
        }
        self.rivals = rivals;
    }

    /// What can be served, by the files' name.
    pub(super) fn served(&self) -> impl Iterator<Item = (&str, &Loaded)> + Clone {
        self.pairs
            .iter()
            .filter_map(|(stem, pair)| Some((&**stem, pair.loaded.as_ref()?)))
    }

    /// Everything that is wrong.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.unreadable
            .iter()
            .cloned()
            .chain(self.pairs.values().flat_map(Pair::problems))
            .chain(self.rivals.iter().cloned())
            .collect()
    }

    fn read_all(&mut self, directory: &Path, stems: &BTreeSet<String>, now: Timestamp) {
        self.pairs.retain(|stem, _| stems.contains(stem));
        for stem in stems {
            let new = || Pair::new(Files::new(directory, stem));
            self.pairs.entry(stem.clone()).or_insert_with(new).read(now);
        }
    }

    fn vanish(&mut self, directory: &Path, error: &io::Error) {
        let message = format!("the directory cannot be read: {error}");
        let problem = Problem {
            file: directory.to_owned(),
            message,
        };
        if self.unreadable.as_ref() != Some(&problem) {
            tracing::warn!(%problem, "the certificates stay as they are");
        }
        self.unreadable = Some(problem);
    }
}

// === impl Pair ===

impl Pair {
    fn new(files: Files) -> Self {
        Self {
            files,
            seen: None,
            loaded: None,
            next: None,
            fault: None,
            lapse: None,
        }
    }

    fn read(&mut self, now: Timestamp) {
        let (chain, key) = (Half::read(&self.files.chain), Half::read(&self.files.key));
        let staple = Half::read(&self.files.staple);
        let seen = Some([chain.print(), key.print(), staple.print()]);
        if self.seen == seen {
            return;
        }
        self.seen = seen;
        self.next = None;
        self.fault = match self.files.load(&chain, &key) {
            Ok(loaded) => {
                let (loaded, bad) = self.files.staple(loaded, &staple, now);
                self.take(loaded, now).or(bad)
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = &self.fault {
            tracing::warn!(%problem, served = self.loaded.is_some(), "look at this certificate");
        }
    }

    /// Takes a new certificate over, unless it would replace a valid one by one that is not.
    fn take(&mut self, next: Loaded, now: Timestamp) -> Option<Problem> {
        let present = self
            .loaded
            .as_ref()
            .filter(|present| present.lapse(now).is_none());
        if let (Some(_), Some(lapse)) = (present, next.lapse(now)) {
            let problem = format!("{lapse}; the one before it stays");
            self.next = Some(next);
            return Some(self.files.chain_problem(problem));
        }
        // Dates have their own warning, which comes and goes with time.
        let order = next
            .warnings(now)
            .into_iter()
            .find(|one| *one == Warning::ChainOrder);
        self.lapse = None;
        self.loaded = Some(next);
        order.map(|order| self.files.chain_problem(order.to_string()))
    }

    fn check_dates(&mut self, now: Timestamp) {
        if let Some(next) = self.next.take_if(|next| next.lapse(now).is_none()) {
            self.fault = self.take(next, now);
        }
        let Some(loaded) = &mut self.loaded else {
            return;
        };
        if loaded.is_stale(now) {
            let file = self.files.staple.display();
            tracing::warn!(%file, "it is too old, and not sent any more");
            if let Ok(without) = loaded.clone().with_staple(&[], now) {
                *loaded = without;
            }
        }
        let lapse = loaded.lapse(now);
        if let Some(warning) = lapse
            .as_ref()
            .filter(|lapse| self.lapse.as_ref() != Some(lapse))
        {
            tracing::warn!(names = ?loaded.certificate.names, "{warning}");
        }
        self.lapse = lapse;
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let lapse = self
            .lapse
            .as_ref()
            .map(|lapse| self.files.chain_problem(lapse.to_string()));
        self.fault.clone().into_iter().chain(lapse)
    }
}

// === impl Files ===

impl Files {
    fn new(directory: &Path, stem: &str) -> Self {
        let file = |ending| directory.join(format!("{stem}.{ending}"));
        Self {
            stem: stem.to_owned(),
            chain: file(CHAIN),
            key: file(KEY),
            staple: file(STAPLE),
        }
    }

    fn load(&self, chain: &Half, key: &Half) -> Result<Loaded, Problem> {
        let chain = match chain {
            Half::Text(text) => text,
            Half::Unreadable(reason) => return Err(self.chain_problem(reason.clone())),
            Half::Missing => return Err(self.key_problem(self.alone(KEY, CHAIN))),
        };
        let key = match key {
            Half::Text(text) => text,
            Half::Unreadable(reason) => return Err(self.key_problem(reason.clone())),
            Half::Missing if has_key(chain) => chain,
            Half::Missing => return Err(self.chain_problem(self.alone(CHAIN, KEY))),
        };
        Loaded::from_pem(chain, key).map_err(|error| match error.is_about_key() {
            true => self.key_problem(error.to_string()),
            false => self.chain_problem(error.to_string()),
        })
    }

    /// With the OCSP response beside it, if that is any good.
    fn staple(&self, loaded: Loaded, staple: &Half, now: Timestamp) -> (Loaded, Option<Problem>) {
        let reason = match staple {
            Half::Missing => return (loaded, None),
            Half::Unreadable(reason) => reason.clone(),
            Half::Text(der) => match loaded.clone().with_staple(der, now) {
                Ok(stapled) => return (stapled, None),
                Err(reason) => reason.to_owned(),
            },
        };
        let problem = Problem {
            file: self.staple.clone(),
            message: format!("{reason}; the certificate is served without"),
        };
        (loaded, Some(problem))
    }

    fn alone(&self, there: &str, missing: &str) -> String {
        let stem = &self.stem;
        format!("{stem}.{there} has no {stem}.{missing} beside it")
    }

    fn chain_problem(&self, message: String) -> Problem {
        Problem {
            file: self.chain.clone(),
            message,
        }
    }

    fn key_problem(&self, message: String) -> Problem {
        Problem {
            file: self.key.clone(),
            message,
        }
    }
}

// === impl Half ===

impl Half {
    fn read(path: &Path) -> Self {
        match read(path) {
            Ok(text) => Self::Text(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(format!("it cannot be read: {error}")),
        }
    }

    /// Tells one reading from the next without keeping the key's text.
    fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe waits for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)?;
    match text.len() as u64 {
        0..=MAX_FILE => Ok(text),
        _ => Err(io::Error::other("it is larger than 1 MiB")),
    }
}

/// Whether a file has the key besides the chain.
fn has_key(text: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    text.windows(MARK.len()).any(|window| window == MARK)
}

/// The names, without ending, of all files that may be halves. Hidden ones are somebody's temporary files.
fn stems(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut stems = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some((stem, ending)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        if [CHAIN, KEY].contains(&ending) && !stem.is_empty() && !stem.starts_with('.') {
            stems.insert(stem.to_owned());
        }
    }
    Ok(stems)
}
