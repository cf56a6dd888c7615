//! What the fuzz targets of `fuzz/` run, one function a parser. Compiled with `--cfg fuzzing` only, and no part of the
//! interface.
//!
//! Each takes any bytes, and panics if what a parser promises does not hold. Those of parsers that nothing else may see
//! stand beside them, as their tests do.

mod body;
mod config;
mod names;

pub use crate::cache::fuzz::{cache_control, dates, ranges, vary};
pub use crate::downstream::fuzz::{client_hello, h2_frames, proxy_protocol, request_head};
pub use crate::middleware::fuzz::{
    accept_encoding, credentials, forwarded, jwks, jwt, key_files, traceparent,
};
pub use crate::upstream::fuzz::response_head;
pub use body::request_body;
pub use config::config;
pub use names::{host, path, routes};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Sizes of the pieces that bytes come in, besides all at once.
pub(crate) const PIECES: [usize; 4] = [1, 2, 5, 61];

/// A field with a value for each line of `bytes`; lines that can be none are left out.
pub(crate) fn lines(name: &HeaderName, bytes: &[u8]) -> HeaderMap {
    let values = bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}
