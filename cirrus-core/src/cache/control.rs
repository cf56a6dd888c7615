//! `Cache-Control` as the cache understands it (RFC 9111 §5.2, RFC 5861), and what stands in its place.

mod dictionary;
mod targeted;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

use self::targeted::Source;
pub(super) use self::targeted::{CAPABILITY, SURROGATE_CAPABILITY, SURROGATE_CONTROL};

/// "For ever", in seconds: what an overflowing number of them stands for (RFC 9111 §1.2.2).
pub(super) const FOREVER: u32 = 1 << 31;

/// The directives that the cache acts on, of a request or a response. What is unknown is ignored.
///
/// In doubt it errs on the side of not storing and not reusing: of contradicting numbers the stricter counts, a
/// lifetime that is no number is zero, `private` and `no-cache` with what is no list of fields count as without, and a
/// quoted string that never ends counts as `no-store`, since nobody knows what it hides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) max_age: Option<u32>,
    pub(super) s_maxage: Option<u32>,
    pub(super) min_fresh: Option<u32>,
    /// [`FOREVER`] without a number: however stale.
    pub(super) max_stale: Option<u32>,
    pub(super) stale_while_revalidate: Option<u32>,
    pub(super) stale_if_error: Option<u32>,
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) only_if_cached: bool,
    /// `no-cache` or `private` for some fields only, which are [`withheld`].
    pub(super) withholds: bool,
    /// It comes from a field for caches like this one: `Expires` counts as little as `Cache-Control` (RFC 9213 §2.2).
    pub(super) is_targeted: bool,
}

/// One member of the list.
struct Directive<'a> {
    name: &'a [u8],
    argument: Argument<'a>,
}

#[derive(Clone, Copy)]
enum Argument<'a> {
    Absent,
    /// Without its quotes, if it had any.
    Text(&'a [u8]),
    /// A string where the type matters: never a number.
    List(&'a [u8]),
    Malformed,
}

/// A quoted string without its closing quote.
struct Unterminated;

// === impl Control ===

impl Control {
    /// Of a response: from the first field that speaks to caches like this one, else from `Cache-Control`.
    ///
    /// `Pragma: no-cache` has no defined meaning there (RFC 9111 §5.4); with nothing else to go by, it is taken at its
    /// word.
    pub(super) fn of_response(headers: &HeaderMap) -> Self {
        let source = Source::of(headers);
        if let Source::Surrogate(control) = source {
            return Self {
                is_targeted: true,
                ..control
            };
        }
        let mut control = Self::listed(&source);
        control.is_targeted = matches!(source, Source::Targeted(_));
        control.no_store |= !control.is_targeted && says_pragma(headers);
        control
    }

    /// Of a request, where `Pragma: no-cache` stands in for a missing `Cache-Control` (RFC 9111 §5.4).
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let mut control = Self::listed(&Source::Plain(headers));
        control.no_cache |= says_pragma(headers);
        control
    }

    fn listed(source: &Source<'_>) -> Self {
        let mut control = Self::default();
        if let Err(Unterminated) = source.each(|directive| control.apply(directive)) {
            control.no_store = true;
        }
        control
    }

    fn apply(&mut self, directive: &Directive<'_>) {
        let mut lower = [0; 24];
        let Some(name) = lower.get_mut(..directive.name.len()) else {
            return;
        };
        name.copy_from_slice(directive.name);
        name.make_ascii_lowercase();
        let argument = directive.argument;
        match &*name {
            b"max-age" => shorter(&mut self.max_age, argument.seconds().unwrap_or(0)),
            b"s-maxage" => shorter(&mut self.s_maxage, argument.seconds().unwrap_or(0)),
            b"stale-while-revalidate" => shorter(
                &mut self.stale_while_revalidate,
                argument.seconds().unwrap_or(0),
            ),
            b"stale-if-error" => shorter(&mut self.stale_if_error, argument.seconds().unwrap_or(0)),
            b"max-stale" if argument.is_absent() => shorter(&mut self.max_stale, FOREVER),
            b"max-stale" => shorter(&mut self.max_stale, argument.seconds().unwrap_or(0)),
            b"min-fresh" => longer(&mut self.min_fresh, argument.seconds().unwrap_or(FOREVER)),
            b"no-store" => self.no_store = true,
            b"no-cache" | b"private" if argument.fields().is_some() => self.withholds = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"only-if-cached" => self.only_if_cached = true,
            // These two permit something, so they count only when they are written as they should be.
            b"public" => self.public |= argument.is_absent(),
            b"must-understand" => self.must_understand |= argument.is_absent(),
            _ => {}
        }
    }

    /// A request for an answer that the origin has seen (RFC 9111 §5.2.1.1, §5.2.1.4).
    pub(super) fn insists(&self) -> bool {
        // Lists of fields mean nothing in a request.
        self.no_cache || self.withholds || self.max_age == Some(0)
    }
}

