//! A stored header: one block of bytes, the lines that HTTP/1 writes.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::codec::write::field;

/// Fields that frame a message, or concern the connection: whoever writes the message writes them.
static FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING];

/// Most fields that a map has room for before it is filled.
const MOST_ROOM: usize = 256;

/// The header of a stored response, packed: the lines that HTTP/1 writes, in one block.
///
/// A map of the same fields takes several times the memory. It is [made](Self::to_map) where somebody has to change it;
/// its values share the block. Order counts within a field only, as in a map.
#[derive(Clone, Default)]
pub struct StoredHeader(Bytes);

// === impl StoredHeader ===

impl StoredHeader {
    /// The first value of a field.
    #[must_use]
    pub fn get(&self, name: impl AsRef<str>) -> Option<HeaderValue> {
        let name = name.as_ref();
        let (_, value) = self.iter().find(|(other, _)| is(other, name))?;
        Some(self.value(value))
    }

    /// Every value of a field, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = HeaderValue> + 'a {
        self.iter()
            .filter(move |(other, _)| is(other, name))
            .map(|(_, value)| self.value(value))
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn contains_key(&self, name: impl AsRef<str>) -> bool {
        let name = name.as_ref();
        self.iter().any(|(other, _)| is(other, name))
    }

    /// Every line's name, in lower case, and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        Lines(&self.0).map(|(name, value)| (name, value.unwrap_or_default()))
    }

    /// How many lines it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether it has no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The map of these fields.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        self.to_map_with(0)
    }

    /// Has its [map](Self::to_map) changed, and packs it again.
    pub fn change(&mut self, change: impl FnOnce(&mut HeaderMap)) {
        let mut map = self.to_map();
        change(&mut map);
        *self = map.into();
    }

    /// [`to_map`](Self::to_map), with room for so many fields more.
    pub(super) fn to_map_with(&self, more: usize) -> HeaderMap {
        // Room for the fields that nearly every response stays below: many lines may be of one field.
        let mut map = HeaderMap::with_capacity((self.len() + more).min(MOST_ROOM));
        for (name, value) in self.iter() {
            map.append(named(name), self.value(value));
        }
        map
    }

    /// The lines but those that frame the message.
    pub(super) fn unframed(&self) -> &[u8] {
        let mut lines = Lines(&self.0);
        loop {
            let here = lines.0;
            // They are the first ones, if there are any.
            match lines.next() {
                Some((name, _)) if FRAMING.iter().any(|framing| framing == name) => {}
                _ => return here,
            }
        }
    }

    /// Bytes that it takes in memory beside itself.
    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }

    /// Shares the block: the one that it is a part of is a header's own, not a connection's buffer.
    fn value(&self, value: &[u8]) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.0.slice_ref(value))
            .unwrap_or(const { HeaderValue::from_static("") })
    }
}

impl From<&HeaderMap> for StoredHeader {
    fn from(map: &HeaderMap) -> Self {
        let len =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let mut lines = Vec::with_capacity(map.iter().map(len).sum());
        for name in &FRAMING {
            for value in map.get_all(name) {
                field(&mut lines, name, value);
            }
        }
        for (name, value) in map.iter().filter(|(name, _)| !FRAMING.contains(name)) {
            field(&mut lines, name, value);
        }
        Self(lines.into())
    }
}

impl From<HeaderMap> for StoredHeader {
    fn from(map: HeaderMap) -> Self {
        Self::from(&map)
    }
}

impl PartialEq for StoredHeader {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.len() == other.0.len() && self.to_map() == other.to_map())
    }
}

impl Eq for StoredHeader {}

impl fmt::Debug for StoredHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_map().fmt(f)
    }
}

/// The lines of a block that was written by [`field`]; those without a value have a name only.
#[derive(Clone)]
pub(super) struct Lines<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    /// No value has a line feed, and no name a colon.
    fn next(&mut self) -> Option<Self::Item> {
        let end = self.0.iter().position(|&byte| byte == b'\n')?;
        let (line, rest) = self.0.split_at(end + 1);
        self.0 = rest;
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], line.get(colon + 2..)),
            None => (line, None),
        };
        Some((std::str::from_utf8(name).unwrap_or_default(), value))
    }
}

/// Names in a block are in lower case.
fn is(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// The name of a field. Those that are no standard's own take an allocation, so the thread remembers the last ones.
fn named(name: &str) -> HeaderName {
    const SLOTS: usize = 128;
    thread_local! {
        static NAMES: RefCell<[Option<HeaderName>; SLOTS]> =
            const { RefCell::new([const { None }; SLOTS]) };
    }
    let hash = |hash: usize, byte: u8| (hash ^ usize::from(byte)).wrapping_mul(0x0100_0193);
    let slot = name.bytes().fold(0x811c_9dc5, hash) % SLOTS;
    NAMES.with_borrow_mut(|names| {
        if let Some(known) = names[slot].as_ref().filter(|known| known.as_str() == name) {
            return known.clone();
        }
        // What has been a name is one.
        let name = HeaderName::from_bytes(name.as_bytes())
            .unwrap_or(const { HeaderName::from_static("x-unknown") });
        names[slot] = Some(name.clone());
        name
    })
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, ETAG};
    use proptest::prelude::*;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn fields_are_found_where_they_lie() {
        let fields = [
            ("etag", "\"a\""),
            ("x-a", "1"),
            ("x-a", "2: 3"),
            ("x-none", ""),
        ];
        let header = StoredHeader::from(map(&fields));
        assert_eq!(header.get(ETAG).unwrap(), "\"a\"");
        assert_eq!(header.get("X-None").unwrap(), "");
        assert_eq!(header.get_all("x-a").collect::<Vec<_>>(), ["1", "2: 3"]);
        assert!(header.contains_key("x-a") && !header.contains_key(CONTENT_TYPE));
        assert_eq!((header.len(), header.is_empty()), (4, false));
        assert!(StoredHeader::from(HeaderMap::new()).is_empty());
    }

    #[test]
    fn what_frames_a_message_is_left_to_whoever_writes_it() {
        let fields = [
            ("etag", "1"),
            ("content-length", "7"),
            ("connection", "x"),
            ("date", "2"),
        ];
        let header = StoredHeader::from(map(&fields));
        assert_eq!(header.unframed(), b"etag: 1\r\ndate: 2\r\n");
        assert_eq!(header.to_map(), map(&fields));
        let framing = StoredHeader::from(map(&fields[1..3]));
        assert_eq!(framing.unframed(), b"");
    }

    #[test]
    fn order_counts_within_a_field_only() {
        let header = |fields: &[_]| StoredHeader::from(map(fields));
        let (a, b, c) = (("a", "1"), ("b", "2"), ("a", "3"));
        assert_eq!(header(&[a, b, c]), header(&[b, a, c]));
        assert_ne!(header(&[a, b, c]), header(&[c, b, a]));
        assert_ne!(header(&[a, b]), header(&[a, b, b]));
    }

    proptest! {
        #[test]
        fn a_map_comes_out_as_it_went_in(
            fields in prop::collection::vec(
                ("[a-zA-Z-]{1,8}", prop::collection::vec(any::<u8>(), 0..12)),
                0..20,
            ),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
                }
            }
            let header = StoredHeader::from(&map);
            prop_assert_eq!(header.len(), map.len());
            for (name, value) in &map {
                prop_assert!(header.get_all(name.as_str()).any(|other| other == value));
            }
            prop_assert_eq!(header.to_map(), map);
        }
    }
}
