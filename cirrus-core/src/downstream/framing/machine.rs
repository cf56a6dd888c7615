//! Follows where requests begin and end (RFC 9112 §2 to §7), one byte after the other.

/// Where in the stream of requests the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Machine {
    at: At,
    head: Head,
    /// The lines are a body's trailers, not a header.
    is_trailer: bool,
}

/// Something with more than one reading, or none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The first byte of it that is wrong.
    pub(super) at: usize,
    pub(super) why: &'static str,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a request line; empty lines are passed over (RFC 9112 §2.2).
    #[default]
    Start,
    EmptyLineEnd,
    Method,
    TargetStart,
    Target,
    /// So many bytes of `HTTP/1.` are there.
    Version(u8),
    VersionMinor,
    VersionEnd,
    /// Behind a carriage return that ends a line.
    LineEnd,
    LineStart,
    /// So many bytes of the name are those of the field's name.
    Name(Field, u8),
    Value(Field, Part),
    /// Behind the carriage return of the empty line.
    HeadEnd,
    Data {
        left: u64,
        is_chunk: bool,
    },
    /// Behind a chunk.
    DataEnd,
    DataEndLine,
    /// Before the digits of a chunk's size, of which there are so many.
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
}

/// The fields that say how a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Length,
    Coding,
    Upgrade,
    Other,
}

/// Where in a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Before,
    /// So many bytes of it are there.
    Within(u8),
    Behind,
}

/// What a header has said so far.
#[derive(Debug, Default)]
struct Head {
    is_http_10: bool,
    length: Option<u64>,
    is_chunked: bool,
    asks_upgrade: bool,
}

const VERSION: &[u8] = b"HTTP/1.";
const CHUNKED: &[u8] = b"chunked";

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const VALUE: u8 = 4;

/// What each byte may be part of.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let is_token = matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) || byte.is_ascii_alphanumeric();
        // What of it is no URI, hyper tells; bytes beyond ASCII leave no doubt where the target ends.
        let is_target = byte > b' ' && byte != 0x7f;
        let is_value = byte == b'\t' || byte >= b' ' && byte != 0x7f;
        table[index] =
            (is_token as u8 * TOKEN) | (is_target as u8 * TARGET) | (is_value as u8 * VALUE);
        index += 1;
    }
    table
}

