//! What says which slices belong together.

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cache::header::StoredHeader;
use crate::cache::meta::Meta;
use crate::cache::range::Span;

/// Kept with the header of the stored index, and never sent to anybody.
static SLICES: HeaderName = HeaderName::from_static("cirrus-slices");

/// How a response is cut into slices, and what they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Index {
    /// Bytes of a slice; the last one may have less.
    pub(in crate::cache) size: u64,
    /// Bytes of the whole.
    pub(in crate::cache) total: u64,
    /// Unlike that of any other index, before or after, whatever it is of.
    pub(in crate::cache) generation: u64,
}

/// `Content-Range` of a response with a single part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct ContentRange {
    pub(in crate::cache) span: Span,
    pub(in crate::cache) total: u64,
}

// === impl Index ===

impl Index {
    /// Of what is stored; `None` for what is stored as a whole.
    pub(in crate::cache) fn of(meta: &Meta) -> Option<Self> {
        if meta.status != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        let numbers = meta.headers.get(&SLICES)?;
        let mut numbers = numbers.to_str().ok()?.split(' ');
        let mut next = || numbers.next()?.parse().ok();
        let (size, total, generation) = (next()?, next()?, next()?);
        (size > 0).then_some(Self {
            size,
            total,
            generation,
        })
    }

    /// What is stored of it, given what would be of the whole.
    pub(in crate::cache) fn meta(self, whole: &Meta) -> Meta {
        let mut meta = whole.clone().with_length(Some(0));
        meta.status = StatusCode::PARTIAL_CONTENT;
        let numbers = format!("{} {} {}", self.size, self.total, self.generation);
        if let Ok(numbers) = HeaderValue::try_from(numbers) {
            meta.headers
                .change(|headers| drop(headers.insert(&SLICES, numbers)));
        }
        meta
    }

    /// The whole that it stands for.
    pub(in crate::cache) fn whole(self, stored: &Meta) -> Meta {
        let mut meta = stored.clone().with_length(Some(self.total));
        meta.status = StatusCode::OK;
        meta.headers.change(|headers| {
            headers.remove(&SLICES);
            // Answers to requests for parts often leave it out.
            let accepted = HeaderValue::from_static("bytes");
            headers.entry(ACCEPT_RANGES).or_insert(accepted);
        });
        meta
    }

    /// What the origin says when it confirms the index is about the whole: it must not say how that is cut.
    pub(in crate::cache) fn carry(stored: &Meta, headers: &mut HeaderMap) {
        if let Some(numbers) = stored.headers.get(&SLICES) {
            headers.insert(&SLICES, numbers);
        }
    }

    /// What is stored of a slice, given what would be of the whole. Its header tells nobody anything.
    pub(in crate::cache) fn slice_meta(whole: &Meta, span: Span) -> Meta {
        let mut meta = Meta::new(StatusCode::PARTIAL_CONTENT, HeaderMap::new())
            .with_freshness(whole.freshness())
            .with_tags(whole.tags.iter())
            .with_length(Some(span.len()));
        meta.asked = whole.asked;
        meta
    }

    pub(in crate::cache) fn number(self, byte: u64) -> u64 {
        byte / self.size
    }

    /// The bytes of a slice.
    pub(in crate::cache) fn span(self, number: u64) -> Span {
        let start = number * self.size;
        Span {
            start,
            end: start.saturating_add(self.size).min(self.total),
        }
    }
}

