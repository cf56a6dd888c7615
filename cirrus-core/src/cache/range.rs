//! A part of a stored response (RFC 9110 §14).

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

use super::conditional::matches_if_range;
use super::store::ByteRange;

/// What a client gets that asks for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything: it asked for none, or for one that is not served.
    Whole,
    /// These bytes; the end is exclusive and never before the start.
    Of { start: u64, end: u64 },
    /// Nothing: it begins behind the last byte (RFC 9110 §15.5.17).
    Unsatisfiable,
}

/// A single range of bytes as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

// === impl Part ===

impl Part {
    /// Of a body of `size` bytes with this header. Several ranges at once, and what is no range, get everything.
    pub(super) fn of(request: &HeaderMap, stored: &HeaderMap, size: u64) -> Self {
        let mut lines = request.get_all(RANGE).iter();
        let (Some(range), None) = (lines.next(), lines.next()) else {
            return Self::Whole;
        };
        let holds = request
            .get(IF_RANGE)
            .is_none_or(|condition| matches_if_range(condition, stored));
        match Wanted::parse(range.as_bytes()) {
            Some(wanted) if holds => wanted.within(size),
            _ => Self::Whole,
        }
    }

    /// `Content-Range` for a body of `size` bytes; `None` for a whole one.
    pub(super) fn content_range(self, size: u64) -> Option<HeaderValue> {
        let text = match self {
            Self::Whole => return None,
            Self::Of { start, end } => format!("bytes {start}-{}/{size}", end - 1),
            Self::Unsatisfiable => format!("bytes */{size}"),
        };
        HeaderValue::try_from(text).ok()
    }

    pub(super) fn bytes(self) -> ByteRange {
        match self {
            Self::Of { start, end } => ByteRange {
                start,
                end: Some(end),
            },
            Self::Whole | Self::Unsatisfiable => ByteRange::ALL,
        }
    }
}

// === impl Wanted ===

impl Wanted {
    fn parse(text: &[u8]) -> Option<Self> {
        let (unit, set) = std::str::from_utf8(text).ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From {
                first: number(first)?,
                last: None,
            }),
            (first, last) => Self::between(number(first)?, number(last)?),
        }
    }

    fn between(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self::From {
            first,
            last: Some(last),
        })
    }

    fn within(self, size: u64) -> Part {
        let (start, end) = match self {
            Self::From { first, last } => (
                first,
                last.map_or(size, |last| last.saturating_add(1).min(size)),
            ),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        if start < end {
            Part::Of { start, end }
        } else {
            Part::Unsatisfiable
        }
    }
}

/// Digits only; more than there can be bytes is as many as there can be.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(range: &'static str, size: u64) -> Part {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_static(range));
        Part::of(&request, &HeaderMap::new(), size)
    }

    #[test]
    fn single_ranges_are_cut_to_the_body() {
        for (range, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=2-5", 2, 6),
            ("Bytes= 2-5 ", 2, 6),
            ("bytes=2-", 2, 10),
            ("bytes=2-99", 2, 10),
            ("bytes=0-18446744073709551615", 0, 10),
            ("bytes=0-99999999999999999999999", 0, 10),
            ("bytes=-3", 7, 10),
            ("bytes=-99", 0, 10),
        ] {
            assert_eq!(part(range, 10), Part::Of { start, end }, "{range}");
        }
    }

    #[test]
    fn ranges_behind_the_end_cannot_be_satisfied() {
        for range in [
            "bytes=10-",
            "bytes=10-12",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(part(range, 10), Part::Unsatisfiable, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(part("bytes=-5", 0), Part::Unsatisfiable);
    }

    #[test]
    fn several_ranges_and_nonsense_get_everything() {
        for range in [
            "bytes=0-1,3-4",
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "lines=0-1",
            "0-1",
        ] {
            assert_eq!(part(range, 10), Part::Whole, "{range}");
        }
        assert_eq!(
            Part::of(&HeaderMap::new(), &HeaderMap::new(), 10),
            Part::Whole
        );
    }

    #[test]
    fn content_range_names_the_last_byte_and_the_size() {
        assert_eq!(
            part("bytes=2-5", 10).content_range(10).unwrap(),
            "bytes 2-5/10"
        );
        assert_eq!(
            part("bytes=10-", 10).content_range(10).unwrap(),
            "bytes */10"
        );
        assert_eq!(Part::Whole.content_range(10), None);
    }
}
