//! What is kept of an object beside its bytes.

use std::sync::Arc;

use cirrus_core::Timestamp;
use cirrus_core::cache::epochs::Era;
use cirrus_core::cache::{CacheKey, Meta, ObjectId, Variant};
use http::HeaderMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::codec::{Reader, Writer};
use super::intact::Intact;

/// A body is checked, read and written in blocks of this size: 128 KiB.
pub(super) const BLOCK: u64 = 128 * 1024;

/// One object on the disk.
pub(super) struct Record {
    pub(super) key: CacheKey,
    pub(super) era: Era,
    pub(super) meta: Arc<Meta>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) layout: Layout,
    pub(super) intact: Intact,
}

/// Where a body is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The object's, which the checksums depend on.
    pub(super) id: u64,
    pub(super) len: u64,
    /// In the body's order. Only the last one may have another length than a multiple of [`BLOCK`].
    pub(super) extents: Vec<Extent>,
    /// One for each block.
    pub(super) checks: Vec<u64>,
}

/// A part of a body: so many bytes in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) segment: u32,
    pub(super) at: u64,
    pub(super) len: u64,
}

/// One block of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which extent it is in.
    pub(super) extent: usize,
    pub(super) at: u64,
    pub(super) len: usize,
    pub(super) seed: u64,
    pub(super) check: u64,
}

/// What the index needs to know of a record: its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: u64,
    pub(super) born: u64,
    pub(super) renewed: u64,
    /// Of the key.
    pub(super) hash: u64,
    /// Of [`Meta::vary`].
    pub(super) variant: u32,
    /// The last purge that was in the log of purges when this was written.
    pub(super) purged: u64,
}

/// Of a key, in the index of the store with this seed.
pub(super) fn hash_key(seed: u64, key: &CacheKey) -> u64 {
    xxh3_64_with_seed(key.as_str().as_bytes(), seed)
}

/// Of a variant, for the index.
pub(super) fn hash_variant(variant: &Variant) -> u32 {
    let mut bytes = Writer::default();
    bytes.variant(variant);
    u32::try_from(xxh3_64(&bytes.0) >> 32).unwrap_or_default()
}

// === impl Record ===

impl Record {
    pub(super) fn id(&self) -> ObjectId {
        ObjectId(self.layout.id)
    }

    /// As it is written; `hash` is the key's, `purged` the last purge in the log.
    pub(super) fn encode(&self, hash: u64, purged: u64) -> Vec<u8> {
        let mut out = Writer::default();
        let head = Head {
            id: self.layout.id,
            born: self.era.born(),
            renewed: self.era.renewed(),
            hash,
            variant: hash_variant(&self.meta.vary),
            purged,
        };
        head.encode(&mut out);
        out.key(&self.key);
        out.meta(&self.meta);
        out.u8(u8::from(self.trailers.is_some()));
        out.headers(self.trailers.as_ref().unwrap_or(&HeaderMap::new()));
        self.layout.encode(&mut out);
        out.0
    }

    /// `Some(None)` if it is another key's, `None` if it is no record.
    pub(super) fn decode(payload: &[u8], key: &CacheKey) -> Option<Option<Self>> {
        let mut from = Reader(payload);
        let head = Head::decode(&mut from)?;
        if !from.is_key(key)? {
            return Some(None);
        }
        let meta = from.meta()?;
        let has_trailers = from.u8()? != 0;
        let trailers = from.headers()?;
        let layout = Layout::decode(&mut from, head.id)?;
        Some(Some(Self {
            key: key.clone(),
            era: Era::restored(head.born, head.renewed),
            meta: Arc::new(meta),
            trailers: has_trailers.then_some(trailers),
            intact: Intact::of(layout.checks.len()),
            layout,
        }))
    }

    /// As it is after a soft purge at `at`.
    pub(super) fn expired(&self, at: Timestamp) -> Arc<Meta> {
        let mut meta = Meta::clone(&self.meta);
        meta.set_freshness(meta.freshness().expired(at));
        Arc::new(meta)
    }

