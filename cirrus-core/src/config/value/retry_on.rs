//! What is tried again, and when a second try begins.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;

use super::period::Period;
use super::status_set::StatusSet;
use super::text::{InvalidValue, written_as_text};

/// What a request is tried again after: `"connect"`, `"reset"`, `"timeout"`, or a status such as `"503"` or `"5xx"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryOn {
    /// No endpoint could be reached: nothing was sent.
    Connect,
    /// The connection broke before the response's header.
    Reset,
    /// No response in time.
    Timeout,
    /// A response of this status.
    Status(StatusSet),
}

/// When a second endpoint is asked beside the first: a time, or a percentile of late, `"p50"` to `"p99"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HedgeAfter {
    /// After this time.
    Time(Period),
    /// Once it has taken longer than so many percent of the cluster's last responses.
    Percentile(u8),
}

written_as_text!(
    RetryOn,
    title: "retry reason",
    expected: "a reason to try again: \"connect\", \"reset\", \"timeout\", or a status such as \"503\" or \"5xx\"",
    pattern: "^(connect|reset|timeout|[45]xx|[45][0-9][0-9])$",
    example: "connect"
);

written_as_text!(
    HedgeAfter,
    title: "time of a second try",
    expected: "a time such as \"50ms\", or a percentile, \"p50\" to \"p99\"",
    pattern: "^(p[5-9][0-9]|[0-9]+(ms|s|m|h|d))$",
    example: "p95"
);

// === impl RetryOn ===

impl RetryOn {
    /// Whether a response of this status is a reason.
    #[must_use]
    pub fn is_status(self, status: StatusCode) -> bool {
        matches!(self, Self::Status(set) if set.contains(status))
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(set) => set.fmt(f),
        }
    }
}

impl FromStr for RetryOn {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "connect" => Ok(Self::Connect),
            "reset" => Ok(Self::Reset),
            "timeout" => Ok(Self::Timeout),
            _ => match text.parse() {
                Ok(set @ (StatusSet::One(400..) | StatusSet::Class(4..))) => Ok(Self::Status(set)),
                _ => Err(InvalidValue::new(
                    "not a reason: \"connect\", \"reset\", \"timeout\", `400` to `599`, `4xx` and \
                     `5xx` are allowed",
                )),
            },
        }
    }
}

// === impl HedgeAfter ===

impl fmt::Display for HedgeAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

impl FromStr for HedgeAfter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let Some(percent) = text.strip_prefix('p') else {
            return text.parse().map(Self::Time);
        };
        let percent = percent.parse().ok().filter(|one| (50..=99).contains(one));
        percent
            .map(Self::Percentile)
            .ok_or_else(|| InvalidValue::new("not a percentile: \"p50\" to \"p99\" are allowed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_as_they_are_written() {
        for text in ["connect", "reset", "timeout", "503", "5xx", "429"] {
            assert_eq!(text.parse::<RetryOn>().unwrap().to_string(), text);
        }
        for text in ["", "200", "2xx", "600", "refused"] {
            assert!(text.parse::<RetryOn>().is_err(), "{text}");
        }
        for text in ["p95", "50ms", "p50"] {
            assert_eq!(text.parse::<HedgeAfter>().unwrap().to_string(), text);
        }
        for text in ["", "p", "p100", "p49", "p95.5", "95"] {
            assert!(text.parse::<HedgeAfter>().is_err(), "{text}");
        }
    }
}