/// The first byte from `from` on that is not of this class, or the end.
fn skip(bytes: &[u8], from: usize, class: u8) -> usize {
    let rest = &bytes[from..];
    let other = rest
        .iter()
        .position(|byte| CLASS[usize::from(*byte)] & class == 0);
    from + other.unwrap_or(rest.len())
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

// === impl Machine ===

impl Machine {
    /// Follows further bytes. `Some` is the end of a header that asks for an upgrade, behind which nothing was looked at.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refused> {
        let mut at = 0;
        while at < bytes.len() {
            at = self.skip(bytes, at);
            let Some(&byte) = bytes.get(at) else { break };
            if matches!(self.at, At::Data { .. }) {
                continue;
            }
            let was = self.at;
            self.at = self.step(byte).map_err(|why| Refused { at, why })?;
            at += 1;
            if was == At::HeadEnd && self.at == At::Start && self.head.asks_upgrade {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// What was refused belongs to a body whose header hyper has.
    pub(super) fn is_in_body(&self) -> bool {
        self.is_trailer
            || matches!(
                self.at,
                At::Data { .. }
                    | At::DataEnd
                    | At::DataEndLine
                    | At::Size { .. }
                    | At::Extension { .. }
                    | At::SizeEnd { .. }
            )
    }

    /// No byte of a request line is there yet.
    pub(super) fn is_before_head(&self) -> bool {
        matches!(self.at, At::Start | At::EmptyLineEnd)
    }

    /// Passes over what does not change where we are.
    fn skip(&mut self, bytes: &[u8], from: usize) -> usize {
        match &mut self.at {
            At::Method | At::Name(Field::Other, _) => skip(bytes, from, TOKEN),
            At::Target => skip(bytes, from, TARGET),
            At::Value(Field::Other | Field::Upgrade, _) | At::Extension { .. } => {
                skip(bytes, from, VALUE)
            }
            At::Data { left, is_chunk } => {
                let now = (*left).min((bytes.len() - from) as u64);
                *left -= now;
                if *left == 0 {
                    self.at = if *is_chunk { At::DataEnd } else { At::Start };
                }
                from + now as usize
            }
            _ => from,
        }
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        Ok(match (self.at, byte) {
            (At::Start, b'\r') => At::EmptyLineEnd,
            (At::EmptyLineEnd, b'\n') => At::Start,
            (At::Start, _) if is(byte, TOKEN) => {
                self.head = Head::default();
                At::Method
            }
            (At::Method, b' ') => At::TargetStart,
            (At::TargetStart, _) if is(byte, TARGET) => At::Target,
            (At::Target, b' ') => At::Version(0),
            (At::Version(there), _) if byte == VERSION[usize::from(there)] => {
                if usize::from(there) + 1 == VERSION.len() {
                    At::VersionMinor
                } else {
                    At::Version(there + 1)
                }
            }
            (At::VersionMinor, b'0' | b'1') => {
                self.head.is_http_10 = byte == b'0';
                At::VersionEnd
            }
            (At::VersionEnd, b'\r') => At::LineEnd,
            (
                At::Start
                | At::EmptyLineEnd
                | At::Method
                | At::TargetStart
                | At::Target
                | At::Version(_)
                | At::VersionMinor
                | At::VersionEnd,
                _,
            ) => return Err("the request line is not valid"),

            (At::LineEnd, b'\n') => At::LineStart,
            (At::HeadEnd, b'\n') => self.end_head()?,
            (At::LineEnd | At::HeadEnd, _) => return Err("a carriage return that ends no line"),
            (At::LineStart, b'\r') => At::HeadEnd,
            (At::LineStart, b' ' | b'\t') => return Err("a folded header line"),
            (At::LineStart, _) if is(byte, TOKEN) => Field::begin(byte),
            (At::Name(field, there), _) if is(byte, TOKEN) => field.go_on(there, byte),
            (At::Name(field, there), b':') => self.begin_value(field, there)?,
            (At::LineStart | At::Name(..), _) => return Err("a field's name is not valid"),
            (At::Value(field, part), b'\r') => self.end_value(field, part)?,
            (At::Value(field, part), _) if is(byte, VALUE) => {
                At::Value(field, self.value(field, part, byte)?)
            }
            (At::Value(..), _) => return Err("a control character in a field's value"),

            (
                At::Size {
                    size,
                    digits: digits @ 0..16,
                },
                _,
            ) if byte.is_ascii_hexdigit() => At::Size {
                size: size << 4 | u64::from(hex(byte)),
                digits: digits + 1,
            },
            (At::Size { size, digits: 1.. }, b';') => At::Extension { size },
            (At::Size { size, digits: 1.. } | At::Extension { size }, b'\r') => {
                At::SizeEnd { size }
            }
            (At::SizeEnd { size: 0 }, b'\n') => {
                self.is_trailer = true;
                At::LineStart
            }
            (At::SizeEnd { size }, b'\n') => At::Data {
                left: size,
                is_chunk: true,
            },
            (At::Size { .. } | At::Extension { .. } | At::SizeEnd { .. }, _) => {
                return Err("a chunk's size is not valid");
            }
            (At::DataEnd, b'\r') => At::DataEndLine,
            (At::DataEndLine, b'\n') => At::Size { size: 0, digits: 0 },
            (At::DataEnd | At::DataEndLine, _) => return Err("a chunk is longer than it says"),
            // Passed over as a whole.
            (At::Data { .. }, _) => self.at,
        })
    }

    fn begin_value(&mut self, field: Field, there: u8) -> Result<At, &'static str> {
        let field = if usize::from(there) == field.name().len() {
            field
        } else {
            Field::Other
        };
        match field {
            Field::Length | Field::Coding if self.is_trailer => {
                return Err("a trailer that speaks of framing");
            }
            Field::Length if self.head.length.is_some() => {
                return Err("more than one Content-Length");
            }
            Field::Coding if self.head.is_chunked => return Err("more than one Transfer-Encoding"),
            Field::Coding if self.head.is_http_10 => return Err("Transfer-Encoding in HTTP/1.0"),
            Field::Coding if self.head.length.is_some() => return Err(BOTH),
            Field::Length if self.head.is_chunked => return Err(BOTH),
            Field::Length => self.head.length = Some(0),
            Field::Upgrade => self.head.asks_upgrade |= !self.is_trailer,
            Field::Coding | Field::Other => {}
        }
        Ok(At::Value(field, Part::Before))
    }

    fn value(&mut self, field: Field, part: Part, byte: u8) -> Result<Part, &'static str> {
        let is_space = matches!(byte, b' ' | b'\t');
        match (field, part) {
            (Field::Upgrade | Field::Other, _) => Ok(part),
            (_, Part::Before | Part::Behind) if is_space => Ok(part),
            (Field::Length, Part::Within(_)) if is_space => Ok(Part::Behind),
            (Field::Length, Part::Before | Part::Within(_)) => {
                self.head.length = longer(self.head.length, byte);
                self.head.length.map(|_| Part::Within(1)).ok_or(LENGTH)
            }
            (Field::Length, Part::Behind) => Err(LENGTH),
            (Field::Coding, Part::Before) => coding(0, byte),
            (Field::Coding, Part::Within(there)) if usize::from(there) < CHUNKED.len() => {
                coding(there, byte)
            }
            (Field::Coding, Part::Within(_)) if is_space => Ok(Part::Behind),
            (Field::Coding, _) => Err(CODING),
        }
    }

    fn end_value(&mut self, field: Field, part: Part) -> Result<At, &'static str> {
        match (field, part) {
            (Field::Length, Part::Before) => return Err(LENGTH),
            (Field::Coding, Part::Before) => return Err(CODING),
            (Field::Coding, Part::Within(there)) if usize::from(there) < CHUNKED.len() => {
                return Err(CODING);
            }
            (Field::Coding, _) => self.head.is_chunked = true,
            _ => {}
        }
        Ok(At::LineEnd)
    }

    fn end_head(&mut self) -> Result<At, &'static str> {
        if std::mem::take(&mut self.is_trailer) {
            self.head.asks_upgrade = false;
            return Ok(At::Start);
        }
        Ok(match (self.head.is_chunked, self.head.length) {
            (true, _) => At::Size { size: 0, digits: 0 },
            (false, Some(left @ 1..)) => At::Data {
                left,
                is_chunk: false,
            },
            (false, _) => {
                // Before HTTP/1.1 there are no upgrades.
                self.head.asks_upgrade &= !self.head.is_http_10;
                At::Start
            }
        })
    }
}

