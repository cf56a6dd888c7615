//! What operators can count. Every name is in one list (`names`); each worker has counters of its own, summed when scraped.

mod cells;
mod certificates;
mod exposition;
mod health;
pub mod names;

pub(crate) use cells::{Cells, Counter, SiteCells};
pub(crate) use exposition::render;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Sites that are counted one by one; later ones are counted together as `_other`, so that neither memory nor the
/// scrape grows with the number of sites.
pub const MAX_SITES: usize = 1000;

/// Every site's counters. They survive changes of the configuration.
#[derive(Debug)]
pub(crate) struct Sites {
    workers: usize,
    named: Mutex<HashMap<Arc<str>, Arc<SiteCells>>>,
    other: Arc<SiteCells>,
}

// === impl Sites ===

impl Sites {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            named: Mutex::default(),
            other: Arc::new(SiteCells::new("_other".into(), workers)),
        }
    }

    /// The counters of a site; the same ones for the same name.
    pub(crate) fn of(&self, name: &Arc<str>) -> Arc<SiteCells> {
        let mut named = self.named.lock();
        if let Some(cells) = named.get(name) {
            return Arc::clone(cells);
        }
        if named.len() >= MAX_SITES {
            return Arc::clone(&self.other);
        }
        let cells = Arc::new(SiteCells::new(Arc::clone(name), self.workers));
        named.insert(Arc::clone(name), Arc::clone(&cells));
        cells
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<SiteCells>> {
        let mut all: Vec<_> = self.named.lock().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.push(Arc::clone(&self.other));
        all
    }
}
