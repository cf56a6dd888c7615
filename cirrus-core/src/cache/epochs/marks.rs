//! The purges themselves, by what they concern.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{MOST_LENGTHS, Recorded};
use crate::cache::key::CacheKey;
use crate::cache::purge::{Mode, Purge, Selection};
use crate::cache::store::Moment;
use crate::cache::tag::Tags;
use crate::clock::Timestamp;

/// What was purged.
#[derive(Default)]
pub(super) struct Marks {
    all: Mark,
    hosts: HashMap<Box<str>, Host, foldhash::fast::RandomState>,
    tags: HashMap<Box<str>, Mark, foldhash::fast::RandomState>,
    /// Those of hosts, prefixes, URLs and tags.
    pub(super) count: usize,
    /// The highest number of those that were forgotten.
    pub(super) forgotten: u64,
}

/// What was purged of one host.
#[derive(Default)]
struct Host {
    whole: Mark,
    prefixes: HashMap<Box<[u8]>, Mark, foldhash::fast::RandomState>,
    /// How many prefixes there are of each length.
    lengths: BTreeMap<usize, usize>,
    urls: HashMap<CacheKey, Mark, foldhash::fast::RandomState>,
}

/// The last purges of something. Numbers begin with 1, so 0 is "never".
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) hard: u64,
    pub(super) soft: u64,
    pub(super) soft_at: Timestamp,
}

// === impl Marks ===

impl Marks {
    pub(super) fn record(&mut self, what: &Selection, mark: Mark) {
        self.count += match what {
            Selection::All => {
                self.all.join(mark);
                0
            }
            Selection::Tag(tag) => usize::from(put(&mut self.tags, tag.as_ref().into(), mark)),
            Selection::Host(host) => self.host(host).mark_whole(mark),
            Selection::Prefix { host, path } => self.host(host).mark_prefix(path.as_bytes(), mark),
            Selection::Url(key) => {
                usize::from(put(&mut self.host(key.host()).urls, key.clone(), mark))
            }
        };
    }

    fn host(&mut self, host: &str) -> &mut Host {
        self.hosts.entry(host.into()).or_default()
    }

    /// The highest marks of all that concern an object.
    pub(super) fn concerning(&self, key: &CacheKey, tags: &Tags) -> Mark {
        let mut mark = self.all;
        if let Some(host) = self.hosts.get(key.host()) {
            mark.join(host.concerning(key));
        }
        if !self.tags.is_empty() {
            for tag in tags.iter() {
                mark.join(self.tags.get(tag).copied().unwrap_or_default());
            }
        }
        mark
    }

    /// Makes room once there are more than `most`: for a quarter of them at least, so that it is seldom needed.
    pub(super) fn bound(&mut self, most: usize) {
        if self.count <= most {
            return;
        }
        let middle = median(self.hosts.values().flat_map(Host::parts));
        self.hosts
            .values_mut()
            .for_each(|host| host.collapse(middle));
        self.recount();
        if self.count > most / 4 * 3 {
            let wholes = self.hosts.values().map(|host| host.whole);
            let middle = median(self.tags.values().copied().chain(wholes));
            self.collapse(middle);
            self.recount();
        }
    }

    /// What is not later than `upto` becomes a purge of everything.
    fn collapse(&mut self, upto: u64) {
        let all = &mut self.all;
        self.tags
            .retain(|_, mark| mark.last() > upto || all.absorb(*mark));
        for host in self.hosts.values_mut() {
            if host.whole.last() <= upto {
                all.join(std::mem::take(&mut host.whole));
            }
        }
    }

    /// As purges, from which [`record`](Self::record) makes marks that remove as much.
    pub(super) fn recorded(&self) -> Vec<Recorded> {
        let forgotten = Mark::new(Mode::Hard, self.forgotten, Timestamp::default());
        let mut all = Vec::new();
        // An object older than what was forgotten is dead, as if all had been purged then.
        for mark in [self.all, forgotten] {
            mark.list(&mut all, || Selection::All);
        }
        for (tag, mark) in &self.tags {
            mark.list(&mut all, || Selection::Tag(tag.as_ref().into()));
        }
        for (name, host) in &self.hosts {
            host.list(&mut all, &name.as_ref().into());
        }
        all
    }

    #[cfg(test)]
    pub(super) fn lengths(&self, host: &str) -> usize {
        self.hosts[host].lengths.len()
    }

    pub(super) fn forget_before(&mut self, oldest: u64) {
        let mut forgotten = self.forgotten;
        let mut concerns = |mark: Mark| {
            let concerns = mark.last() > oldest;
            if !concerns {
                forgotten = forgotten.max(mark.last());
            }
            concerns
        };
        if !concerns(self.all) {
            self.all = Mark::default();
        }
        self.tags.retain(|_, mark| concerns(*mark));
        for host in self.hosts.values_mut() {
            if !concerns(host.whole) {
                host.whole = Mark::default();
            }
            host.urls.retain(|_, mark| concerns(*mark));
            host.prefixes.retain(|_, mark| concerns(*mark));
        }
        self.forgotten = forgotten;
        self.recount();
    }

