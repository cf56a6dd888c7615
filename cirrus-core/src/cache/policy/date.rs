//! Dates as messages write them (RFC 9110 §5.6.7).

use http::HeaderValue;

use crate::clock::Timestamp;

/// A year of two digits lies no further ahead than this.
const AHEAD: u64 = 50 * 31_557_600;

/// A date in any of the three formats. A year of two digits is one of 1970 to 2069; where it may be another one, use
/// [`parse_date_at`].
pub(in crate::cache) fn parse_date(value: &HeaderValue) -> Option<Timestamp> {
    parse(value.to_str().ok()?)
}

/// A date that was received at this time: a year of two digits is the latest that is not more than 50 years ahead.
pub(super) fn parse_date_at(value: &HeaderValue, now: Timestamp) -> Option<Timestamp> {
    let text = value.to_str().ok()?;
    let Some((day, date, time)) = short_year(text) else {
        return parse(text);
    };
    let (date, year) = (date[..6].replace('-', " "), &date[7..]);
    let century = now.to_string().get(12..14)?.parse::<u32>().ok()?;
    let mut centuries = [century + 1, century, century.checked_sub(1)?].into_iter();
    let latest = now.as_secs() + AHEAD;
    centuries.find_map(|century| {
        let text = format!("{day}, {date} {century}{year} {time}");
        parse(&text).filter(|date| date.as_secs() <= latest)
    })
}

fn parse(text: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(text).ok().map(Timestamp::from)
}

/// `Sun`, `06-Nov-94` and `08:49:37 GMT` of `Sunday, 06-Nov-94 08:49:37 GMT`.
fn short_year(text: &str) -> Option<(&str, &str, &str)> {
    let (day, rest) = text.split_once("day, ")?;
    let (date, time) = rest.split_once(' ')?;
    let is_short = date.is_ascii() && date.len() == 9 && date.as_bytes()[6] == b'-';
    is_short.then_some((day.get(..3)?, date, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, now: &'static str) -> Option<String> {
        let now = parse(now).unwrap();
        let value = HeaderValue::from_str(text).unwrap();
        parse_date_at(&value, now).map(|date| date.to_string())
    }

    #[test]
    fn rfc_9110_section_5_6_7_three_formats() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let date = at(text, "Fri, 20 Nov 2026 12:00:00 GMT");
            assert_eq!(
                date.as_deref(),
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                "{text}"
            );
        }
    }

    #[test]
    fn rfc_9110_section_5_6_7_a_short_year_is_at_most_50_years_ahead() {
        let now = "Fri, 20 Nov 2026 12:00:00 GMT";
        let later = "Tue, 20 Nov 2085 12:00:00 GMT";
        for (short, now, year) in [
            ("Friday, 20-Nov-26 12:00:00 GMT", now, "2026"),
            ("Wednesday, 20-Nov-69 12:00:00 GMT", now, "2069"),
            ("Wednesday, 20-Nov-75 12:00:00 GMT", now, "2075"),
            ("Sunday, 20-Nov-77 12:00:00 GMT", now, "1977"),
            ("Sunday, 20-Nov-94 12:00:00 GMT", now, "1994"),
            ("Thursday, 20-Nov-10 12:00:00 GMT", later, "2110"),
            ("Tuesday, 20-Nov-40 12:00:00 GMT", later, "2040"),
        ] {
            let date = at(short, now).unwrap_or_default();
            assert_eq!(date.get(12..16), Some(year), "{short} at {now}");
        }
        let wrong_day = "Friday, 20-Nov-75 12:00:00 GMT";
        assert_eq!(at(wrong_day, now), None);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "1994-11-06",
            "06-Nov-94",
            "Sunday, 06-Nov-94",
        ] {
            assert_eq!(at(text, "Fri, 20 Nov 2026 12:00:00 GMT"), None, "{text}");
        }
    }
}
