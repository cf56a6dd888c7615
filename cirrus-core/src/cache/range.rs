//! Parts of a stored response (RFC 9110 §14).

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

use super::conditional::matches_if_range;
use super::header::StoredHeader;
use super::store::ByteRange;

/// Most ranges that a request may name; with more it gets everything (RFC 9110 §17.15).
pub(super) const MOST_RANGES: usize = 16;

/// Ranges with less than this between them become one: the lines between two parts would be no less to send.
const WORTHWHILE_GAP: u64 = 80;

/// What a client gets that asks for a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything: it asked for none, or for one that is not served.
    Whole,
    /// These bytes.
    Of(Span),
    /// Each of these, at least two, as a part of its own; no two of them overlap.
    Several(Vec<Span>),
    /// Nothing: it begins behind the last byte (RFC 9110 §15.5.17).
    Unsatisfiable,
}

/// Some bytes of a body, at least one; the end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A range of bytes as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

// === impl Part ===

impl Part {
    /// Of a body of `size` bytes with this header. What is no range, and too many of them, get everything.
    pub(super) fn of(request: &HeaderMap, stored: &StoredHeader, size: u64) -> Self {
        let Some(range) = only(request, &RANGE) else {
            return Self::Whole;
        };
        let mut specs = Vec::new();
        for spec in Wanted::all(range) {
            match spec {
                Some(_) if specs.len() == MOST_RANGES => return Self::Whole,
                Some(wanted) => specs.push(wanted),
                None => return Self::Whole,
            }
        }
        if specs.is_empty() || !condition_holds(request, stored) {
            return Self::Whole;
        }
        Self::within(&specs, size)
    }

    fn within(specs: &[Wanted], size: u64) -> Self {
        let mut spans = Vec::with_capacity(specs.len());
        for span in specs.iter().filter_map(|wanted| wanted.within(size)) {
            join(&mut spans, span);
        }
        match spans[..] {
            [] => Self::Unsatisfiable,
            [span] => Self::Of(span),
            _ => Self::Several(spans),
        }
    }

    /// `Content-Range` for a body of `size` bytes; `None` where there is none for the message as a whole.
    pub(super) fn content_range(&self, size: u64) -> Option<HeaderValue> {
        match self {
            Self::Whole | Self::Several(_) => None,
            Self::Of(span) => Some(span.content_range(size)),
            Self::Unsatisfiable => HeaderValue::try_from(format!("bytes */{size}")).ok(),
        }
    }
}

/// The first byte that a request asks for, as far as that is known without the size.
pub(super) fn first_wanted(request: &HeaderMap) -> u64 {
    let first = only(request, &RANGE).and_then(|range| Wanted::all(range).next());
    match first {
        Some(Some(Wanted::From { first, .. })) => first,
        _ => 0,
    }
}

/// The value of a field with a single line.
fn only<'a>(request: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = request.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn condition_holds(request: &HeaderMap, stored: &StoredHeader) -> bool {
    !request.contains_key(IF_RANGE)
        || only(request, &IF_RANGE).is_some_and(|condition| matches_if_range(condition, stored))
}

/// Adds a span in its place: that of the first one that it overlaps or nearly touches (RFC 9110 §15.3.7.2).
fn join(spans: &mut Vec<Span>, mut span: Span) {
    let mut place = spans.len();
    // What it has taken in may have brought it near to another.
    while let Some(near) = spans.iter().position(|other| other.is_near(span)) {
        let other = spans.remove(near);
        span.start = span.start.min(other.start);
        span.end = span.end.max(other.end);
        place = place.min(near);
    }
    spans.insert(place.min(spans.len()), span);
}

// === impl Span ===

impl Span {
    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }

    /// `Content-Range` in a body of `size` bytes.
    pub(super) fn content_range(self, size: u64) -> HeaderValue {
        HeaderValue::try_from(self.described(size))
            .unwrap_or(const { HeaderValue::from_static("bytes */*") })
    }

    pub(super) fn described(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }

    pub(super) fn holds(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    fn is_near(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(WORTHWHILE_GAP)
            && other.start <= self.end.saturating_add(WORTHWHILE_GAP)
    }
}

