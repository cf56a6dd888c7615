//! Bytes that go into Redis, and what is made of those that come out: anybody may have written them.

use std::time::Duration;

use cirrus_core::Timestamp;
use cirrus_core::cache::epochs::Era;
use cirrus_core::cache::{
    CacheKey, Freshness, Meta, Mode, Moment, ObjectId, Purge, Selection, Variant,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

/// The first byte of what is written. Another one is not read.
const VERSION: u8 = 1;

/// Everything about an object but its body.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: ObjectId,
    /// Under which incarnation of the store it was written.
    pub(super) incarnation: u64,
    pub(super) era: Era,
    /// The key in full, because its name in Redis is a hash only.
    pub(super) key: String,
    pub(super) meta: Meta,
    pub(super) trailers: HeaderMap,
    /// Of the body.
    pub(super) checksum: u64,
}

/// Not what this program writes.
#[derive(Debug, thiserror::Error)]
#[error("what Redis has is not readable")]
pub(super) struct Unreadable;

struct Writer(Vec<u8>);

struct Reader<'a>(&'a [u8]);

type Read<T> = Result<T, Unreadable>;

/// The checksum of a body.
pub(super) fn checksum(body: &[u8]) -> u64 {
    xxh3_64(body)
}

// === impl Record ===

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        out.number(self.id.0);
        out.number(self.incarnation);
        out.number(self.era.born());
        out.number(self.era.renewed());
        out.number(self.checksum);
        out.text(self.key.as_bytes());
        out.meta(&self.meta);
        out.headers(&self.trailers);
        out.sealed()
    }

    pub(super) fn decode(bytes: &[u8]) -> Read<Self> {
        let mut read = Reader::unsealed(bytes)?;
        let id = ObjectId(read.number()?);
        let incarnation = read.number()?;
        let (born, renewed) = (read.number()?, read.number()?);
        Ok(Self {
            id,
            incarnation,
            era: Era::restored(born, renewed),
            checksum: read.number()?,
            key: read.string()?.to_owned(),
            meta: read.meta()?,
            trailers: read.headers()?,
        })
    }
}

/// A purge with the time at which it was made.
pub(super) fn encode_purge(purge: &Purge, at: Timestamp) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    out.number(at.as_millis());
    out.0.push(u8::from(purge.mode == Mode::Soft));
    let (kind, parts): (u8, Vec<&str>) = match &purge.what {
        Selection::Url(key) => (1, vec![key.as_str()]),
        Selection::Prefix { host, path } => (2, vec![host, path]),
        Selection::Tag(tag) => (3, vec![tag]),
        Selection::Host(host) => (4, vec![host]),
        // A kind that is not known here: more is removed than was asked for, never less.
        _ => (0, Vec::new()),
    };
    out.0.push(kind);
    for part in parts {
        out.text(part.as_bytes());
    }
    out.sealed()
}

pub(super) fn decode_purge(bytes: &[u8]) -> Read<(Purge, Timestamp)> {
    let mut read = Reader::unsealed(bytes)?;
    let at = Timestamp::from_millis(read.number()?);
    let is_soft = read.byte()? == 1;
    let what = match read.byte()? {
        0 => Selection::All,
        1 => Selection::Url(read.key()?),
        2 => Selection::Prefix {
            host: read.string()?.into(),
            path: read.string()?.into(),
        },
        3 => Selection::Tag(read.string()?.into()),
        4 => Selection::Host(read.string()?.into()),
        _ => return Err(Unreadable),
    };
    let purge = if is_soft {
        Purge::soft(what)
    } else {
        Purge::hard(what)
    };
    Ok((purge, at))
}

/// What tells variants of one URL apart.
pub(super) fn encode_variant(variant: &Variant) -> Vec<u8> {
    let mut out = Writer(Vec::new());
    out.variant(variant);
    out.0
}

