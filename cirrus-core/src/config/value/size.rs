//! Amounts of bytes.

use std::fmt;
use std::str::FromStr;

use super::text::{InvalidValue, written_as_text};

/// An amount of bytes: `"512"`, `"64KiB"`, `"256MiB"`, `"1GiB"`; decimal units are `KB`, `MB`, `GB` and `TB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    bytes: u64,
}

/// Binary units, the largest first.
const BINARY: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const DECIMAL: [(&str, u64); 5] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];

written_as_text!(
    Size,
    title: "size",
    expected: "a size in quotes, for example \"256MiB\", \"64KiB\" or \"512\" (bytes)",
    pattern: "^[0-9]+(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$",
    example: "256MiB"
);

// === impl Size ===

impl Size {
    /// Bytes.
    #[must_use]
    pub const fn of(bytes: u64) -> Self {
        Self { bytes }
    }

    /// Times 1024 bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self {
            bytes: count.saturating_mul(1 << 10),
        }
    }

    /// Times 1024 KiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self {
            bytes: count.saturating_mul(1 << 20),
        }
    }

    /// The amount in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, unit): &&(&str, u64)| self.bytes > 0 && self.bytes.is_multiple_of(*unit);
        match BINARY.iter().find(whole) {
            Some((name, unit)) => write!(f, "{}{name}", self.bytes / unit),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl FromStr for Size {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = unit_bytes(unit)
            .filter(|_| digits > 0)
            .ok_or_else(malformed)?;
        // Only digits are there, so it can only be too large.
        let bytes = count
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(unit));
        bytes
            .map(Self::of)
            .ok_or_else(|| InvalidValue::new("too large: at most 16777215TiB is allowed"))
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    let mut units = BINARY.iter().chain(&DECIMAL);
    units
        .find(|(name, _)| *name == unit)
        .map(|(_, bytes)| *bytes)
}

fn malformed() -> InvalidValue {
    InvalidValue::new(
        "not a size: write a whole number and one of the units B, KiB, MiB, GiB, TiB, KB, MB, GB and TB \
         (none: bytes), for example \"256MiB\"",
    )
}
