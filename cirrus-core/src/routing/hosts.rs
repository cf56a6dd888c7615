//! From a host to its site.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::host_pattern::{Form, HostPattern};

/// Into how many parts a map is divided, so that a change copies little: 400 names of 100,000.
const SHARDS: usize = 256;

/// Finds what belongs to a host: the exact name first, then the longest wildcard, then `*`.
///
/// Immutable, and cheap to clone. [`edit`](Self::edit) makes a changed copy in time that depends on the change, not on
/// how many hosts there are.
#[derive(Clone)]
pub struct Hosts<T> {
    exact: Map<T>,
    below: Map<T>,
    any: Option<T>,
}

/// Makes [`Hosts`].
#[derive(Clone, Debug)]
pub struct HostsBuilder<T>(Hosts<T>);

/// The host is taken already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host `{host}` is taken already")]
#[non_exhaustive]
pub struct Duplicate {
    /// Which one; [`HostsBuilder::get`] tells by whom.
    pub host: HostPattern,
}

/// A persistent hash map: clones share the shards that no change has touched.
#[derive(Clone)]
struct Map<T> {
    shards: Arc<[Arc<Shard<T>>]>,
    /// Chooses the shard. The shards' own hashers are seeded differently, so their slots fill evenly.
    hasher: RandomState,
    len: usize,
}

type Shard<T> = HashMap<Arc<str>, T, RandomState>;

// === impl Hosts ===

impl<T: Clone> Hosts<T> {
    /// Begins with no host.
    #[must_use]
    pub fn builder() -> HostsBuilder<T> {
        HostsBuilder(Self {
            exact: Map::new(),
            below: Map::new(),
            any: None,
        })
    }

    /// Begins with these hosts. What is not changed stays shared.
    #[must_use]
    pub fn edit(&self) -> HostsBuilder<T> {
        HostsBuilder(self.clone())
    }
}

impl<T> Hosts<T> {
    /// What serves `name`, which is as [`Host::name`](super::Host::name) gives it.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&T> {
        self.exact
            .get(name)
            .or_else(|| self.lookup_below(name))
            .or(self.any.as_ref())
    }

    fn lookup_below(&self, name: &str) -> Option<&T> {
        if self.below.len == 0 {
            return None;
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = self.below.get(parent) {
                return Some(found);
            }
            rest = parent;
        }
        None
    }

    /// What was given for this very pattern.
    #[must_use]
    pub fn get(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern.form() {
            Form::Exact(host) => self.exact.get(host),
            Form::Below(parent) => self.below.get(parent),
            Form::Any => self.any.as_ref(),
        }
    }

    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len + self.below.len + usize::from(self.any.is_some())
    }

    /// No host at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone> Default for Hosts<T> {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl<T> fmt::Debug for Hosts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There may be a hundred thousand.
        f.debug_struct("Hosts")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

// === impl HostsBuilder ===

impl<T: Clone> HostsBuilder<T> {
    /// Gives a host to `value`, unless it is taken.
    pub fn insert(&mut self, pattern: &HostPattern, value: T) -> Result<(), Duplicate> {
        if self.get(pattern).is_some() {
            return Err(Duplicate {
                host: pattern.clone(),
            });
        }
        self.set(pattern, value);
        Ok(())
    }

    /// Gives a host to `value`, and returns whose it was.
    pub fn set(&mut self, pattern: &HostPattern, value: T) -> Option<T> {
        match pattern.form() {
            Form::Exact(host) => self.0.exact.insert(host, value),
            Form::Below(parent) => self.0.below.insert(parent, value),
            Form::Any => self.0.any.replace(value),
        }
    }

    /// Takes a host away, and returns whose it was.
    pub fn remove(&mut self, pattern: &HostPattern) -> Option<T> {
        match pattern.form() {
            Form::Exact(host) => self.0.exact.remove(host),
            Form::Below(parent) => self.0.below.remove(parent),
            Form::Any => self.0.any.take(),
        }
    }

    /// Whose this very pattern is.
    #[must_use]
    pub fn get(&self, pattern: &HostPattern) -> Option<&T> {
        self.0.get(pattern)
    }

    /// Done.
    #[must_use]
    pub fn build(self) -> Hosts<T> {
        self.0
    }
}

// === impl Map ===

impl<T> Map<T> {
    fn new() -> Self {
        let empty = Arc::new(Shard::default());
        Self {
            shards: vec![empty; SHARDS].into(),
            hasher: RandomState::default(),
            len: 0,
        }
    }

    fn index(&self, name: &str) -> usize {
        // The remainder is below `SHARDS`, so nothing is lost.
        (self.hasher.hash_one(name) % SHARDS as u64) as usize
    }

    fn get(&self, name: &str) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        self.shards.get(self.index(name))?.get(name)
    }
}

