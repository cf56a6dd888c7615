//! What is wrong, in words that its author knows.

use std::num::IntErrorKind;

use super::Format;
use super::typed::{Found, What};

/// What a fault says, and what was perhaps meant.
pub(super) struct Words {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

// === impl Words ===

impl Words {
    pub(super) fn of(what: &What, format: Format, key: Option<&str>) -> Self {
        match what {
            What::UnknownKey(key, allowed) => Self::unknown("key", key, allowed),
            What::UnknownWord(word, allowed) => Self::unknown("value", word, allowed),
            What::MissingKey(key) => {
                Self::plain(format!("the key `{key}` is required here and missing"))
            }
            What::Unfit { found, expected } => Self::plain(unfit(found, expected, format, key)),
            What::Said(message) => Self::plain(said(message)),
        }
    }

    fn plain(message: String) -> Self {
        Self {
            message,
            suggestion: None,
        }
    }

    fn unknown(what: &str, word: &str, allowed: &[&str]) -> Self {
        let suggestion = closest(word, allowed).map(ToOwned::to_owned);
        let question = suggestion
            .as_ref()
            .map(|meant| format!(", did you mean `{meant}`?"))
            .unwrap_or_default();
        let stop = if suggestion.is_some() { "" } else { "." };
        let message = format!(
            "unknown {what} `{}`{question}{stop} Allowed here: {}",
            shorten(word),
            list(allowed)
        );
        Self {
            message,
            suggestion,
        }
    }
}

/// Names in backticks, with commas.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The allowed name that was most likely meant.
fn closest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let scored = allowed
        .iter()
        .map(|name| (strsim::jaro_winkler(&word, name), *name));
    let (score, name) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score > 0.8).then_some(name)
}

fn unfit(found: &Found, expected: &str, format: Format, key: Option<&str>) -> String {
    let wanted = wanted(expected, format);
    let hint = hint(found, expected, format, key);
    let found = match found {
        Found::Text(text) => format!("the string \"{}\"", shorten(text)),
        Found::Integer(number) => format!("the number {number}"),
        Found::Float(number) if number.is_finite() => format!("the number {number:?}"),
        Found::Float(_) => "a number that is not finite".to_owned(),
        Found::Bool(flag) => format!("`{flag}`"),
        Found::Null => "`null`".to_owned(),
        Found::Array => "an array".to_owned(),
        Found::Table => table(format).to_owned(),
        Found::Other(other) => other.clone(),
    };
    format!("expected {wanted}, found {found}{hint}")
}

/// What serde calls the wanted type, in the words of the format.
fn wanted(expected: &str, format: Format) -> String {
    match expected {
        "a sequence" => "an array".to_owned(),
        "a map" => table(format).to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "path string" => "a path in quotes".to_owned(),
        "socket address" => format!("an address and a port in quotes, for example {ADDRESS}"),
        "IP network" => format!("a network in quotes, for example {NETWORK}"),
        expected if expected.starts_with("struct ") => table(format).to_owned(),
        expected => integer_range(expected).unwrap_or_else(|| expected.to_owned()),
    }
}

const ADDRESS: &str = "\"127.0.0.1:8080\" or \"[::]:443\"";
const NETWORK: &str = "\"10.0.0.0/8\" or \"::1/128\"";

fn integer_range(expected: &str) -> Option<String> {
    let most = match expected {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" => u64::MAX,
        _ => return None,
    };
    Some(format!("a whole number from 0 to {most}"))
}

/// What to write instead, where the mistake is a usual one.
fn hint(found: &Found, expected: &str, format: Format, key: Option<&str>) -> String {
    match (found, expected, key) {
        (Found::Table, "a sequence", Some(key)) if format == Format::Toml => {
            format!("; if it is a table, its header has two brackets: `[[{key}]]`")
        }
        (Found::Text(text), "a sequence", _) => format!("; write `[\"{}\"]`", shorten(text)),
        (Found::Text(text), expected, _)
            if integer_range(expected).is_some() && is_integer(text) =>
        {
            format!("; write it without quotes: `{text}`")
        }
        (Found::Text(text), "a boolean", _) if matches!(text.as_str(), "true" | "false") => {
            format!("; write it without quotes: `{text}`")
        }
        _ => String::new(),
    }
}

fn is_integer(text: &str) -> bool {
    match text.parse::<u64>() {
        Ok(_) => true,
        Err(error) => *error.kind() == IntErrorKind::PosOverflow,
    }
}

fn table(format: Format) -> &'static str {
    match format {
        Format::Toml => "a table",
        Format::Json => "an object",
    }
}

/// The messages of foreign types say what is wrong, but not what is allowed.
fn said(message: &str) -> String {
    match message {
        "invalid socket address syntax" => {
            format!("not an address with a port: write for example {ADDRESS}")
        }
        "invalid IP address syntax" => format!("not a network: write for example {NETWORK}"),
        other => other.to_owned(),
    }
}

fn shorten(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if short.len() < text.len() {
        format!("{short}…")
    } else {
        short
    }
}