// === impl Writer ===

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn duration(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn headers(&mut self, headers: &HeaderMap) {
        self.number(headers.len() as u64);
        for (name, value) in headers {
            self.text(name.as_str().as_bytes());
            self.text(value.as_bytes());
        }
    }

    fn variant(&mut self, variant: &Variant) {
        self.number(variant.len() as u64);
        for (name, value) in variant.iter() {
            self.text(name.as_bytes());
            self.0.push(u8::from(value.is_some()));
            self.text(value.unwrap_or_default());
        }
    }

    fn meta(&mut self, meta: &Meta) {
        self.number(u64::from(meta.status.as_u16()));
        self.number(meta.headers.len() as u64);
        for (name, value) in meta.headers.iter() {
            self.text(name.as_bytes());
            self.text(value);
        }
        self.variant(&meta.vary);
        self.freshness(&meta.freshness());
        self.number(meta.tags.len() as u64);
        for tag in meta.tags.iter() {
            self.text(tag.as_bytes());
        }
        self.option(meta.length);
        self.option(meta.asked.map(|asked| asked.0));
    }

    fn option(&mut self, number: Option<u64>) {
        self.0.push(u8::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    fn freshness(&mut self, freshness: &Freshness) {
        self.number(freshness.received.as_millis());
        // To the nanosecond: what was stored is what is given back.
        self.number(u64::try_from(freshness.initial_age.as_nanos()).unwrap_or(u64::MAX));
        self.duration(freshness.lifetime);
        self.duration(freshness.while_revalidate);
        self.duration(freshness.if_error);
        self.0.push(u8::from(freshness.must_revalidate));
        self.0
            .push(u8::from(freshness.no_cache) | u8::from(freshness.expired) << 1);
    }

    fn sealed(mut self) -> Vec<u8> {
        self.number(xxh3_64(&self.0));
        self.0
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn unsealed(bytes: &'a [u8]) -> Read<Self> {
        let (bytes, seal) = bytes.split_last_chunk().ok_or(Unreadable)?;
        if xxh3_64(bytes) != u64::from_le_bytes(*seal) {
            return Err(Unreadable);
        }
        let mut read = Self(bytes);
        if read.byte()? != VERSION {
            return Err(Unreadable);
        }
        Ok(read)
    }

    fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.0.split_first().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Read<u64> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    /// A number of things that take `each` bytes at least: never more than there can be.
    fn count(&mut self, each: usize) -> Read<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| Unreadable)?;
        if count > self.0.len() / each {
            return Err(Unreadable);
        }
        Ok(count)
    }

    fn text(&mut self) -> Read<&'a [u8]> {
        let len = self.count(1)?;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(text)
    }

    fn string(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.text()?).map_err(|_| Unreadable)
    }

    fn duration(&mut self) -> Read<Duration> {
        Ok(Duration::from_millis(self.number()?))
    }

    fn option(&mut self) -> Read<Option<u64>> {
        let is_some = self.byte()? == 1;
        let number = self.number()?;
        Ok(is_some.then_some(number))
    }

    fn name(&mut self) -> Read<HeaderName> {
        HeaderName::from_bytes(self.text()?).map_err(|_| Unreadable)
    }

    fn value(&mut self) -> Read<HeaderValue> {
        HeaderValue::from_bytes(self.text()?).map_err(|_| Unreadable)
    }

    fn headers(&mut self) -> Read<HeaderMap> {
        let count = self.count(16)?;
        let mut headers = HeaderMap::try_with_capacity(count).map_err(|_| Unreadable)?;
        for _ in 0..count {
            let (name, value) = (self.name()?, self.value()?);
            headers.try_append(name, value).map_err(|_| Unreadable)?;
        }
        Ok(headers)
    }

    fn variant(&mut self) -> Read<Variant> {
        let count = self.count(17)?;
        let fields = (0..count).map(|_| {
            let name = self.name()?;
            let is_some = self.byte()? == 1;
            let value = self.value()?;
            Ok((name, is_some.then_some(value)))
        });
        fields.collect::<Read<Vec<_>>>().map(Variant::new)
    }

    fn meta(&mut self) -> Read<Meta> {
        let status = u16::try_from(self.number()?).map_err(|_| Unreadable)?;
        let status = StatusCode::from_u16(status).map_err(|_| Unreadable)?;
        let mut meta = Meta::new(status, self.headers()?);
        meta.vary = self.variant()?;
        meta.set_freshness(self.freshness()?);
        let tags = self.count(8)?;
        let tags = (0..tags).map(|_| self.string());
        meta.tags = tags.collect::<Read<_>>()?;
        meta.length = self.option()?;
        meta.asked = self.option()?.map(Moment);
        Ok(meta)
    }

    fn freshness(&mut self) -> Read<Freshness> {
        let mut freshness = Freshness::default();
        freshness.received = Timestamp::from_millis(self.number()?);
        freshness.initial_age = Duration::from_nanos(self.number()?);
        freshness.lifetime = self.duration()?;
        freshness.while_revalidate = self.duration()?;
        freshness.if_error = self.duration()?;
        freshness.must_revalidate = self.byte()? == 1;
        let flags = self.byte()?;
        freshness.no_cache = flags & 1 != 0;
        freshness.expired = flags & 2 != 0;
        Ok(freshness)
    }

    fn key(&mut self) -> Read<CacheKey> {
        CacheKey::from_text(self.string()?).ok_or(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use cirrus_core::cache::Scheme;
    use http::uri::PathAndQuery;

    use super::*;

    fn record() -> Record {
        let mut headers = HeaderMap::new();
        headers.append("etag", HeaderValue::from_static("\"1\""));
        headers.append("x-a", HeaderValue::from_bytes(b"\xff").unwrap());
        let mut meta = Meta::new(StatusCode::NOT_FOUND, headers.clone());
        meta.vary = Variant::new([
            (HeaderName::from_static("a"), None),
            (
                HeaderName::from_static("b"),
                Some(HeaderValue::from_static("")),
            ),
        ]);
        let mut freshness = Freshness::default();
        freshness.received = Timestamp::from_millis(1_234_567);
        freshness.initial_age = Duration::from_nanos(7_000_001);
        freshness.lifetime = Duration::from_millis(8);
        freshness.while_revalidate = Duration::from_millis(9);
        freshness.if_error = Duration::from_millis(10);
        freshness.no_cache = true;
        meta.set_freshness(freshness);
        meta.tags = ["one", "two"].iter().collect();
        meta.length = Some(5);
        Record {
            id: ObjectId(9),
            incarnation: 8,
            era: Era::restored(3, 4),
            key: "https://a.example/".into(),
            meta,
            trailers: headers,
            checksum: 7,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record();
        let read = Record::decode(&written.encode()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert_eq!(read.meta, written.meta);
    }

    #[test]
    fn every_bit_of_a_record_counts() {
        let bytes = record().encode();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(Record::decode(&wrong).is_err(), "byte {at}");
            assert!(Record::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_purge_is_read_as_it_was_written() {
        let key = CacheKey::new(
            Scheme::Http,
            "a.example:81",
            &PathAndQuery::from_static("/a?b"),
        );
        let selections = [
            Selection::Url(key),
            Selection::Prefix {
                host: "a".into(),
                path: "/b".into(),
            },
            Selection::Tag("t".into()),
            Selection::Host("a".into()),
            Selection::All,
        ];
        for what in selections {
            for purge in [Purge::hard(what.clone()), Purge::soft(what)] {
                let at = Timestamp::from_millis(77);
                let read = decode_purge(&encode_purge(&purge, at)).unwrap();
                assert_eq!(read, (purge, at));
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sealed_is_too_much(bytes: Vec<u8>) {
            let mut sealed = vec![VERSION];
            sealed.extend(bytes);
            let seal = xxh3_64(&sealed).to_le_bytes();
            sealed.extend(seal);
            let _ = Record::decode(&sealed);
            let _ = decode_purge(&sealed);
        }
    }
}