impl<T: Clone> Map<T> {
    fn shard_mut(&mut self, name: &str) -> Option<&mut Shard<T>> {
        let index = self.index(name);
        Arc::make_mut(&mut self.shards)
            .get_mut(index)
            .map(Arc::make_mut)
    }

    fn insert(&mut self, name: &Arc<str>, value: T) -> Option<T> {
        let before = self.shard_mut(name)?.insert(Arc::clone(name), value);
        self.len += usize::from(before.is_none());
        before
    }

    fn remove(&mut self, name: &str) -> Option<T> {
        // Looked for first, so that nothing is copied for nothing.
        self.get(name)?;
        let before = self.shard_mut(name)?.remove(name);
        self.len -= usize::from(before.is_some());
        before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    fn hosts(patterns: &[&str]) -> Hosts<String> {
        let mut builder = Hosts::builder();
        for text in patterns {
            builder.insert(&pattern(text), (*text).to_owned()).unwrap();
        }
        builder.build()
    }

    fn found<'a>(hosts: &'a Hosts<String>, name: &str) -> Option<&'a str> {
        hosts.lookup(name).map(String::as_str)
    }

    #[test]
    fn the_closest_pattern_wins() {
        let hosts = hosts(&[
            "*",
            "*.example",
            "*.shop.example",
            "shop.example",
            "www.shop.example",
        ]);
        assert_eq!(found(&hosts, "www.shop.example"), Some("www.shop.example"));
        assert_eq!(found(&hosts, "a.b.shop.example"), Some("*.shop.example"));
        assert_eq!(found(&hosts, "shop.example"), Some("shop.example"));
        assert_eq!(found(&hosts, "other.example"), Some("*.example"));
        assert_eq!(found(&hosts, "example"), Some("*"));
        assert_eq!(found(&hosts, "[::1]"), Some("*"));
    }

    #[test]
    fn an_unknown_host_has_nothing() {
        let hosts = hosts(&["a.example", "*.b.example"]);
        assert_eq!(found(&hosts, "b.example"), None);
        assert_eq!(found(&hosts, ""), None);
        assert_eq!(found(&Hosts::default(), "a.example"), None);
    }

    #[test]
    fn a_host_is_given_once() {
        for text in ["a.example", "*.a.example", "*"] {
            let mut builder = Hosts::builder();
            builder.insert(&pattern(text), 1).unwrap();
            let error = builder.insert(&pattern(text), 2).unwrap_err();
            assert_eq!(error.host, pattern(text));
            assert_eq!(builder.get(&pattern(text)), Some(&1));
            assert_eq!(builder.build().len(), 1);
        }
    }

    #[test]
    fn an_edit_leaves_the_original_alone_and_copies_one_shard() {
        let mut builder = Hosts::builder();
        for i in 0..2_000 {
            builder
                .insert(&pattern(&format!("h{i}.example")), i)
                .unwrap();
        }
        let before = builder.build();
        let mut edit = before.edit();
        assert_eq!(edit.set(&pattern("h7.example"), 0), Some(7));
        let after = edit.build();

        assert_eq!(before.lookup("h7.example"), Some(&7));
        assert_eq!(after.lookup("h7.example"), Some(&0));
        assert_eq!(after.lookup("h8.example"), Some(&8));
        let pairs = before.exact.shards.iter().zip(after.exact.shards.iter());
        assert_eq!(pairs.filter(|(a, b)| !Arc::ptr_eq(a, b)).count(), 1);
    }

    /// What the documentation says, one pattern after the other.
    fn naive(patterns: &BTreeMap<HostPattern, usize>, name: &str) -> Option<usize> {
        let matching = patterns.iter().filter(|(pattern, _)| pattern.matches(name));
        let best = matching.max_by_key(|(pattern, _)| match pattern.form() {
            Form::Exact(_) => (2, 0),
            Form::Below(parent) => (1, parent.len()),
            Form::Any => (0, 0),
        });
        best.map(|(_, value)| *value)
    }

    proptest! {
        #[test]
        fn agrees_with_a_scan_of_all_patterns(
            steps in prop::collection::vec((r"(\*\.)?[ab](\.[ab]){0,3}|\*", any::<bool>()), 0..40),
            names in prop::collection::vec(r"[ab](\.[ab]){0,4}", 1..20),
        ) {
            let (mut builder, mut all) = (Hosts::builder(), BTreeMap::new());
            for (i, (text, keep)) in steps.iter().enumerate() {
                let pattern = pattern(text);
                if *keep {
                    prop_assert_eq!(builder.set(&pattern, i), all.insert(pattern, i));
                } else {
                    prop_assert_eq!(builder.remove(&pattern), all.remove(&pattern));
                }
            }
            let hosts = builder.build();
            prop_assert_eq!(hosts.len(), all.len());
            for name in &names {
                prop_assert_eq!(hosts.lookup(name).copied(), naive(&all, name), "{}", name);
            }
        }
    }
}
