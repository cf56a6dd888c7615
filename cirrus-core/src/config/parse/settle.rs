//! Reads typed values out of a [`Tree`] and finds all their mistakes, not only the first.
//!
//! serde stops at the first mistake. So that one is recorded, what is wrong is treated as absent, and the value is
//! read again. Sites and clusters are read one by one: a mistake in one of a hundred thousand costs a second look at
//! that one only.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::document::Document;
use super::tree::{Kind, Tree, push_key};
use super::typed::{Mistake, Node, What};
use super::words::Words;
use super::{Format, Most};
use crate::config::Config;
use crate::config::faults::{Fault, Faults};

/// Reads one text.
pub(super) struct Settle<'a> {
    pub(super) document: &'a Document,
    pub(super) format: Format,
    pub(super) faults: &'a mut Faults,
}

/// More faults than anybody wants to read.
type Flow<T> = ControlFlow<Most, T>;

// === impl Settle ===

impl Settle<'_> {
    /// Reads everything that is right. The result is whole only if no fault was found.
    pub(super) fn config(&mut self, tree: &mut Tree) -> Flow<Option<Config>> {
        let sites = self.elements(tree, "site")?;
        let clusters = self.elements(tree, "cluster")?;
        let config = self.value::<Config>(tree, &[])?;
        ControlFlow::Continue(config.map(|mut config| {
            config.site = sites.unwrap_or(config.site);
            config.cluster = clusters.unwrap_or(config.cluster);
            config
        }))
    }

    /// Reads a top-level array element by element, and takes it out of what is still to be read. `None` if it is none.
    fn elements<T: DeserializeOwned>(
        &mut self,
        tree: &mut Tree,
        key: &str,
    ) -> Flow<Option<Vec<Arc<T>>>> {
        let Some((step, entry)) = tree.entry(key) else {
            return ControlFlow::Continue(None);
        };
        let Kind::Array(elements) = &entry.tree.kind else {
            return ControlFlow::Continue(None);
        };
        let mut values = Vec::with_capacity(elements.len());
        for index in 0..elements.len() {
            values.extend(self.value(tree, &[step, index])?.map(Arc::new));
        }
        tree.prune(&[step]);
        ControlFlow::Continue(Some(values))
    }

    /// Reads the value at `base`; `None` if it is too wrong to be read at all.
    fn value<T: DeserializeOwned>(&mut self, tree: &mut Tree, base: &[usize]) -> Flow<Option<T>> {
        loop {
            let mistake = match T::deserialize(Node(tree.at(base))) {
                Ok(value) => return ControlFlow::Continue(Some(value)),
                Err(mistake) => mistake,
            };
            let steps = mistake.steps(base);
            if !is_consequence(&mistake, tree.at(&steps)) {
                self.report(&mistake, tree, &steps)?;
            }
            tree.prune(&steps);
            if steps.len() == base.len() {
                return ControlFlow::Continue(None);
            }
        }
    }

    fn report(&mut self, mistake: &Mistake, tree: &Tree, steps: &[usize]) -> Flow<()> {
        if self.faults.len() >= Most::FAULTS {
            return ControlFlow::Break(Most);
        }
        let entry = tree.key_at(steps);
        let words = Words::of(&mistake.what, self.format, entry.map(|entry| &*entry.key));
        let mut path = tree.path(steps);
        let node = tree.at(steps);
        let mut span = node.span.clone();
        let mut value = Some(self.document.written(span.clone()));
        match (&mistake.what, entry) {
            (What::MissingKey(key), _) => {
                push_key(&mut path, key);
                value = None;
            }
            (_, Some(entry)) if mistake.is_key => span = entry.key_span.clone(),
            _ => {}
        }
        let mut fault = Fault {
            value,
            suggestion: words.suggestion,
            ..Fault::error(path, words.message)
        };
        self.document.mark(&mut fault, span);
        self.faults.push(fault);
        ControlFlow::Continue(())
    }
}

/// A key is missing only because its value was wrong, which has been reported.
fn is_consequence(mistake: &Mistake, table: &Tree) -> bool {
    match mistake.what {
        What::MissingKey(key) => table.entry(key).is_some_and(|(_, entry)| entry.tree.pruned),
        _ => false,
    }
}
