//! A parsed text whose every part knows where it stands.

use std::fmt::Write as _;
use std::ops::Range;

/// One value of the text, and where it stands in bytes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
    /// Found wrong and reported: it is treated as if it were not there, but keeps its place among its neighbours,
    /// so that their indices stay those of the text.
    pub(super) pruned: bool,
}

/// What a value can be.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    /// As written; TOML has dates, the configuration has none.
    Date,
    Text(Box<str>),
    Array(Vec<Tree>),
    Table(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    pub(super) key_span: Range<usize>,
    pub(super) tree: Tree,
}

/// A way down the tree: the index of an entry or of an element at each level.
pub(super) type Steps = [usize];

/// A name or an index in a written path.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// Deeper texts are refused, so that no recursion over them can exhaust the stack.
pub(super) const DEEPEST: usize = 64;

// === impl Tree ===

impl Tree {
    pub(super) fn new(span: Range<usize>, kind: Kind) -> Self {
        Self {
            span,
            kind,
            pruned: false,
        }
    }

    pub(super) fn child(&self, step: usize) -> Option<&Self> {
        match &self.kind {
            Kind::Array(elements) => elements.get(step),
            Kind::Table(entries) => entries.get(step).map(|entry| &entry.tree),
            _ => None,
        }
    }

    /// The value that `steps` lead to, or the last one on the way.
    pub(super) fn at(&self, steps: &Steps) -> &Self {
        steps
            .iter()
            .try_fold(self, |tree, step| tree.child(*step).ok_or(tree))
            .unwrap_or_else(|last| last)
    }

    /// Treats the value as if it were not there.
    pub(super) fn prune(&mut self, steps: &Steps) {
        let mut tree = self;
        for step in steps {
            tree = match &mut tree.kind {
                Kind::Array(elements) => &mut elements[*step],
                Kind::Table(entries) => &mut entries[*step].tree,
                _ => return,
            };
        }
        tree.pruned = true;
    }

    pub(super) fn entry(&self, key: &str) -> Option<(usize, &Entry)> {
        let Kind::Table(entries) = &self.kind else {
            return None;
        };
        entries
            .iter()
            .enumerate()
            .find(|(_, entry)| &*entry.key == key)
    }

    /// The key that leads to the value, if it stands in a table.
    pub(super) fn key_at(&self, steps: &Steps) -> Option<&Entry> {
        let (last, parents) = steps.split_last()?;
        match &self.at(parents).kind {
            Kind::Table(entries) => entries.get(*last),
            _ => None,
        }
    }

    /// The path as users know it: `site[0].origin[1].url`.
    pub(super) fn path(&self, steps: &Steps) -> String {
        let mut path = String::new();
        let mut tree = self;
        for step in steps {
            match &tree.kind {
                Kind::Table(entries) => push_key(&mut path, &entries[*step].key),
                _ => push_index(&mut path, *step),
            }
            let Some(child) = tree.child(*step) else {
                break;
            };
            tree = child;
        }
        path
    }

    /// The steps of a written path, as far as they exist.
    pub(super) fn find(&self, path: &str) -> Vec<usize> {
        self.walk(path, |elements, index| {
            (index < elements.len()).then_some(index)
        })
        .1
    }

    /// Rewrites a path that counts only what is not pruned into one of the text.
    pub(super) fn original(&self, path: &str) -> String {
        let nth = |elements: &[Self], index: usize| {
            elements
                .iter()
                .enumerate()
                .filter(|(_, element)| !element.pruned)
                .nth(index)
                .map(|(at, _)| at)
        };
        self.walk(path, nth).0
    }

    /// Goes down a written path; `choose` says which element an index means.
    fn walk(
        &self,
        path: &str,
        choose: impl Fn(&[Self], usize) -> Option<usize>,
    ) -> (String, Vec<usize>) {
        let (mut written, mut steps, mut here) = (String::new(), Vec::new(), Some(self));
        for segment in segments(path) {
            let step = here.and_then(|tree| match (&segment, &tree.kind) {
                (Segment::Key(key), _) => tree.entry(key).map(|(step, _)| step),
                (Segment::Index(index), Kind::Array(elements)) => choose(elements, *index),
                (Segment::Index(_), _) => None,
            });
            match segment {
                Segment::Key(key) => push_key(&mut written, &key),
                Segment::Index(index) => push_index(&mut written, step.unwrap_or(index)),
            }
            steps.extend(step);
            here = here.zip(step).and_then(|(tree, step)| tree.child(step));
        }
        (written, steps)
    }
}

// === paths ===

/// Appends a key to a path.
pub(super) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    if is_bare(key) {
        path.push_str(key);
    } else {
        // Writing into a string cannot fail.
        let _ = write!(path, "{key:?}");
    }
}

fn push_index(path: &mut String, index: usize) {
    // Writing into a string cannot fail.
    let _ = write!(path, "[{index}]");
}

fn is_bare(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn segments(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (segment, after) = next_segment(rest);
        segments.extend(segment);
        rest = after;
    }
    segments
}

/// Takes one segment off a path, and at least one character.
fn next_segment(path: &str) -> (Option<Segment>, &str) {
    if let Some(rest) = path.strip_prefix('.') {
        return (None, rest);
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (index, after) = rest.split_once(']').unwrap_or((rest, ""));
        return (index.parse().ok().map(Segment::Index), after);
    }
    if path.starts_with('"') {
        return quoted(path);
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (key, after) = path.split_at(end);
    (Some(Segment::Key(key.to_owned())), after)
}

/// Undoes what [`push_key`] does to keys that are not bare, for all that matters here: quotes and backslashes.
fn quoted(path: &str) -> (Option<Segment>, &str) {
    let mut key = String::new();
    let mut characters = path.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (Some(Segment::Key(key)), &path[at + 1..]),
            '\\' => key.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => key.push(c),
        }
    }
    (Some(Segment::Key(key)), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: Vec<(&str, Tree)>) -> Tree {
        let entries = entries
            .into_iter()
            .map(|(key, tree)| Entry {
                key: key.into(),
                key_span: 0..0,
                tree,
            })
            .collect();
        Tree::new(0..0, Kind::Table(entries))
    }

    fn leaf() -> Tree {
        Tree::new(0..0, Kind::Bool(true))
    }

    fn sites() -> Tree {
        let array = Tree::new(
            0..0,
            Kind::Array(vec![leaf(), table(vec![("a.\"b", leaf()), ("c", leaf())])]),
        );
        table(vec![("site", array)])
    }

    #[test]
    fn a_path_leads_back_to_its_steps() {
        let tree = sites();
        for steps in [&[0, 1, 0][..], &[0, 1, 1], &[0, 0], &[0], &[]] {
            assert_eq!(tree.find(&tree.path(steps)), steps);
        }
        assert_eq!(tree.path(&[0, 1, 0]), r#"site[1]."a.\"b""#);
    }

    #[test]
    fn an_unknown_path_leads_to_its_nearest_ancestor() {
        let tree = sites();
        assert_eq!(tree.find("site[1].nothing.here"), [0, 1]);
        assert_eq!(tree.find("site[7].c"), [0]);
        assert_eq!(tree.find("[.]..\"[x"), Vec::<usize>::new());
    }

    #[test]
    fn original_indices_count_what_was_pruned() {
        let mut tree = sites();
        tree.prune(&[0, 0]);
        assert_eq!(tree.original("site[0].c"), "site[1].c");
        assert_eq!(tree.original("site[0].missing"), "site[1].missing");
    }
}