/// The fields of a response that a shared cache must not store, or not use without asking: left out of what is stored
/// (RFC 9111 §3.1).
pub(super) fn withheld(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    let collected = Source::of(headers).each(|directive| {
        let is = |name: &[u8]| directive.name.eq_ignore_ascii_case(name);
        let fields = directive.argument.fields();
        if let Some(fields) = fields.filter(|_| is(b"no-cache") || is(b"private")) {
            names.extend(fields);
        }
    });
    // Then nothing is stored anyway.
    collected.map_or_else(|Unterminated| Vec::new(), |()| names)
}

/// Tells each directive of a line.
fn each(mut line: &[u8], tell: &mut impl FnMut(&Directive<'_>)) -> Result<(), Unterminated> {
    while !line.is_empty() {
        let (directive, rest) = Directive::first(line)?;
        tell(&directive);
        line = rest;
    }
    Ok(())
}

fn says_pragma(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(PRAGMA).iter().peekable();
    // Present only in the oldest of messages: one look-up is all that others pay.
    lines.peek().is_some()
        && !headers.contains_key(CACHE_CONTROL)
        && lines
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
            .any(|pragma| pragma.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
}

fn shorter(seconds: &mut Option<u32>, other: u32) {
    *seconds = Some(seconds.map_or(other, |seconds| seconds.min(other)));
}

fn longer(seconds: &mut Option<u32>, other: u32) {
    *seconds = Some(seconds.map_or(other, |seconds| seconds.max(other)));
}

/// A number of seconds (RFC 9111 §1.2.2): digits only, too many of them stand for [`FOREVER`].
pub(super) fn seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u32, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    };
    Some(text.iter().fold(0, add).min(FOREVER))
}

// === impl Directive ===

impl<'a> Directive<'a> {
    /// The first member of a list, and what is behind its comma.
    fn first(list: &'a [u8]) -> Result<(Self, &'a [u8]), Unterminated> {
        let end = list
            .iter()
            .position(|byte| matches!(byte, b',' | b'='))
            .unwrap_or(list.len());
        let name = list[..end].trim_ascii();
        let (argument, rest) = match list.get(end) {
            Some(b'=') => Argument::first(&list[end + 1..])?,
            _ => (Argument::Absent, behind_comma(&list[end..])),
        };
        Ok((Self { name, argument }, rest))
    }
}

// === impl Argument ===

impl<'a> Argument<'a> {
    fn first(list: &'a [u8]) -> Result<(Self, &'a [u8]), Unterminated> {
        if let Some(quoted) = list.strip_prefix(b"\"") {
            return Self::quoted(quoted);
        }
        let end = comma(list);
        Ok((
            Self::Text(list[..end].trim_ascii_end()),
            behind_comma(&list[end..]),
        ))
    }

    fn quoted(list: &'a [u8]) -> Result<(Self, &'a [u8]), Unterminated> {
        let close = closing_quote(list).ok_or(Unterminated)?;
        let (text, rest) = (&list[..close], &list[close + 1..]);
        let end = comma(rest);
        let clean = rest[..end].trim_ascii().is_empty();
        let argument = if clean {
            Self::Text(text)
        } else {
            Self::Malformed
        };
        Ok((argument, behind_comma(&rest[end..])))
    }

    fn seconds(self) -> Option<u32> {
        match self {
            Self::Text(text) => seconds(text),
            Self::Absent | Self::List(_) | Self::Malformed => None,
        }
    }

    /// The fields that it names, if it does nothing else.
    fn fields(self) -> Option<Vec<HeaderName>> {
        let (Self::Text(text) | Self::List(text)) = self else {
            return None;
        };
        let names = text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let names = names.filter(|name| !name.is_empty());
        let fields: Option<Vec<_>> = names
            .map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        fields.filter(|fields| !fields.is_empty())
    }

    fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }
}

fn comma(list: &[u8]) -> usize {
    list.iter()
        .position(|&byte| byte == b',')
        .unwrap_or(list.len())
}

fn behind_comma(list: &[u8]) -> &[u8] {
    list.strip_prefix(b",").unwrap_or(list)
}

/// Where the quoted string ends, escaped quotes skipped (RFC 9110 §5.6.4).
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests;