impl From<Span> for ByteRange {
    fn from(span: Span) -> Self {
        Self {
            start: span.start,
            end: Some(span.end),
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// The members of a set of ranges, empty ones left out; `None` for what is no range.
    fn all(range: &HeaderValue) -> impl Iterator<Item = Option<Self>> {
        let set = range.to_str().ok().and_then(|text| text.split_once('='));
        let (set, is_set) = match set {
            Some((unit, set)) if unit.eq_ignore_ascii_case("bytes") => (set, true),
            _ => ("", false),
        };
        let members = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
        let members = members.filter(|spec| !spec.is_empty()).map(Self::parse);
        (!is_set).then_some(None).into_iter().chain(members)
    }

    fn parse(spec: &str) -> Option<Self> {
        let (first, last) = spec.split_once('-')?;
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

    /// Cut to a body of `size` bytes; `None` if nothing of it lies within.
    fn within(self, size: u64) -> Option<Span> {
        let (start, end) = match self {
            Self::From { first, last } => (
                first,
                last.map_or(size, |last| last.saturating_add(1).min(size)),
            ),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < end).then_some(Span { start, end })
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
        Part::of(&request, &StoredHeader::default(), size)
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
            assert_eq!(part(range, 10), Part::Of(Span { start, end }), "{range}");
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
    fn nonsense_gets_everything() {
        for range in [
            "bytes=0-1,5-2",
            "bytes=0-1,a",
            "bytes=,",
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
            Part::of(&HeaderMap::new(), &StoredHeader::default(), 10),
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

    fn spans<const N: usize>(spans: [(u64, u64); N]) -> Part {
        Part::Several(spans.map(|(start, end)| Span { start, end }).to_vec())
    }

    #[test]
    fn several_ranges_stay_in_order_and_those_behind_the_end_are_left_out() {
        assert_eq!(
            part("bytes=500-599, ,0-0,9999-,-1", 1000),
            spans([(500, 600), (0, 1), (999, 1000)])
        );
        assert_eq!(part("bytes=1000-,2000-", 1000), Part::Unsatisfiable);
        assert_eq!(
            part("bytes=1000-,7-9", 1000),
            Part::Of(Span { start: 7, end: 10 })
        );
    }

    #[test]
    fn ranges_that_overlap_or_nearly_touch_become_one() {
        let one = |start, end| Part::Of(Span { start, end });
        assert_eq!(part("bytes=0-99,50-149", 1000), one(0, 150));
        assert_eq!(part("bytes=100-199,0-99", 1000), one(0, 200));
        assert_eq!(part("bytes=0-99,180-199", 1000), one(0, 200));
        assert_eq!(
            part("bytes=0-99,181-199", 1000),
            spans([(0, 100), (181, 200)])
        );
        assert_eq!(
            part("bytes=500-509,0-9,200-209,5-204", 1000),
            spans([(500, 510), (0, 210)])
        );
        assert_eq!(part("bytes=0-0,-1000", 1000), one(0, 1000));
    }

    #[test]
    fn too_many_ranges_get_everything() {
        let ranges = |count: u64| {
            let specs: Vec<_> = (0..count)
                .map(|n| format!("{}-{}", n * 500, n * 500))
                .collect();
            let mut request = HeaderMap::new();
            let value = format!("bytes={}", specs.join(","));
            request.insert(RANGE, HeaderValue::try_from(value).unwrap());
            Part::of(&request, &StoredHeader::default(), 1 << 20)
        };
        assert!(matches!(ranges(16), Part::Several(spans) if spans.len() == 16));
        assert_eq!(ranges(17), Part::Whole);
    }

    #[test]
    fn the_first_byte_wanted_is_known_without_the_size() {
        for (range, first) in [
            ("bytes=8589934592-", 8_589_934_592),
            ("bytes=700-800,5-9", 700),
            ("bytes=-500", 0),
            ("lines=7-", 0),
        ] {
            let mut request = HeaderMap::new();
            request.insert(RANGE, HeaderValue::from_static(range));
            assert_eq!(first_wanted(&request), first, "{range}");
        }
        assert_eq!(first_wanted(&HeaderMap::new()), 0);
    }

    proptest::proptest! {
        /// Against a model that knows every byte by itself.
        #[test]
        fn what_is_served_is_what_was_asked_for(
            size in 0_u64..2000,
            specs in proptest::collection::vec((0_u64..2200, 0_u64..400, 0_u8..3), 1..17),
        ) {
            let (mut text, mut asked) = (Vec::new(), std::collections::BTreeSet::new());
            for (first, length, kind) in specs {
                let (spec, bytes) = match kind {
                    0 => (format!("{first}-{}", first + length), first..first + length + 1),
                    1 => (format!("{first}-"), first..size),
                    _ => (format!("-{length}"), size.saturating_sub(length)..size),
                };
                text.push(spec);
                asked.extend(bytes.filter(|byte| *byte < size));
            }
            let mut request = HeaderMap::new();
            request.insert(RANGE, HeaderValue::try_from(format!("bytes={}", text.join(","))).unwrap());
            let spans = match Part::of(&request, &StoredHeader::default(), size) {
                Part::Whole => panic!("a valid range"),
                Part::Unsatisfiable => Vec::new(),
                Part::Of(span) => vec![span],
                Part::Several(spans) => spans,
            };
            let mut served = std::collections::BTreeSet::new();
            for span in &spans {
                proptest::prop_assert!(span.start < span.end && span.end <= size);
                for byte in span.start..span.end {
                    proptest::prop_assert!(served.insert(byte), "{} twice", byte);
                }
            }
            proptest::prop_assert!(asked.is_subset(&served));
            // Whatever was not asked for lies in a gap that is not worth leaving out.
            let extra: Vec<_> = served.difference(&asked).copied().collect();
            for byte in extra {
                let before = asked.range(..byte).next_back();
                let after = asked.range(byte..).next();
                proptest::prop_assert!(
                    before.zip(after).is_some_and(|(before, after)| after - before <= 81)
                );
            }
        }
    }
}
