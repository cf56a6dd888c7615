//! The cache on a disk.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Size;

/// A store on a disk, which outlives restarts. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DiskCacheConfig {
    /// The directory, which must be empty at first and for nothing else; no two processes can share it. Made if need
    /// be. Relative paths start at the configuration file.
    pub path: PathBuf,
    /// Bytes of the disk that may be used, metadata included; at least 64 MiB. Each object takes some 46 bytes of
    /// memory besides, and every 1/128 of the capacity (2 GiB at most) two open files.
    #[serde(default = "ten_gib")]
    pub capacity: Size,
    /// The largest body that is stored; larger ones pass through. By default an eighth of `capacity`;
    /// at most a quarter.
    pub max_object: Option<Size>,
    /// How often a response must have been fetched before it is written; 1 to 255. Counts are approximate and begin
    /// anew with the process.
    #[serde(default = "one")]
    pub min_uses: u8,
}

// === defaults ===

fn ten_gib() -> Size {
    Size::mib(10 << 10)
}

fn one() -> u8 {
    1
}
