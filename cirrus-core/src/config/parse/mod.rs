//! Texts become a [`Config`], or every fault in them at once.
//!
//! text → [`tree`] (TOML or JSON, with places) → [`typed`] values, mistakes pruned and reported by [`settle`] →
//! [`limits`] of single values. What needs several fields is found when the configuration is compiled.

mod balancing;
mod document;
mod json;
mod limits;
mod paths;
mod settle;
#[cfg(test)]
mod tests;
mod toml;
mod tree;
mod twins;
mod typed;
mod words;

use std::ops::{ControlFlow, Range};
use std::path::Path;

pub use document::Document;
pub(crate) use document::Written;
pub(crate) use limits::check_values;

use self::settle::Settle;
use self::tree::{DEEPEST, Tree};
use super::check::{Abilities, structure};
use super::faults::{Fault, Faults};
use super::model::Config;

/// The language of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// TOML 1.1.
    Toml,
    /// JSON (RFC 8259).
    Json,
}

/// Something that keeps a text from being read as its format.
#[derive(Debug)]
struct Blemish {
    span: Range<usize>,
    message: String,
    /// The rest can be understood nevertheless.
    harmless: bool,
}

/// There are more faults than anybody wants to read.
#[derive(Debug)]
struct Most;

// === impl Format ===

impl Format {
    /// By the extension of a file: `.toml` or `.json`.
    ///
    /// # Errors
    ///
    /// If it is another one; the only fault says what is allowed.
    pub fn of(path: &Path) -> Result<Self, Faults> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Self::Toml),
            Some("json") => Ok(Self::Json),
            _ => Err(Fault::error(
                "",
                format!(
                    "`{}`: the name of a configuration file ends with `.toml` or `.json`",
                    path.display()
                ),
            )
            .into()),
        }
    }
}

// === impl Config ===

impl Config {
    /// Reads a text. An empty one is the default configuration.
    ///
    /// Relative paths stay as they are; see [`resolve_paths`](Self::resolve_paths).
    ///
    /// # Errors
    ///
    /// Every fault at once (100 at the most), each with its place.
    pub fn parse(text: &str, format: Format) -> Result<(Self, Faults), Faults> {
        parse(text, None, format)
    }

    /// Reads the text of a file, whose extension gives the format. `path` is only named in faults, not opened.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and if the extension is neither `.toml` nor `.json`.
    pub fn parse_file_text(text: &str, path: &Path) -> Result<(Self, Faults), Faults> {
        parse(text, Some(path), Format::of(path)?)
    }
}

fn parse(text: &str, file: Option<&Path>, format: Format) -> Result<(Config, Faults), Faults> {
    // Editors of some systems write a byte-order mark; it belongs to the encoding, not to the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Document::new(text, file, format);
    let mut faults = Faults::default();
    let mut blemishes = Vec::new();
    let mut tree = tree_of(text, format, &mut blemishes);
    twins::find(&tree, &mut blemishes);
    report(&blemishes, &document, &mut faults);
    if blemishes.iter().any(|blemish| !blemish.harmless) {
        return Err(faults);
    }
    let settled = Settle {
        document: &document,
        format,
        faults: &mut faults,
    }
    .config(&mut tree);
    let config = match settled {
        ControlFlow::Continue(config) => config.unwrap_or_default(),
        ControlFlow::Break(most) => return Err(most.note(faults)),
    };
    let config = Config {
        document: Written(Some(document)),
        ..config
    };
    check(&config, &tree, &mut faults);
    faults.or(config)
}

/// Parses a text as far as it can be understood.
fn tree_of(text: &str, format: Format, blemishes: &mut Vec<Blemish>) -> Tree {
    match format {
        Format::Toml => toml::read(text, blemishes),
        Format::Json => json::read(text, blemishes),
    }
}

/// Reports at most one blemish a line: a parser that is lost in a line complains about all the rest of it.
fn report(blemishes: &[Blemish], document: &Document, faults: &mut Faults) {
    let mut found = Faults::default();
    for blemish in blemishes {
        let mut fault = Fault::error("", &blemish.message);
        document.mark(&mut fault, blemish.span.clone());
        found.push(fault);
    }
    let mut last = 0;
    for fault in found {
        let line = fault.place.as_ref().map_or(0, |place| place.line);
        if line != last && faults.len() < Most::FAULTS {
            faults.push(fault);
        }
        last = line;
    }
}

/// Checks the values that could be read, and reports under the indices of the text.
fn check(config: &Config, tree: &Tree, faults: &mut Faults) {
    let mut found = Faults::default();
    check_values(config, &mut found);
    if faults.is_fatal() {
        // Nobody will compile this: what else is wrong with it is said now. What the program can do is not asked.
        structure(config, &Abilities::new(true, true), &mut found);
    }
    let wrong: Vec<String> = faults.iter().map(|fault| fault.path.clone()).collect();
    for mut fault in found {
        fault.path = tree.original(&fault.path);
        // A default that stands in for a wrong value says nothing about the others.
        let compared = fault.path == "cache.max_object"
            && faults.iter().any(|other| other.path == "cache.memory");
        // Nor does what is missing only because it was wrong.
        let follows = wrong.iter().any(|path| is_within(path, &fault.path));
        if !compared && !follows {
            faults.push(fault);
        }
    }
    if let Some(document) = &config.document.0 {
        faults.locate(document);
    }
}

/// Whether `path` is `outer`, or leads to something inside of it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

// === impl Blemish ===

impl Blemish {
    fn syntax(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            harmless: false,
        }
    }

    fn duplicate(span: Range<usize>) -> Self {
        Self {
            span,
            message: "duplicate key: each key may stand only once in a table".to_owned(),
            harmless: true,
        }
    }

    fn twin(span: Range<usize>, name: &str) -> Self {
        let message = format!(
            "`{name}` is already set here: the name of a header field is the same in any case"
        );
        Self {
            span,
            message,
            harmless: true,
        }
    }

    fn too_deep(span: Range<usize>) -> Self {
        Self::syntax(
            span,
            format!("nested too deeply: {DEEPEST} levels are allowed"),
        )
    }
}

// === impl Most ===

impl Most {
    const FAULTS: usize = 100;

    fn note(self, mut faults: Faults) -> Faults {
        faults.error(
            "",
            None,
            format!(
                "there are more than {} faults; the others are not shown",
                Self::FAULTS
            ),
        );
        faults
    }
}
