//! Records as bytes.

use std::time::Duration;

use cirrus_core::Timestamp;
use cirrus_core::cache::epochs::Recorded;
use cirrus_core::cache::{CacheKey, Freshness, Meta, Mode, Moment, Purge, Selection, Variant};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Reads what [`Writer`] has written; `None` is what it cannot have written.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// Writes numbers and texts one behind the other.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

// === impl Writer ===

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Lengths beyond 4 GiB do not occur: a record that long is refused as a whole.
    pub(super) fn len(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn duration(&mut self, duration: Duration) {
        self.u64(duration.as_secs());
        self.u32(duration.subsec_nanos());
    }

    fn option(&mut self, value: Option<u64>) {
        self.u8(u8::from(value.is_some()));
        self.u64(value.unwrap_or_default());
    }

    pub(super) fn headers(&mut self, headers: &HeaderMap) {
        self.len(headers.len());
        for (name, value) in headers {
            self.bytes(name.as_str().as_bytes());
            self.bytes(value.as_bytes());
        }
    }

    pub(super) fn variant(&mut self, variant: &Variant) {
        self.len(variant.len());
        for (name, value) in variant.iter() {
            self.bytes(name.as_bytes());
            self.u8(u8::from(value.is_some()));
            self.bytes(value.unwrap_or_default());
        }
    }

    fn freshness(&mut self, freshness: &Freshness) {
        self.u64(freshness.received.as_millis());
        for duration in [
            freshness.initial_age,
            freshness.lifetime,
            freshness.while_revalidate,
            freshness.if_error,
        ] {
            self.duration(duration);
        }
        self.u8(u8::from(freshness.must_revalidate)
            | u8::from(freshness.no_cache) << 1
            | u8::from(freshness.expired) << 2);
    }

    pub(super) fn meta(&mut self, meta: &Meta) {
        self.u32(u32::from(meta.status.as_u16()));
        self.len(meta.headers.len());
        for (name, value) in meta.headers.iter() {
            self.bytes(name.as_bytes());
            self.bytes(value);
        }
        self.variant(&meta.vary);
        self.freshness(&meta.freshness());
        self.len(meta.tags.len());
        for tag in meta.tags.iter() {
            self.bytes(tag.as_bytes());
        }
        self.option(meta.length);
        self.option(meta.asked.map(|moment| moment.0));
    }

    pub(super) fn key(&mut self, key: &CacheKey) {
        self.bytes(key.as_str().as_bytes());
    }

    pub(super) fn purge(&mut self, recorded: &Recorded) {
        self.u64(recorded.moment.0);
        self.u64(recorded.at.as_millis());
        self.u8(u8::from(recorded.purge.mode == Mode::Soft));
        match &recorded.purge.what {
            Selection::Url(key) => {
                self.u8(0);
                self.key(key);
            }
            Selection::Prefix { host, path } => {
                self.u8(1);
                self.bytes(host.as_bytes());
                self.bytes(path.as_bytes());
            }
            Selection::Tag(tag) => {
                self.u8(2);
                self.bytes(tag.as_bytes());
            }
            Selection::Host(host) => {
                self.u8(3);
                self.bytes(host.as_bytes());
            }
            // What is not known here removes everything rather than nothing.
            _ => self.u8(4),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// How many things follow, of so many bytes each at least.
    pub(super) fn count(&mut self, each: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count.checked_mul(each)? <= self.0.len()).then_some(count)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.count(1)?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn duration(&mut self) -> Option<Duration> {
        let secs = self.u64()?;
        let nanos = self.u32()?;
        (nanos < 1_000_000_000).then(|| Duration::new(secs, nanos))
    }

    fn option(&mut self) -> Option<Option<u64>> {
        let given = self.u8()? != 0;
        let value = self.u64()?;
        Some(given.then_some(value))
    }

    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.bytes()?).ok()
    }

    fn value(&mut self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.bytes()?).ok()
    }

    pub(super) fn headers(&mut self) -> Option<HeaderMap> {
        let count = self.count(8)?;
        let mut headers = HeaderMap::with_capacity(count);
        for _ in 0..count {
            headers.try_append(self.name()?, self.value()?).ok()?;
        }
        Some(headers)
    }

    fn variant(&mut self) -> Option<Variant> {
        let fields = (0..self.count(9)?).map(|_| {
            let name = self.name()?;
            let given = self.u8()? != 0;
            let value = self.value()?;
            Some((name, given.then_some(value)))
        });
        fields.collect::<Option<Vec<_>>>().map(Variant::new)
    }

    fn freshness(&mut self) -> Option<Freshness> {
        let mut freshness = Freshness::default();
        freshness.received = Timestamp::from_millis(self.u64()?);
        freshness.initial_age = self.duration()?;
        freshness.lifetime = self.duration()?;
        freshness.while_revalidate = self.duration()?;
        freshness.if_error = self.duration()?;
        let flags = self.u8()?;
        freshness.must_revalidate = flags & 1 != 0;
        freshness.no_cache = flags & 2 != 0;
        freshness.expired = flags & 4 != 0;
        Some(freshness)
    }

    pub(super) fn meta(&mut self) -> Option<Meta> {
        let status = StatusCode::from_u16(u16::try_from(self.u32()?).ok()?).ok()?;
        let headers = self.headers()?;
        let vary = self.variant()?;
        let freshness = self.freshness()?;
        let tags: Option<Vec<_>> = (0..self.count(4)?).map(|_| self.text()).collect();
        let length = self.option()?;
        let asked = self.option()?.map(Moment);
        let meta = Meta::new(status, headers)
            .with_vary(vary)
            .with_freshness(freshness)
            .with_tags(tags?)
            .with_length(length);
        Some(match asked {
            Some(asked) => meta.with_asked(asked),
            None => meta,
        })
    }

    /// Whether this very key follows.
    pub(super) fn is_key(&mut self, key: &CacheKey) -> Option<bool> {
        Some(self.bytes()? == key.as_str().as_bytes())
    }

    fn key(&mut self) -> Option<CacheKey> {
        CacheKey::from_text(self.text()?)
    }

    pub(super) fn purge(&mut self) -> Option<Recorded> {
        let moment = Moment(self.u64()?);
        let at = Timestamp::from_millis(self.u64()?);
        let soft = self.u8()? != 0;
        let what = match self.u8()? {
            0 => Selection::Url(self.key()?),
            1 => Selection::Prefix {
                host: self.text()?.into(),
                path: self.text()?.into(),
            },
            2 => Selection::Tag(self.text()?.into()),
            3 => Selection::Host(self.text()?.into()),
            4 => Selection::All,
            _ => return None,
        };
        let purge = if soft {
            Purge::soft(what)
        } else {
            Purge::hard(what)
        };
        Some(Recorded { purge, moment, at })
    }
}
