//! Fields that speak to caches like this one alone: `Cirrus-CDN-Cache-Control` and `CDN-Cache-Control` (RFC 9213), and
//! `Surrogate-Control` (Edge Architecture Specification).

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::dictionary::{Item, dictionary};
use super::{Argument, Control, Directive, Unterminated, seconds, shorter};

/// The target list (RFC 9213 §2.2): the first with a valid value counts, and `Cache-Control` and `Expires` do not.
static TARGETS: [HeaderName; 2] = [
    HeaderName::from_static("cirrus-cdn-cache-control"),
    HeaderName::from_static("cdn-cache-control"),
];

/// Directives for surrogates. It is for us and nobody behind us.
pub(in crate::cache) static SURROGATE_CONTROL: HeaderName =
    HeaderName::from_static("surrogate-control");

/// How origins learn that `Surrogate-Control` is understood here.
pub(in crate::cache) static SURROGATE_CAPABILITY: HeaderName =
    HeaderName::from_static("surrogate-capability");

/// Our name among surrogates, and what we can do.
pub(in crate::cache) const CAPABILITY: HeaderValue =
    HeaderValue::from_static("cirrus=\"Surrogate/1.0\"");

const NAME: &[u8] = b"cirrus";

/// The field that a response's directives are in.
pub(super) enum Source<'a> {
    Targeted(Vec<u8>),
    Surrogate(Control),
    Plain(&'a HeaderMap),
}

// === impl Source ===

impl<'a> Source<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let valid = |name: &HeaderName| {
            let text = joined(headers, name)?;
            let members = dictionary(&text, |_, _| {})?;
            (members > 0).then_some(text)
        };
        if let Some(text) = TARGETS.iter().find_map(valid) {
            return Self::Targeted(text);
        }
        surrogate(headers).map_or(Self::Plain(headers), Self::Surrogate)
    }

    /// Tells each directive; fails where a quoted string has no end.
    pub(super) fn each(&self, mut tell: impl FnMut(&Directive<'_>)) -> Result<(), Unterminated> {
        match self {
            Self::Targeted(text) => {
                dictionary(text, |name, item| {
                    if let Some(argument) = argument(item) {
                        tell(&Directive { name, argument });
                    }
                });
            }
            Self::Surrogate(_) => {}
            Self::Plain(headers) => {
                for line in headers.get_all(CACHE_CONTROL) {
                    super::each(line.as_bytes(), &mut tell)?;
                }
            }
        }
        Ok(())
    }
}

/// `None` for what is switched off.
fn argument(item: Item<'_>) -> Option<Argument<'_>> {
    match item {
        Item::Boolean(true) => Some(Argument::Absent),
        Item::Boolean(false) => None,
        Item::Integer(text) | Item::Token(text) => Some(Argument::Text(text)),
        Item::String(text) => Some(Argument::List(text)),
        Item::Other => Some(Argument::Malformed),
    }
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let mut text = lines.next()?.to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line);
    }
    Some(text)
}

/// What it says about storing; `None` if that is nothing. What is said to us by name counts before what is said to all.
fn surrogate(headers: &HeaderMap) -> Option<Control> {
    let (mut all, mut ours) = (None, None);
    for line in headers.get_all(&SURROGATE_CONTROL) {
        for member in split(line.as_bytes(), b',') {
            let mut parts = split(member, b';').map(<[u8]>::trim_ascii);
            let directive = parts.next().unwrap_or_default();
            let targets: Vec<_> = parts.collect();
            if targets.is_empty() {
                say(directive, &mut all);
            } else if targets.contains(&NAME) {
                say(directive, &mut ours);
            }
        }
    }
    ours.or(all)
}

fn say(directive: &[u8], to: &mut Option<Control>) {
    let end = directive.iter().position(|&byte| byte == b'=');
    let (name, value) = directive.split_at(end.unwrap_or(directive.len()));
    let is = |other: &[u8]| name.trim_ascii().eq_ignore_ascii_case(other);
    // An edge is as remote as a surrogate can be.
    if is(b"no-store") || is(b"no-store-remote") {
        to.get_or_insert_default().no_store = true;
    } else if is(b"max-age") {
        let value = value.strip_prefix(b"=").unwrap_or_default();
        let plus = value.iter().position(|&byte| byte == b'+');
        let (fresh, more) = value.split_at(plus.unwrap_or(value.len()));
        let control = to.get_or_insert_default();
        shorter(&mut control.max_age, seconds(fresh).unwrap_or(0));
        // How long it may be used past that, "if necessary".
        if let Some(more) = more.strip_prefix(b"+") {
            let more = seconds(more).unwrap_or(0);
            shorter(&mut control.stale_while_revalidate, more);
            shorter(&mut control.stale_if_error, more);
        }
    }
}

/// The parts between separators that are not within quotes.
fn split(mut text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut more = true;
    std::iter::from_fn(move || {
        more.then_some(())?;
        let mut quoted = false;
        let end = text.iter().position(|&byte| {
            quoted ^= byte == b'"';
            byte == separator && !quoted
        });
        more = end.is_some();
        let (part, rest) = text.split_at(end.unwrap_or(text.len()));
        text = rest.get(1..).unwrap_or_default();
        Some(part)
    })
}
