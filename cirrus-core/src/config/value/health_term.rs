//! What an endpoint's health may depend on.

use std::fmt;
use std::str::FromStr;

use super::Period;
use super::text::{InvalidValue, written_as_text};

/// The name of a check, or an indicator below a bound: `"error_rate < 5%"`, `"p99 < 300ms"`, `"in_flight < 100"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthTerm {
    /// This check says that the endpoint is up.
    Check(String),
    /// Fewer answers than this share, in percent, are failures.
    ErrorRate(u8),
    /// This share of the answers, in percent, came sooner than that.
    Latency(u8, Period),
    /// Fewer requests than this wait for their answers.
    InFlight(u32),
}

/// The percentiles that are known.
const PERCENTILES: [u8; 4] = [50, 90, 95, 99];

written_as_text!(
    HealthTerm,
    title: "health term",
    expected: "the name of a check, or an indicator such as \"error_rate < 5%\", \"p99 < 300ms\" or \"in_flight < 100\"",
    pattern: "^([A-Za-z0-9_-]+|error_rate *< *[0-9]+%|p(50|90|95|99) *< *[0-9a-z]+|in_flight *< *[0-9]+)$",
    example: "p99 < 300ms"
);

// === impl HealthTerm ===

impl HealthTerm {
    /// Whether it needs to be counted what endpoints answer.
    #[must_use]
    pub fn is_indicator(&self) -> bool {
        !matches!(self, Self::Check(_))
    }
}

impl fmt::Display for HealthTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(name) => f.write_str(name),
            Self::ErrorRate(percent) => write!(f, "error_rate < {percent}%"),
            Self::Latency(percentile, period) => write!(f, "p{percentile} < {period}"),
            Self::InFlight(requests) => write!(f, "in_flight < {requests}"),
        }
    }
}

impl FromStr for HealthTerm {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once('<') {
            Some((indicator, bound)) => below(indicator.trim(), bound.trim()),
            None if is_name(text) => Ok(Self::Check(text.to_owned())),
            None => Err(neither()),
        }
    }
}

fn below(indicator: &str, bound: &str) -> Result<HealthTerm, InvalidValue> {
    match indicator {
        "error_rate" => {
            let percent = bound
                .strip_suffix('%')
                .and_then(|number| number.parse().ok());
            percent
                .filter(|percent| (1..=100).contains(percent))
                .map(HealthTerm::ErrorRate)
                .ok_or_else(|| {
                    InvalidValue::new("a rate is 1% to 100%, such as \"error_rate < 5%\"")
                })
        }
        "in_flight" => {
            let requests = bound.parse().ok().filter(|requests| *requests > 0);
            requests.map(HealthTerm::InFlight).ok_or_else(|| {
                InvalidValue::new("a whole number above 0, such as \"in_flight < 100\"")
            })
        }
        _ => {
            let percentile = indicator
                .strip_prefix('p')
                .and_then(|number| number.parse().ok());
            let percentile = percentile.filter(|number| PERCENTILES.contains(number));
            let percentile = percentile.ok_or_else(neither)?;
            let period: Period = bound.parse()?;
            if period.is_zero() {
                return Err(InvalidValue::new("nothing takes less than no time"));
            }
            Ok(HealthTerm::Latency(percentile, period))
        }
    }
}

/// What a check may be called, so that no name reads as an indicator.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(allowed)
}

fn neither() -> InvalidValue {
    InvalidValue::new(
        "neither the name of a check (letters, digits, `-`, `_`) nor an indicator: there are `error_rate < 5%`, \
         `p50`, `p90`, `p95`, `p99 < 300ms` and `in_flight < 100`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_indicators() {
        for (text, term) in [
            ("http", HealthTerm::Check("http".into())),
            ("error_rate < 5%", HealthTerm::ErrorRate(5)),
            ("error_rate<100%", HealthTerm::ErrorRate(100)),
            ("p99 < 300ms", HealthTerm::Latency(99, Period::millis(300))),
            ("in_flight < 7", HealthTerm::InFlight(7)),
        ] {
            assert_eq!(text.parse(), Ok(term), "{text}");
        }
        for text in [
            "",
            "a b",
            "error_rate < 0%",
            "error_rate < 5",
            "p98 < 1s",
            "p99 < 0s",
            "p99 < 5",
            "in_flight < 0",
            "load < 5",
            "error_rate > 5%",
            "<",
        ] {
            assert!(text.parse::<HealthTerm>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_the_same_written_back(text in ".{0,24}|(error_rate|p[0-9]{2}|in_flight) ?< ?[0-9]{1,4}(%|ms|s)?") {
            if let Ok(term) = text.parse::<HealthTerm>() {
                prop_assert_eq!(term.to_string().parse(), Ok(term));
            }
        }
    }
}
