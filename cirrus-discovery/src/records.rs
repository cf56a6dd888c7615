//! Endpoints as records in JSON, each of which stands for itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use cirrus_core::BoxError;
use cirrus_core::discovery::{Endpoint, Endpoints, ServiceName, UnknownService};

/// The most of an id that is told.
const TOLD: usize = 100;

/// The records of one service by id. Each is read once, when it comes or changes.
#[derive(Debug)]
pub(crate) struct Records {
    service: ServiceName,
    all: BTreeMap<Bytes, Record>,
}

#[derive(Debug)]
struct Record {
    text: Bytes,
    meaning: Meaning,
}

#[derive(Debug)]
enum Meaning {
    Endpoint(Endpoint),
    /// Keeps the service known while nobody is there.
    Nobody,
    Nonsense,
}

// === impl Records ===

impl Records {
    pub(crate) fn of(service: ServiceName) -> Self {
        Self {
            service,
            all: BTreeMap::new(),
        }
    }

    /// Whether that is something new.
    pub(crate) fn put(&mut self, id: Bytes, text: Bytes) -> bool {
        let is_known = self.all.get(&id).is_some_and(|known| known.text == text);
        if !is_known {
            let meaning = self.meaning(&id, &text);
            self.all.insert(id, Record { text, meaning });
        }
        !is_known
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, id: &[u8]) -> bool {
        self.all.remove(id).is_some()
    }

    /// Makes these the only ones. Whether that changes anything.
    pub(crate) fn replace(&mut self, all: impl IntoIterator<Item = (Bytes, Bytes)>) -> bool {
        let mut before = std::mem::take(&mut self.all);
        let mut is_new = false;
        for (id, text) in all {
            match before.remove(&id).filter(|known| known.text == text) {
                Some(known) => {
                    self.all.insert(id, known);
                }
                None => is_new |= self.put(id, text),
            }
        }
        is_new || !before.is_empty()
    }

    /// What they say all together: no record at all is an unknown service, and nothing but nonsense is a failure.
    pub(crate) fn said(&self) -> Result<Endpoints, BoxError> {
        if self.all.is_empty() {
            return Err(UnknownService::new(self.service.clone()).into());
        }
        let nonsense = |record: &Record| matches!(record.meaning, Meaning::Nonsense);
        if self.all.values().all(nonsense) {
            let many = self.all.len();
            let service = &self.service;
            return Err(format!("none of {many} records of {service} makes sense").into());
        }
        let endpoints = self
            .all
            .values()
            .filter_map(|record| match &record.meaning {
                Meaning::Endpoint(endpoint) => Some(endpoint.clone()),
                Meaning::Nobody | Meaning::Nonsense => None,
            });
        Ok(endpoints.collect())
    }

    fn meaning(&self, id: &[u8], text: &[u8]) -> Meaning {
        match read(text) {
            Ok(Some(endpoint)) => Meaning::Endpoint(endpoint),
            Ok(None) => Meaning::Nobody,
            Err(why) => {
                let id = String::from_utf8_lossy(id);
                let record: String = id.chars().take(TOLD).collect();
                tracing::warn!(
                    service = %self.service,
                    record,
                    why = %why,
                    "a record makes no sense; the others stay"
                );
                Meaning::Nonsense
            }
        }
    }
}

/// `None` for nothing, and for `null`.
fn read(text: &[u8]) -> Result<Option<Endpoint>, serde_json::Error> {
    match text.trim_ascii() {
        b"" => Ok(None),
        text => serde_json::from_slice(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> Records {
        Records::of(ServiceName::new("x").unwrap())
    }

    fn pairs(all: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        let pair = |&(id, text): &(&'static str, &'static str)| (id.into(), text.into());
        all.iter().map(pair).collect()
    }

    fn urls(records: &Records) -> Vec<String> {
        let said = records.said().unwrap();
        said.iter().map(|one| one.url.to_string()).collect()
    }

    #[test]
    fn a_record_that_makes_no_sense_takes_no_other_along() {
        let mut records = records();
        let full = r#"{"url": "http://a:1", "weight": 3, "zone": "b", "priority": 1}"#;
        let changed = records.replace(pairs(&[("a", full), ("b", "{"), ("c", r#""http://c:1""#)]));
        assert!(changed);
        assert_eq!(urls(&records), ["http://a:1", "http://c:1"]);
        let said = records.said().unwrap();
        let first = said.iter().next().unwrap();
        assert_eq!((first.weight, first.priority), (3, 1));
        assert!(records.put("b".into(), r#""http://b:1""#.into()), "mended");
        assert_eq!(urls(&records).len(), 3);
        assert!(records.replace(pairs(&[("b", "{")])));
        let error = records.said().unwrap_err();
        assert!(!error.is::<UnknownService>(), "{error}");
    }

    #[test]
    fn unknown_is_something_else_than_nobody() {
        let mut records = records();
        assert!(records.said().unwrap_err().is::<UnknownService>());
        for nobody in ["", " ", "null"] {
            records.put("x".into(), nobody.into());
            assert!(urls(&records).is_empty());
        }
        assert!(records.remove(b"x"));
        assert!(!records.remove(b"x"));
        assert!(records.said().unwrap_err().is::<UnknownService>());
    }

    #[test]
    fn what_changes_is_told() {
        let mut records = records();
        let (a, b) = (("a", r#""http://a:1""#), ("b", r#""http://b:1""#));
        assert!(records.replace(pairs(&[a, b])));
        assert!(!records.replace(pairs(&[b, a])));
        assert!(records.replace(pairs(&[a])));
        assert!(!records.put("a".into(), a.1.into()));
        assert!(records.replace(pairs(&[("a", b.1)])));
        assert_eq!(urls(&records), ["http://b:1"]);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut records = records();
            records.put("a".into(), text.into());
            let _ = records.said();
        }
    }
}