/// A number that no other index has.
pub(in crate::cache) fn generation() -> u64 {
    let mut bytes = [0; 8];
    // It fails on no system that TLS works on.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// Whether parts that are fetched one by one can be told to be of the same: by a strong tag, or by a date.
pub(in crate::cache) fn can_be_sliced(headers: &HeaderMap) -> bool {
    strong_etag(headers).is_some() || headers.contains_key(LAST_MODIFIED)
}

/// Whether two responses with a part each have parts of the same; their totals are compared elsewhere.
pub(in crate::cache) fn is_same(one: &StoredHeader, other: &HeaderMap) -> bool {
    let equal = |name: &HeaderName| one.get(name).as_ref() == other.get(name);
    let strong = strong_etag(other).is_some();
    equal(&ETAG) && equal(&CONTENT_ENCODING) && (strong || equal(&LAST_MODIFIED))
}

fn strong_etag(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers
        .get(ETAG)
        .filter(|etag| etag.as_bytes().starts_with(b"\""))
}

// === impl ContentRange ===

impl ContentRange {
    /// Of a response; `None` also if the field contradicts itself, or `Content-Length`.
    pub(in crate::cache) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (unit, text) = text.split_once(' ')?;
        let (range, total) = text.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok()?);
        let (end, total) = (last.checked_add(1)?, total.parse().ok()?);
        let span = Span { start: first, end };
        let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
        let own = end.saturating_sub(first).to_string();
        let fits = length.is_none_or(|length| length == own.as_bytes());
        let is_range = unit.eq_ignore_ascii_case("bytes") && first < end && end <= total;
        (is_range && fits).then_some(Self { span, total })
    }

    /// Whether it is what was asked for, cut to what there is.
    pub(in crate::cache) fn answers(self, asked: Span) -> bool {
        self.span.start == asked.start && self.span.end == asked.end.min(self.total)
    }

    pub(in crate::cache) fn is_whole(self) -> bool {
        self.span.start == 0 && self.span.end == self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn an_index_is_what_it_was_written_as() {
        let index = Index {
            size: 1 << 20,
            total: 10 << 30,
            generation: u64::MAX,
        };
        let whole = Meta::new(StatusCode::OK, headers(&[(ETAG, "\"a\"")])).with_length(Some(7));
        let stored = index.meta(&whole);
        assert_eq!(Index::of(&stored), Some(index));
        assert_eq!(Index::of(&whole), None);
        assert_eq!(stored.length, Some(0));
        let again = index.whole(&stored);
        assert_eq!(
            (again.length, again.status),
            (Some(10 << 30), StatusCode::OK)
        );
        let expected = headers(&[(ETAG, "\"a\""), (ACCEPT_RANGES, "bytes")]);
        assert_eq!(again.headers.to_map(), expected);
    }

    #[test]
    fn slices_cover_the_whole() {
        let index = Index {
            size: 100,
            total: 250,
            generation: 0,
        };
        let spans: Vec<_> = (0..3).map(|n| index.span(n)).collect();
        assert_eq!(spans.iter().map(|span| span.len()).sum::<u64>(), 250);
        assert_eq!(
            spans[2],
            Span {
                start: 200,
                end: 250
            }
        );
        assert_eq!((index.number(99), index.number(100)), (0, 1));
    }

    #[test]
    fn content_ranges_are_read_strictly() {
        let read = |text, length| {
            ContentRange::of(&headers(&[(CONTENT_RANGE, text), (CONTENT_LENGTH, length)]))
        };
        let read_range = read("bytes 0-9/20", "10").unwrap();
        assert_eq!((read_range.span.end, read_range.total), (10, 20));
        assert!(read_range.answers(Span { start: 0, end: 10 }));
        assert!(!read_range.answers(Span { start: 0, end: 11 }));
        assert!(!read_range.answers(Span { start: 0, end: 9 }));
        assert!(
            read("bytes 0-9/10", "10")
                .unwrap()
                .answers(Span { start: 0, end: 99 })
        );
        for (text, length) in [
            ("bytes 0-9/*", "10"),
            ("bytes */10", "10"),
            ("bytes 0-9/9", "10"),
            ("bytes 9-0/10", "10"),
            ("bytes 0-9/20", "11"),
            ("bytes 0-18446744073709551615/20", "10"),
            ("lines 0-9/20", "10"),
            ("0-9/20", "10"),
        ] {
            assert_eq!(read(text, length), None, "{text}");
        }
    }

    #[test]
    fn only_like_goes_with_like() {
        let strong = headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, "x")]);
        let weak = headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, "x")]);
        let dated = headers(&[(LAST_MODIFIED, "x")]);
        assert!(is_same(
            &strong.clone().into(),
            &headers(&[(ETAG, "\"a\"")])
        ));
        assert!(is_same(&weak.clone().into(), &weak) && is_same(&dated.clone().into(), &dated));
        assert!(!is_same(
            &strong.clone().into(),
            &headers(&[(ETAG, "\"b\""), (LAST_MODIFIED, "x")])
        ));
        assert!(!is_same(
            &weak.into(),
            &headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, "y")])
        ));
        assert!(!is_same(&dated.clone().into(), &strong));
        let coded = headers(&[(ETAG, "\"a\""), (CONTENT_ENCODING, "gzip")]);
        assert!(!is_same(&strong.clone().into(), &coded));
        assert!(can_be_sliced(&strong) && can_be_sliced(&dated));
        assert!(!can_be_sliced(&headers(&[(ETAG, "W/\"a\"")])));
    }
}