    fn recount(&mut self) {
        self.hosts.retain(|_, host| host.recount() > 0);
        self.count = self.tags.len() + self.hosts.values().map(Host::count).sum::<usize>();
        self.tags.shrink_to(self.tags.len() * 2);
        self.hosts.shrink_to(self.hosts.len() * 2);
    }
}

// === impl Host ===

impl Host {
    fn list(&self, all: &mut Vec<Recorded>, name: &Arc<str>) {
        self.whole.list(all, || Selection::Host(Arc::clone(name)));
        for (url, mark) in &self.urls {
            mark.list(all, || Selection::Url(url.clone()));
        }
        for (prefix, mark) in &self.prefixes {
            mark.list(all, || Selection::Prefix {
                host: Arc::clone(name),
                path: text(prefix).into(),
            });
        }
    }

    /// Gives how many marks that adds.
    fn mark_whole(&mut self, mark: Mark) -> usize {
        let new = self.whole.last() == 0;
        self.whole.join(mark);
        usize::from(new)
    }

    /// Gives how many marks that adds.
    fn mark_prefix(&mut self, path: &[u8], mark: Mark) -> usize {
        let path = &path[..self.fitting(path.len())];
        if path.is_empty() {
            return self.mark_whole(mark);
        }
        let new = put(&mut self.prefixes, path.into(), mark);
        if new {
            *self.lengths.entry(path.len()).or_default() += 1;
        }
        usize::from(new)
    }

    /// With too many different lengths, a prefix is shortened to one that is there already.
    fn fitting(&self, len: usize) -> usize {
        if self.lengths.len() < MOST_LENGTHS || self.lengths.contains_key(&len) {
            return len;
        }
        self.lengths
            .range(..len)
            .next_back()
            .map_or(0, |(len, _)| *len)
    }

    fn concerning(&self, key: &CacheKey) -> Mark {
        let mut mark = self.whole;
        if let Some(url) = self.urls.get(key) {
            mark.join(*url);
        }
        let target = key.target().as_bytes();
        for len in self.lengths.range(..=target.len()).map(|(len, _)| *len) {
            mark.join(
                self.prefixes
                    .get(&target[..len])
                    .copied()
                    .unwrap_or_default(),
            );
        }
        mark
    }

    fn parts(&self) -> impl Iterator<Item = Mark> {
        self.urls.values().chain(self.prefixes.values()).copied()
    }

    /// What is not later than `upto` becomes a purge of the whole host.
    fn collapse(&mut self, upto: u64) {
        let whole = &mut self.whole;
        self.urls
            .retain(|_, mark| mark.last() > upto || whole.absorb(*mark));
        self.prefixes
            .retain(|_, mark| mark.last() > upto || whole.absorb(*mark));
    }

    fn recount(&mut self) -> usize {
        self.lengths.clear();
        for prefix in self.prefixes.keys() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.count()
    }

    fn count(&self) -> usize {
        usize::from(self.whole.last() > 0) + self.prefixes.len() + self.urls.len()
    }
}

// === impl Mark ===

impl Mark {
    pub(super) fn new(mode: Mode, number: u64, now: Timestamp) -> Self {
        match mode {
            Mode::Hard => Self {
                hard: number,
                ..Self::default()
            },
            Mode::Soft => Self {
                soft: number,
                soft_at: now,
                hard: 0,
            },
        }
    }

    fn list(self, all: &mut Vec<Recorded>, what: impl Fn() -> Selection) {
        if self.hard > 0 {
            all.push(Recorded {
                purge: Purge::hard(what()),
                moment: Moment(self.hard),
                at: Timestamp::default(),
            });
        }
        if self.soft > 0 {
            all.push(Recorded {
                purge: Purge::soft(what()),
                moment: Moment(self.soft),
                at: self.soft_at,
            });
        }
    }

    fn last(self) -> u64 {
        self.hard.max(self.soft)
    }

    fn join(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        if other.soft > self.soft {
            (self.soft, self.soft_at) = (other.soft, other.soft_at);
        }
    }

    /// Joins, and says that the other need not be kept.
    fn absorb(&mut self, other: Self) -> bool {
        self.join(other);
        false
    }
}

/// Without the character that a shortened prefix may end within: that removes more, never less.
fn text(prefix: &[u8]) -> &str {
    match std::str::from_utf8(prefix) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&prefix[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// Marks `what`; whether it had no mark before.
fn put<K, S>(marks: &mut HashMap<K, Mark, S>, what: K, mark: Mark) -> bool
where
    K: Eq + std::hash::Hash,
    S: std::hash::BuildHasher,
{
    let before = marks.len();
    marks.entry(what).or_default().join(mark);
    marks.len() > before
}

/// The number that half of the marks do not exceed; 0 without marks.
fn median(marks: impl Iterator<Item = Mark>) -> u64 {
    let mut numbers: Vec<_> = marks.map(Mark::last).filter(|number| *number > 0).collect();
    if numbers.is_empty() {
        return 0;
    }
    let middle = (numbers.len() - 1) / 2;
    *numbers.select_nth_unstable(middle).1
}
