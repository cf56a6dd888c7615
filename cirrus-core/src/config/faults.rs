//! What is wrong with a configuration: every fault, with its place, what is allowed there, and what was perhaps meant.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::parse::Document;

/// Everything that is wrong with one configuration, in the order of the text.
///
/// Displayed, each fault stands as `FILE:LINE:COLUMN: error: PATH: MESSAGE`, and below it the line of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Always sorted by place; those without one last, as they came.
    list: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// Whether the configuration can be used nevertheless.
    pub severity: Severity,
    /// The field, for example `site[0].origin[1].url`; empty where it is about the whole text.
    pub path: String,
    /// What is written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
    /// What was perhaps meant; the message says it, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// Where it is written, if the configuration was read from a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The line it is written in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

/// Whether a configuration can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but its author probably meant something else.
    Warning,
}

/// Where something stands in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// The file, if the text came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In characters, within the line; at least 1.
    pub length: usize,
}

/// A line of the text, or a part of a very long one, with the characters that matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Excerpt {
    /// The text, without control characters.
    pub text: String,
    /// The characters to underline, counted from 0.
    pub marked: Range<usize>,
}

// === impl Faults ===

impl Faults {
    /// Adds a fault at its place among the others.
    pub fn push(&mut self, fault: Fault) {
        let at = self
            .list
            .partition_point(|other| other.order() <= fault.order());
        self.list.insert(at, fault);
    }

    /// Adds something that makes the configuration unusable.
    pub fn error(
        &mut self,
        path: impl Into<String>,
        value: Option<String>,
        message: impl Into<String>,
    ) {
        self.push(Fault {
            value,
            ..Fault::error(path, message)
        });
    }

    /// Adds something that is probably not meant.
    pub fn warning(
        &mut self,
        path: impl Into<String>,
        value: Option<String>,
        message: impl Into<String>,
    ) {
        self.push(Fault {
            value,
            ..Fault::warning(path, message)
        });
    }

    /// Whether the configuration must not be used.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.list
            .iter()
            .any(|fault| fault.severity == Severity::Error)
    }

    /// In the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.list.iter()
    }

    /// How many there are, warnings included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives every fault that has no place yet the one its path has in `document`, or its nearest ancestor's.
    pub fn locate(&mut self, document: &Document) {
        for fault in &mut self.list {
            if fault.place.is_none() && !fault.path.is_empty() {
                document.point(fault);
            }
        }
        self.list.sort_by_key(Fault::order);
    }

    /// The value with the warnings, or all faults if one of them is fatal.
    ///
    /// # Errors
    ///
    /// If [`is_fatal`](Self::is_fatal).
    pub fn or<T>(self, value: T) -> Result<(T, Self), Self> {
        if self.is_fatal() {
            Err(self)
        } else {
            Ok((value, self))
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for Faults {}

impl Serialize for Faults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { list: vec![fault] }
    }
}

// === impl Fault ===

impl Fault {
    /// Something that makes the configuration unusable.
    #[must_use]
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, path.into(), message.into())
    }

    /// Something that is probably not meant.
    #[must_use]
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, path.into(), message.into())
    }

    /// What is written there.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// What was perhaps meant.
    #[must_use]
    pub fn with_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Where it is written.
    #[must_use]
    pub fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    fn new(severity: Severity, path: String, message: String) -> Self {
        Self {
            severity,
            path,
            value: None,
            message,
            suggestion: None,
            place: None,
            excerpt: None,
        }
    }

    /// Faults without a place come last.
    fn order(&self) -> (bool, usize, usize) {
        let (line, column) = self
            .place
            .as_ref()
            .map_or((0, 0), |place| (place.line, place.column));
        (self.place.is_none(), line, column)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match (&self.place, &self.excerpt, &self.value) {
            (Some(place), Some(excerpt), _) => excerpt.draw(place.line, f),
            (_, _, Some(value)) => write!(f, " (found `{value}`)"),
            _ => Ok(()),
        }
    }
}

// === impl Severity ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

// === impl Place ===

impl Place {
    /// A place in a text that came from no file.
    #[must_use]
    pub fn new(line: usize, column: usize, length: usize) -> Self {
        Self {
            file: None,
            line,
            column,
            length,
        }
    }

    /// The file of the text.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        write!(f, "{}:{}", self.line, self.column)
    }
}

// === impl Excerpt ===

impl Excerpt {
    /// Characters shown before and after what matters, when the line is too long to be shown whole.
    const AROUND: usize = 60;
    const WIDEST: usize = 160;

    /// Of a whole line, whose characters in `marked` matter.
    pub(super) fn new(line: &str, marked: Range<usize>) -> Self {
        let length = line.chars().count();
        let from = if length > Self::WIDEST {
            marked.start.saturating_sub(Self::AROUND)
        } else {
            0
        };
        let shown = line.chars().skip(from).take(Self::WIDEST);
        // A terminal must show the text, not obey it. Tabs become one space, so that columns stay columns.
        let text: String = shown
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let start = marked.start - from;
        let end = (marked.end - from).min(text.chars().count()).max(start + 1);
        Self {
            text,
            marked: start..end,
        }
    }

    fn draw(&self, line: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = line.to_string();
        let (gutter, text) = (number.len(), self.text.trim_end());
        let (indent, carets) = (" ".repeat(self.marked.start), "^".repeat(self.marked.len()));
        write!(
            f,
            "\n {number} | {text}\n {:gutter$} | {indent}{carets}",
            ""
        )
    }
}
