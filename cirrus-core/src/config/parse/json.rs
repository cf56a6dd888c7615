//! JSON (RFC 8259: no comments, no trailing commas) into a [`Tree`].

use std::collections::HashSet;
use std::ops::Range;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;

use super::Blemish;
use super::tree::{DEEPEST, Entry, Kind, Tree};

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a text. An empty one is an empty table, as in TOML.
pub(super) fn read(text: &str, blemishes: &mut Vec<Blemish>) -> Tree {
    let empty = Tree::new(0..0, Kind::Table(Vec::new()));
    match parse_to_ast(text, &CollectOptions::default(), &STRICT) {
        Ok(parsed) => {
            let tree = parsed
                .value
                .map_or(empty, |value| convert(&value, 0, blemishes));
            if blemishes.is_empty() && !text.trim().is_empty() {
                blemishes.extend(second_opinion(text));
            }
            tree
        }
        Err(error) => {
            let message = error.kind().to_string();
            blemishes.push(Blemish::syntax(range(&error.range()), lower_case(&message)));
            empty
        }
    }
}

/// The parser that knows places lets a few things pass that JSON does not allow, such as `007`.
fn second_opinion(text: &str) -> Option<Blemish> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let line_start: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let at = text
        .len()
        .min(line_start + error.column().saturating_sub(1));
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    Some(Blemish::syntax(at..at, message))
}

fn convert(value: &Value<'_>, depth: usize, blemishes: &mut Vec<Blemish>) -> Tree {
    let span = range(&value.range());
    if depth >= DEEPEST {
        blemishes.push(Blemish::too_deep(span.clone()));
        return Tree::new(span, Kind::Null);
    }
    let kind = match value {
        Value::StringLit(text) => Kind::Text(text.value.as_ref().into()),
        Value::NumberLit(number) => number_kind(number.value),
        Value::BooleanLit(flag) => Kind::Bool(flag.value),
        Value::NullKeyword(_) => Kind::Null,
        Value::Array(array) => Kind::Array(
            array
                .elements
                .iter()
                .map(|v| convert(v, depth + 1, blemishes))
                .collect(),
        ),
        Value::Object(object) => table(object, depth, blemishes),
    };
    Tree::new(span, kind)
}

fn table(object: &Object<'_>, depth: usize, blemishes: &mut Vec<Blemish>) -> Kind {
    let mut seen = HashSet::new();
    let mut entries = Vec::with_capacity(object.properties.len());
    for property in &object.properties {
        let entry = entry(property, depth, blemishes);
        if seen.insert(property.name.as_str()) {
            entries.push(entry);
        } else {
            blemishes.push(Blemish::duplicate(entry.key_span));
        }
    }
    Kind::Table(entries)
}

fn entry(property: &ObjectProp<'_>, depth: usize, blemishes: &mut Vec<Blemish>) -> Entry {
    let key_span = range(&property.name.range());
    Entry {
        key: property.name.as_str().into(),
        key_span,
        tree: convert(&property.value, depth + 1, blemishes),
    }
}

/// A number with a point or an exponent is no integer, whatever its value; one that is too large is taken as a float,
/// too, and refused where it stands.
fn number_kind(text: &str) -> Kind {
    let float = || Kind::Float(text.parse().unwrap_or(f64::NAN));
    text.parse().map_or_else(|_| float(), Kind::Integer)
}

fn range(range: &jsonc_parser::common::Range) -> Range<usize> {
    range.start..range.end
}

fn lower_case(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
