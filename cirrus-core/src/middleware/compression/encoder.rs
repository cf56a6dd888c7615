//! The content codings, driven through one interface.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::config::{CompressionLevel, ContentCoding};

/// The largest window, as a power of two: 1 MiB. What an encoder keeps in memory grows with it, and it is well below
/// the 8 MiB that every client has to have for zstd (RFC 9659).
const MOST_WINDOW: u32 = 20;

/// The smallest window that all codings know.
const LEAST_WINDOW: u32 = 10;

/// Brotli copies its output in pieces of this size.
const BROTLI_BUFFER: usize = 4096;

/// Compresses what is written to it; the output is fetched with [`take`](Self::take).
pub(super) struct Encoder(Kind);

enum Kind {
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

// === impl Encoder ===

impl Encoder {
    /// For a body of this length, if it is known: a short one needs less memory.
    pub(super) fn new(
        coding: ContentCoding,
        level: CompressionLevel,
        length: Option<u64>,
    ) -> io::Result<Self> {
        let window = window(length);
        let kind = match coding {
            ContentCoding::Zstd => {
                let mut zstd = ZstdEncoder::new(Vec::new(), zstd_level(level))?;
                zstd.window_log(window)?;
                Kind::Zstd(zstd)
            }
            ContentCoding::Br => Kind::Br(Box::new(brotli(level, window, length))),
            ContentCoding::Gzip => Kind::Gzip(GzEncoder::new(Vec::new(), gzip_level(level))),
        };
        Ok(Self(kind))
    }

    pub(super) fn write(&mut self, input: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Zstd(encoder) => encoder.write_all(input),
            Kind::Br(encoder) => encoder.write_all(input),
            Kind::Gzip(encoder) => encoder.write_all(input),
        }
    }

    /// Everything written so far can be decoded from the output so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Zstd(encoder) => encoder.flush(),
            Kind::Br(encoder) => encoder.flush(),
            Kind::Gzip(encoder) => encoder.flush(),
        }
    }

    /// How much output there is.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Kind::Zstd(encoder) => encoder.get_ref().len(),
            Kind::Br(encoder) => encoder.get_ref().len(),
            Kind::Gzip(encoder) => encoder.get_ref().len(),
        }
    }

    /// The output so far.
    pub(super) fn take(&mut self) -> Bytes {
        packed(std::mem::take(match &mut self.0 {
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Br(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
        }))
    }

    /// The rest of the output.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let rest = match self.0 {
            Kind::Zstd(encoder) => encoder.finish()?,
            Kind::Br(encoder) => encoder.into_inner(),
            Kind::Gzip(encoder) => encoder.finish()?,
        };
        Ok(packed(rest))
    }
}

/// Without the room it did not use: a store keeps it for long.
fn packed(output: Vec<u8>) -> Bytes {
    output.into_boxed_slice().into()
}

/// As large as the body, within reason.
fn window(length: Option<u64>) -> u32 {
    let needed = length.map_or(MOST_WINDOW, |length| length.max(1).ilog2() + 1);
    needed.clamp(LEAST_WINDOW, MOST_WINDOW)
}

fn zstd_level(level: CompressionLevel) -> i32 {
    match level {
        CompressionLevel::Fast => 1,
        CompressionLevel::Balanced => 3,
        CompressionLevel::Small => 7,
    }
}

fn gzip_level(level: CompressionLevel) -> Compression {
    Compression::new(match level {
        CompressionLevel::Fast => 1,
        CompressionLevel::Balanced => 6,
        CompressionLevel::Small => 9,
    })
}

fn brotli(level: CompressionLevel, window: u32, length: Option<u64>) -> CompressorWriter<Vec<u8>> {
    let params = BrotliEncoderParams {
        quality: match level {
            CompressionLevel::Fast => 1,
            CompressionLevel::Balanced => 4,
            CompressionLevel::Small => 7,
        },
        lgwin: i32::try_from(window).unwrap_or_default(),
        size_hint: length
            .and_then(|length| length.try_into().ok())
            .unwrap_or(0),
        ..BrotliEncoderParams::default()
    };
    CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params)
}
