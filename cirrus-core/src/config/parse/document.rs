//! The text a configuration was read from, so that faults can point into it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::Format;
use super::tree::Tree;
use crate::config::faults::{Excerpt, Fault, Place};

/// The text a configuration was read from. Cheap to clone.
///
/// Says where a field stands. All documents are equal, so that configurations are compared by what they mean.
#[derive(Clone)]
pub struct Document {
    inner: Arc<Inner>,
}

struct Inner {
    text: Box<str>,
    file: Option<PathBuf>,
    format: Format,
    /// Where each line begins, in bytes.
    lines: OnceLock<Vec<usize>>,
    /// Parsed again when somebody asks: a tree in memory would outweigh the configuration, and faults are rare.
    tree: OnceLock<Tree>,
}

// === impl Document ===

impl Document {
    pub(super) fn new(text: &str, file: Option<&Path>, format: Format) -> Self {
        let (text, file) = (text.into(), file.map(Path::to_owned));
        Self {
            inner: Arc::new(Inner {
                text,
                file,
                format,
                lines: OnceLock::new(),
                tree: OnceLock::new(),
            }),
        }
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// The file the text came from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.inner.file.as_deref()
    }

    /// Where a field such as `site[0].route[2].path` stands, or the nearest part around it. A table stands where it
    /// begins. `None` if not even its first part is there.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Place> {
        let tree = self.tree();
        let steps = tree.find(path);
        (!steps.is_empty()).then(|| self.place_of(tree.at(&steps).span.clone()))
    }

    /// Gives a fault the place, the line and the value of its path.
    pub(in crate::config) fn point(&self, fault: &mut Fault) {
        let tree = self.tree();
        let steps = tree.find(&fault.path);
        if !steps.is_empty() {
            self.mark(fault, tree.at(&steps).span.clone());
        }
    }

    /// Gives a fault the place and the line of a span.
    pub(super) fn mark(&self, fault: &mut Fault, span: Range<usize>) {
        let place = self.place_of(span);
        let from = place.column - 1;
        fault.excerpt = Some(Excerpt::new(
            self.line(place.line),
            from..from + place.length,
        ));
        fault.place = Some(place);
    }

    /// What is written in a span, shortened to fit into a message.
    pub(super) fn written(&self, span: Range<usize>) -> String {
        let text = self.text().get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().filter(|c| !c.is_control()).take(60).collect();
        if short.len() < text.len() {
            format!("{short}…")
        } else {
            short
        }
    }

    fn tree(&self) -> &Tree {
        self.inner
            .tree
            .get_or_init(|| super::tree_of(self.text(), self.inner.format, &mut Vec::new()))
    }

    fn lines(&self) -> &[usize] {
        self.inner.lines.get_or_init(|| {
            let breaks = self.text().bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0)
                .chain(breaks.map(|(at, _)| at + 1))
                .collect()
        })
    }

    fn line(&self, number: usize) -> &str {
        let lines = self.lines();
        let end = lines.get(number).map_or(self.text().len(), |next| next - 1);
        self.text().get(lines[number - 1]..end).unwrap_or_default()
    }

    fn place_of(&self, span: Range<usize>) -> Place {
        let start = self.boundary(span.start);
        let number = self.lines().partition_point(|line| *line <= start);
        let line_start = self.lines()[number - 1];
        let line_end = line_start + self.line(number).len();
        let end = self.boundary(span.end).clamp(start, line_end.max(start));
        let count = |range: Range<usize>| {
            self.text()
                .get(range)
                .map_or(0, |text| text.trim_end().chars().count())
        };
        let column = self
            .text()
            .get(line_start..start)
            .map_or(0, |text| text.chars().count())
            + 1;
        let place = Place::new(number, column, count(start..end).max(1));
        match self.file() {
            Some(file) => place.in_file(file),
            None => place,
        }
    }

    /// The beginning of the character that a byte belongs to: a parser may point into one that it does not know.
    fn boundary(&self, at: usize) -> usize {
        self.text().floor_char_boundary(at)
    }
}

/// The text that a configuration was read from, if it was read from one. Configurations compare by what they say, not by
/// where they say it: any two of these are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(pub(crate) Option<Document>);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("file", &self.inner.file)
            .field("format", &self.inner.format)
            .finish()
    }
}
