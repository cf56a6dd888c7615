//! How often something may happen.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::{InvalidValue, written_as_text};

/// So many in a unit of time, written `"100/s"`, `"10/m"`, `"1000/h"` or `"5/d"`.
///
/// 1 to 1000000 in a second, minute, hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// The most that may be in one unit of time.
const MOST: u32 = 1_000_000;

const UNITS: [(&str, Unit); 4] = [
    ("s", Unit::Second),
    ("m", Unit::Minute),
    ("h", Unit::Hour),
    ("d", Unit::Day),
];

written_as_text!(
    Rate,
    title: "rate",
    expected: "a rate with its unit of time, for example \"100/s\", \"10/m\", \"1000/h\" or \"5/d\"",
    pattern: "^[1-9][0-9]{0,6}/(s|m|h|d)$",
    example: "100/s"
);

// === impl Rate ===

impl Rate {
    /// So many a second, at least 1 and at most 1000000.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self {
            count: count.clamp(1, MOST),
            unit: Unit::Second,
        }
    }

    /// How many in a [`period`](Self::period).
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// The unit of time.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs(match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
        })
    }

    /// What comes in one second, rounded up.
    #[must_use]
    pub fn in_a_second(self) -> u32 {
        u64::from(self.count)
            .div_ceil(self.period().as_secs())
            .max(1) as u32
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, unit)| *unit == self.unit);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

impl FromStr for Rate {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (count, unit) = text.split_once('/').ok_or_else(malformed)?;
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let &(_, unit) = known.ok_or_else(malformed)?;
        // Only digits are there, so it can only be too large.
        match count.parse().unwrap_or(u32::MAX) {
            0 => Err(InvalidValue::new(
                "0 is not allowed here: at least 1 in a unit of time is, for example \"1/d\"",
            )),
            count @ 1..=MOST => Ok(Self { count, unit }),
            _ => Err(InvalidValue::new(
                "too often: at most 1000000 in a unit of time is allowed",
            )),
        }
    }
}

fn malformed() -> InvalidValue {
    InvalidValue::new(
        "not a rate: write a whole number, a slash and one of the units s, m, h and d, \
         for example \"100/s\" or \"10/m\"",
    )
}