const BOTH: &str = "both Transfer-Encoding and Content-Length";
const LENGTH: &str = "Content-Length is not one number";
const CODING: &str = "Transfer-Encoding is not chunked";

fn longer(length: Option<u64>, digit: u8) -> Option<u64> {
    let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
    length?.checked_mul(10)?.checked_add(digit)
}

fn coding(there: u8, byte: u8) -> Result<Part, &'static str> {
    if byte.to_ascii_lowercase() == CHUNKED[usize::from(there)] {
        Ok(Part::Within(there + 1))
    } else {
        Err(CODING)
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

// === impl Field ===

impl Field {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Length => b"content-length",
            Self::Coding => b"transfer-encoding",
            Self::Upgrade => b"upgrade",
            Self::Other => b"",
        }
    }

    /// The first byte tells which of them it can be.
    fn begin(byte: u8) -> At {
        match byte.to_ascii_lowercase() {
            b'c' => At::Name(Self::Length, 1),
            b't' => At::Name(Self::Coding, 1),
            b'u' => At::Name(Self::Upgrade, 1),
            _ => At::Name(Self::Other, 0),
        }
    }

    fn go_on(self, there: u8, byte: u8) -> At {
        match self.name().get(usize::from(there)) {
            Some(next) if *next == byte.to_ascii_lowercase() => At::Name(self, there + 1),
            _ => At::Name(Self::Other, 0),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
