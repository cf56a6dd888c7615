//! TOML into a [`Tree`].

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue, Error};

use super::Blemish;
use super::tree::{DEEPEST, Entry, Kind, Tree};

/// Reads a text, as far as it can be understood.
pub(super) fn read(text: &str, blemishes: &mut Vec<Blemish>) -> Tree {
    if let Some(at) = too_deep(text) {
        blemishes.push(Blemish::too_deep(at..at));
        return Tree::new(0..0, Kind::Table(Vec::new()));
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    blemishes.extend(errors.iter().map(|error| blemish(error, text.len())));
    let (span, root) = (root.span(), root.into_inner());
    convert(Spanned::new(span, DeValue::Table(root)), 0, blemishes)
}

fn blemish(error: &Error, end: usize) -> Blemish {
    let span = error.span().unwrap_or(end..end);
    match error.message() {
        message if message.starts_with("duplicate key") => Blemish::duplicate(span),
        // The parser takes nothing for a string without quotes.
        message if span.is_empty() && message.starts_with("string values must be quoted") => {
            Blemish::syntax(span, "the value is missing")
        }
        message => Blemish::syntax(span, message),
    }
}

fn convert(value: Spanned<DeValue<'_>>, depth: usize, blemishes: &mut Vec<Blemish>) -> Tree {
    let span = value.span();
    if depth >= DEEPEST {
        blemishes.push(Blemish::too_deep(span.clone()));
        return Tree::new(span, Kind::Null);
    }
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned().into()),
        DeValue::Integer(number) => integer(&number, &span, blemishes),
        DeValue::Float(number) => float(&number),
        DeValue::Boolean(flag) => Kind::Bool(flag),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(array) => Kind::Array(
            array
                .into_iter()
                .map(|value| convert(value, depth + 1, blemishes))
                .collect(),
        ),
        DeValue::Table(table) => Kind::Table(
            table
                .into_iter()
                .map(|pair| entry(pair, depth, blemishes))
                .collect(),
        ),
    };
    Tree::new(span, kind)
}

fn entry(
    (key, value): (Spanned<toml::de::DeString<'_>>, Spanned<DeValue<'_>>),
    depth: usize,
    blemishes: &mut Vec<Blemish>,
) -> Entry {
    let key_span = key.span();
    let tree = convert(value, depth + 1, blemishes);
    Entry {
        key: key.into_inner().into_owned().into(),
        key_span,
        tree,
    }
}

fn integer(number: &DeInteger<'_>, span: &Range<usize>, blemishes: &mut Vec<Blemish>) -> Kind {
    i128::from_str_radix(number.as_str(), number.radix()).map_or_else(
        |_| {
            blemishes.push(Blemish::syntax(span.clone(), "this number is too large"));
            Kind::Null
        },
        Kind::Integer,
    )
}

fn float(number: &DeFloat<'_>) -> Kind {
    Kind::Float(number.as_str().parse().unwrap_or(f64::NAN))
}

// === depth ===

/// Where a text nests too deeply.
///
/// Looked for before parsing: each level of an inline table may have a long dotted key, and merely dropping the values
/// of such a text would exhaust the stack. Dots in numbers and dates are counted, too; there are never that many.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut dots, mut levels, mut open) = (0, 0, 0, Vec::new());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'#' => at = end_of_line(bytes, at),
            b'"' | b'\'' => at = end_of_string(bytes, at),
            b'.' => dots += 1,
            b',' | b'\n' => dots = 0,
            b'{' | b'[' => {
                open.push(dots + 1);
                levels += dots + 1;
                dots = 0;
            }
            b'}' | b']' => {
                levels -= open.pop().unwrap_or(0);
                dots = 0;
            }
            _ => {}
        }
        if levels + dots > DEEPEST {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The last byte before the end of the line.
fn end_of_line(bytes: &[u8], at: usize) -> usize {
    let rest = bytes[at..].iter().position(|b| *b == b'\n');
    rest.map_or(bytes.len(), |length| at + length - 1)
}

/// The last byte of a string, or of its line if it is never closed.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let long = bytes[start..].starts_with(&[quote; 3]);
    let mut at = if long { start + 3 } else { start + 1 };
    while let Some(byte) = bytes.get(at) {
        match *byte {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !long => return at - 1,
            byte if byte == quote && !long => return at,
            byte if byte == quote && bytes[at..].starts_with(&[quote; 3]) => return at + 2,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nests_is_counted() {
        let many = "{[.".repeat(DEEPEST);
        let flat = [
            format!("a = \"{many}\""),
            format!("a = \"\\\"{many}\""),
            format!("a = '{many}'"),
            format!("a = '''\n'{many}\n'''"),
            format!("a = \"\"\"\n\\\"\"\"{many}\n\"\"\""),
            format!("# \"{many}\n#{many}"),
            "[[site]]\na.b.c = [[1.5, 2.5], {x.y = 1}]\n".repeat(1000),
        ];
        for text in flat {
            assert_eq!(too_deep(&text), None, "{text}");
        }
        let deep = [
            many.clone(),
            format!("a = ''\n{many}"),
            format!("a = \"\"\n{many}"),
            format!("a = '\n{many}"),
        ];
        for text in deep {
            assert!(too_deep(&text).is_some(), "{text}");
        }
    }
}
