//! Which certificate for which name.

use std::collections::HashMap;
use std::sync::Arc;

use cirrus_core::Timestamp;
use cirrus_core::downstream::{Certificate, Hello, ServerName};

use crate::pem::Loaded;

/// Certificates by name. Immutable: a new reading makes a new one.
#[derive(Default)]
pub(super) struct Index {
    exact: HashMap<Arc<str>, Vec<Loaded>>,
    /// By what follows `*.`.
    wildcard: HashMap<Arc<str>, Vec<Loaded>>,
    nameless: Option<Arc<Certificate>>,
}

/// The pair for clients that name no host.
const DEFAULT: &str = "default";

// === impl Index ===

impl Index {
    /// Of pairs and the files' names.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a Loaded)> + Clone) -> Self {
        let mut index = Self {
            nameless: nameless(pairs.clone()),
            ..Self::default()
        };
        for (_, loaded) in pairs {
            for name in &*loaded.certificate.names {
                index.insert(name, loaded);
            }
        }
        index
    }

    /// The best for the client's name: exact before wildcard, unless only the wildcard can be used.
    pub(super) fn find(
        &self,
        name: &ServerName,
        hello: &Hello<'_>,
        now: Timestamp,
    ) -> Option<Arc<Certificate>> {
        let exact = self.exact.get(name.as_str());
        let parent = name.as_str().split_once('.').map(|(_, parent)| parent);
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let candidates = [exact, wildcard].map(|all| all.and_then(|all| best(all, hello, now)));
        let mut candidates = candidates.into_iter().flatten();
        let first = candidates.next()?;
        let other = candidates
            .next()
            .filter(|other| use_of(other, hello, now) > use_of(first, hello, now));
        Some(Arc::clone(&other.unwrap_or(first).certificate))
    }

    /// The one for clients that name no host.
    pub(super) fn nameless(&self) -> Option<Arc<Certificate>> {
        self.nameless.clone()
    }

    fn insert(&mut self, name: &Arc<str>, loaded: &Loaded) {
        let entry = match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.into()),
            None => self.exact.entry(Arc::clone(name)),
        };
        entry.or_default().push(loaded.clone());
    }
}

fn nameless<'a>(
    mut pairs: impl Iterator<Item = (&'a str, &'a Loaded)> + Clone,
) -> Option<Arc<Certificate>> {
    let default = pairs.clone().find(|(stem, _)| *stem == DEFAULT);
    let (_, chosen) = default.or_else(|| pairs.next().filter(|_| pairs.next().is_none()))?;
    Some(Arc::clone(&chosen.certificate))
}

/// The most useful one; of several, ECDSA before RSA, then what is valid longest.
fn best<'a>(all: &'a [Loaded], hello: &Hello<'_>, now: Timestamp) -> Option<&'a Loaded> {
    all.iter().max_by_key(|loaded| {
        let certificate = &loaded.certificate;
        let kind = certificate.is_elliptic();
        (use_of(loaded, hello, now), kind, certificate.not_after)
    })
}

/// Whether the client can verify it, and whether it is valid: an expired one may be let pass, one with a key that the
/// client does not know never is.
fn use_of(loaded: &Loaded, hello: &Hello<'_>, now: Timestamp) -> (bool, bool) {
    let is_valid = loaded.lapse(now).is_none();
    (hello.can_verify(&loaded.certificate), is_valid)
}