    /// About how many bytes it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let layout = self.layout.extents.len() * size_of::<Extent>() + self.layout.checks.len() * 8;
        size_of::<Self>() + self.key.weight() + self.meta.weight() + layout + 64
    }
}

// === impl Head ===

impl Head {
    fn encode(&self, out: &mut Writer) {
        for number in [self.id, self.born, self.renewed, self.hash, self.purged] {
            out.u64(number);
        }
        out.u32(self.variant);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            id: from.u64()?,
            born: from.u64()?,
            renewed: from.u64()?,
            hash: from.u64()?,
            purged: from.u64()?,
            variant: from.u32()?,
        })
    }
}

// === impl Layout ===

impl Layout {
    pub(super) fn of(id: u64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn encode(&self, out: &mut Writer) {
        out.u64(self.len);
        out.len(self.extents.len());
        for extent in &self.extents {
            out.u32(extent.segment);
            out.u64(extent.at);
            out.u64(extent.len);
        }
        out.len(self.checks.len());
        self.checks.iter().for_each(|check| out.u64(*check));
    }

    fn decode(from: &mut Reader<'_>, id: u64) -> Option<Self> {
        let len = from.u64()?;
        let extents = (0..from.count(20)?).map(|_| {
            Some(Extent {
                segment: from.u32()?,
                at: from.u64()?,
                len: from.u64()?,
            })
        });
        let extents = extents.collect::<Option<Vec<_>>>()?;
        let checks: Option<Vec<_>> = (0..from.count(8)?).map(|_| from.u64()).collect();
        let layout = Self {
            id,
            len,
            extents,
            checks: checks?,
        };
        layout.is_sound().then_some(layout)
    }

    fn is_sound(&self) -> bool {
        let blocks = self.checks.len() as u64;
        let lens = self.extents.iter().map(|extent| extent.len);
        let total = lens.clone().try_fold(0_u64, u64::checked_add);
        total == Some(self.len) && self.len.div_ceil(BLOCK) == blocks
    }

    /// Appends `len` bytes. Their place may continue that of those before.
    pub(super) fn append(&mut self, segment: u32, at: u64, len: u64, checks: &[u64]) {
        self.len += len;
        self.checks.extend_from_slice(checks);
        match self.extents.last_mut() {
            Some(last) if last.segment == segment && last.at + last.len == at => last.len += len,
            _ => self.extents.push(Extent { segment, at, len }),
        }
    }

    /// The block that byte `at` of the body is in.
    pub(super) fn piece(&self, at: u64) -> Option<Piece> {
        let block = at / BLOCK;
        let check = *self.checks.get(usize::try_from(block).ok()?)?;
        let (mut start, first) = (0, block * BLOCK);
        for (n, extent) in self.extents.iter().enumerate() {
            if first < start + extent.len {
                let within = first.checked_sub(start)?;
                return Some(Piece {
                    extent: n,
                    at: extent.at + within,
                    len: usize::try_from((extent.len - within).min(BLOCK)).ok()?,
                    seed: seed(self.id, block),
                    check,
                });
            }
            start += extent.len;
        }
        None
    }

    /// The checksums of blocks from number `first` on.
    pub(super) fn checks_of(id: u64, first: u64, bytes: &[u8]) -> Vec<u64> {
        let blocks = bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX));
        blocks
            .zip(first..)
            .map(|(block, n)| xxh3_64_with_seed(block, seed(id, n)))
            .collect()
    }
}

/// A block of another object, or from elsewhere in this one, is not the one that is looked for.
fn seed(id: u64, block: u64) -> u64 {
    id.rotate_left(40) ^ block
}

// === impl Piece ===

impl Piece {
    pub(super) fn is_intact(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len && xxh3_64_with_seed(bytes, self.seed) == self.check
    }
}
