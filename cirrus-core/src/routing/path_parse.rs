//! Reads a [`PathPattern`] as a configuration writes it.

use std::str::FromStr;

use super::path::{PathPattern, Segment, Tail};
use super::template::is_name;

/// What was written is not a [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidPath(#[from] Fault);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error(
        "a path begins with \"/\", such as \"/a\" or \"/a/*\"; only an ending begins with a star, such as \"*.jpg\""
    )]
    Start,
    #[error("\"*\" alone is no path: write \"/*\" for every path")]
    Star,
    #[error(
        "a star stands only in the last segment: alone (\"/a/*\") or before an ending (\"/a/*.jpg\", \"*.jpg\")"
    )]
    StrayStar,
    #[error("a path has no query here: write it in the route's `query`")]
    Query,
    #[error("a path has no fragment: a browser never sends what follows \"#\"")]
    Fragment,
    #[error(
        "\".\" and \"..\" are resolved before routes are looked up: write the path without them"
    )]
    Dots,
    #[error(
        "a parameter is a whole segment in braces, such as \"/user/{{id}}\"; a literal brace is written %7B or %7D"
    )]
    Brace,
    #[error(
        "a parameter's name is made of a-z, 0-9 and \"_\" and does not begin with a digit; \"{{{0}}}\" does not"
    )]
    Name(Box<str>),
    #[error("the parameter \"{{{0}}}\" stands here twice")]
    Twice(Box<str>),
    #[error(
        "\"%\" begins an escape of two hexadecimal digits, such as \"%20\"; a literal one is written %25"
    )]
    Escape,
    #[error("the character {0:?} is not allowed in a path: write its bytes as %XX")]
    Character(char),
}

impl FromStr for PathPattern {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        if let Some(ending) = text.strip_prefix('*') {
            return Ok(Self::from_parts(Vec::new(), bare_ending(ending)?));
        }
        let path = text.strip_prefix('/').ok_or(Fault::Start)?;
        let (above, last) = match path.rsplit_once('/') {
            Some((above, last)) => (Some(above), last),
            None => (None, path),
        };
        let mut segments = Vec::new();
        for piece in above.into_iter().flat_map(|above| above.split('/')) {
            push(&mut segments, segment(piece)?)?;
        }
        let tail = match last.strip_prefix('*') {
            Some("") => Tail::Below,
            Some(text) => Tail::Ending(normal(text)?),
            None => {
                push(&mut segments, segment(last)?)?;
                Tail::End
            }
        };
        Ok(Self::from_parts(segments, tail))
    }
}

fn bare_ending(text: &str) -> Result<Tail, Fault> {
    match text {
        "" => Err(Fault::Star),
        _ if text.contains('/') => Err(Fault::StrayStar),
        _ => Ok(Tail::Ending(normal(text)?)),
    }
}

fn push(segments: &mut Vec<Segment>, segment: Segment) -> Result<(), Fault> {
    match segment {
        Segment::Param(name) if segments.contains(&Segment::Param(name.clone())) => {
            Err(Fault::Twice(name))
        }
        segment => {
            segments.push(segment);
            Ok(())
        }
    }
}

fn segment(piece: &str) -> Result<Segment, Fault> {
    if let Some(name) = piece
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        return match name {
            _ if name.contains(['{', '}']) => Err(Fault::Brace),
            _ if is_name(name) => Ok(Segment::Param(name.into())),
            _ => Err(Fault::Name(name.into())),
        };
    }
    let literal = normal(piece)?;
    if matches!(&*literal, "." | "..") {
        return Err(Fault::Dots);
    }
    Ok(Segment::Literal(literal))
}

/// A literal in normal form: escapes of unreserved characters decoded, the others in upper case.
fn normal(text: &str) -> Result<Box<str>, Fault> {
    let mut normal = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        if next != '%' {
            normal.push(allowed(next)?);
            continue;
        }
        let byte = escaped(chars.next(), chars.next()).ok_or(Fault::Escape)?;
        if is_unreserved(byte) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(normal.into())
}

/// A character that may stand in a path (RFC 3986 §3.3, `pchar`) and has no meaning in a pattern.
fn allowed(c: char) -> Result<char, Fault> {
    match c {
        '*' => Err(Fault::StrayStar),
        '{' | '}' => Err(Fault::Brace),
        '?' => Err(Fault::Query),
        '#' => Err(Fault::Fragment),
        '!' | '$' | '&' | '\'' | '(' | ')' | '+' | ',' | ';' | '=' | ':' | '@' => Ok(c),
        _ if u8::try_from(c).is_ok_and(is_unreserved) => Ok(c),
        _ => Err(Fault::Character(c)),
    }
}

fn escaped(high: Option<char>, low: Option<char>) -> Option<u8> {
    let byte = high?.to_digit(16)? << 4 | low?.to_digit(16)?;
    u8::try_from(byte).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
