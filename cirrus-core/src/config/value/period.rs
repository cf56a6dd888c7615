//! Lengths of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::{InvalidValue, written_as_text};

/// A length of time, written with units: `"30s"`, `"500ms"`, `"1m30s"`, `"2h"`, `"1d"`.
///
/// Whole milliseconds, at most 36500 days: every such period can be added to the present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    millis: u64,
}

/// From the largest to the smallest, which is also the order in which they are written.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];
const LONGEST: u64 = 36_500 * 86_400_000;

written_as_text!(
    Period,
    title: "duration",
    expected: "a duration with its unit, for example \"30s\", \"500ms\" or \"1m30s\"",
    pattern: "^([0-9]+(ms|s|m|h|d))+$",
    example: "30s"
);

// === impl Period ===

impl Period {
    /// Whole seconds, capped at 36500 days.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self::millis(secs.saturating_mul(1000))
    }

    /// Milliseconds, capped at 36500 days.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self {
            millis: if millis < LONGEST { millis } else { LONGEST },
        }
    }

    /// For the clock.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// No time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.as_duration()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.millis;
        for (unit, length) in UNITS {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl FromStr for Period {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut units = UNITS.into_iter();
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() || total == 0 && rest.len() == text.len() {
            let (count, unit, after) = next_part(rest).ok_or_else(|| malformed(text))?;
            // Each unit once, the larger before the smaller: what is left of `units` is what may still come.
            let (_, length) = units
                .find(|(name, _)| *name == unit)
                .ok_or_else(|| malformed(text))?;
            let part = count.checked_mul(length).ok_or_else(too_long)?;
            total = total
                .checked_add(part)
                .filter(|total| *total <= LONGEST)
                .ok_or_else(too_long)?;
            rest = after;
        }
        Ok(Self { millis: total })
    }
}

/// Splits `30s…` into its number, its unit and the rest.
fn next_part(text: &str) -> Option<(u64, &str, &str)> {
    let (digits, rest) = split_after(text, |c| c.is_ascii_digit());
    let (unit, rest) = split_after(rest, |c| !c.is_ascii_digit());
    if digits.is_empty() || unit.is_empty() {
        return None;
    }
    // Only digits are left, so it can only be too large.
    Some((digits.parse().unwrap_or(u64::MAX), unit, rest))
}

fn split_after(text: &str, mut belongs: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn malformed(text: &str) -> InvalidValue {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return InvalidValue::new(format!(
            "write a unit, for example \"{text}s\"; allowed: d, h, m, s and ms"
        ));
    }
    InvalidValue::new(
        "not a duration: write whole numbers with the units d, h, m, s and ms, \
         each once and the larger first, for example \"30s\", \"500ms\" or \"1m30s\"",
    )
}

fn too_long() -> InvalidValue {
    InvalidValue::new("too long: at most \"36500d\" is allowed")
}
