//! Limits that can be lifted.

use std::fmt;
use std::str::FromStr;

use super::period::Period;
use super::size::Size;
use super::text::{InvalidValue, written_as_text};

/// The most bytes there may be, written as a size; `"none"` for any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeBound(pub Option<Size>);

/// The longest time something may take, written as a duration; `"none"` for any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodBound(pub Option<Period>);

written_as_text!(
    SizeBound,
    title: "size or none",
    expected: "a size in quotes, for example \"10MiB\", or \"none\"",
    pattern: "^(none|[0-9]+(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?)$",
    example: "10MiB"
);

written_as_text!(
    PeriodBound,
    title: "duration or none",
    expected: "a duration with its unit, for example \"30s\", or \"none\"",
    pattern: "^(none|([0-9]+(ms|s|m|h|d))+)$",
    example: "30s"
);

const NONE: &str = "none";

fn write(bound: Option<impl fmt::Display>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bound {
        Some(bound) => bound.fmt(f),
        None => f.write_str(NONE),
    }
}

fn read<T: FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    if text == NONE {
        return Ok(None);
    }
    text.parse().map(Some)
}

impl fmt::Display for SizeBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

impl fmt::Display for PeriodBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

impl FromStr for SizeBound {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        read(text).map(Self)
    }
}

impl FromStr for PeriodBound {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        read(text).map(Self)
    }
}
