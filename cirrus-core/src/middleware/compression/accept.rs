//! Which content coding a client would rather have (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::config::ContentCoding;

/// How much a client wants what, in thousandths; `None` for what it does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wishes {
    zstd: Option<u16>,
    br: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

/// The coding that the client likes best of those offered, the first of several; `None` for none at all.
///
/// None at all is what clients get that name no coding offered here, even those that will not have it: §12.5.3 asks for
/// content without any coding rather than for an error.
pub(super) fn choose(headers: &HeaderMap, offered: &[ContentCoding]) -> Option<ContentCoding> {
    let wishes = Wishes::of(headers);
    let mut best: Option<(u16, ContentCoding)> = None;
    for &coding in offered {
        let weight = wishes.weight(coding);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, coding));
        }
    }
    let (weight, coding) = best?;
    let identity = wishes.identity.or(wishes.any);
    identity
        .is_none_or(|identity| identity <= weight)
        .then_some(coding)
}

// === impl Wishes ===

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        let members = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        for member in members {
            let mut parts = member.split(';').map(|part| part.trim_matches([' ', '\t']));
            let name = parts.next().unwrap_or_default();
            let weight = parts.filter_map(weight).min().unwrap_or(1000);
            if let Some(wish) = wishes.named(name) {
                // Named twice: whichever was meant, the smaller weight is not too much.
                *wish = Some(wish.map_or(weight, |before| before.min(weight)));
            }
        }
        wishes
    }

    fn named(&mut self, name: &str) -> Option<&mut Option<u16>> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is("gzip") || is("x-gzip") => Some(&mut self.gzip),
            () if is("br") => Some(&mut self.br),
            () if is("zstd") => Some(&mut self.zstd),
            () if is("identity") => Some(&mut self.identity),
            () if name == "*" => Some(&mut self.any),
            () => None,
        }
    }

    fn weight(&self, coding: ContentCoding) -> u16 {
        let named = match coding {
            ContentCoding::Zstd => self.zstd,
            ContentCoding::Br => self.br,
            ContentCoding::Gzip => self.gzip,
        };
        named.or(self.any).unwrap_or(0)
    }
}

/// The weight that a parameter gives, if it is one. What is no number gives none: the coding is not wanted.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    name.trim()
        .eq_ignore_ascii_case("q")
        .then(|| thousandths(value.trim()).unwrap_or(0))
}

/// `qvalue` of RFC 9110 §12.4.2: from 0 to 1, with three digits at the most.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: u16 = format!("{rest:0<3}").parse().ok().filter(|_| is_valid)?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ALL: [ContentCoding; 3] = [ContentCoding::Zstd, ContentCoding::Br, ContentCoding::Gzip];

    fn chosen(lines: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        choose(&headers, &ALL).map(ContentCoding::name)
    }

    #[test]
    fn the_client_decides_and_the_order_breaks_ties() {
        for (line, coding) in [
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("gzip, deflate", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("gzip;q=1.0, br;q=0.9, zstd;q=0.8", Some("gzip")),
            ("gzip ; q=0.5 , br;Q=0.501", Some("br")),
            ("zstd;q=0, br;q=0.000, gzip;q=0.001", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.1, br", Some("br")),
            ("zstd;q=0, *", Some("br")),
            ("br;q=0, gzip;q=0, *;q=0.5", Some("zstd")),
            ("", None),
            ("deflate", None),
            ("gzip;q=0", None),
            ("*;q=0", None),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.5", Some("gzip")),
            ("identity;q=1, *;q=0", None),
            ("identity;q=0", None),
            ("identity;q=0, gzip;q=0.1", Some("gzip")),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=", None),
            ("gzip;q=-1, br;q=1.001, zstd;q=+1", None),
            ("gzip, gzip;q=0", None),
            ("gzip;a=b", Some("gzip")),
            ("gzipp, xbr", None),
            (",, ;q=1, gzip", Some("gzip")),
        ] {
            assert_eq!(chosen(&[line]), coding, "{line}");
        }
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["deflate", "br;q=0.5", "gzip"]), Some("gzip"));
    }

    fn member() -> impl Strategy<Value = (String, Option<u16>)> {
        let name = prop::sample::select(vec!["gzip", "br", "zstd", "identity", "*", "deflate"]);
        (name.prop_map(str::to_owned), prop::option::of(0..=1000u16))
    }

    proptest! {
        /// Against the words of §12.5.3, read the slow way.
        #[test]
        fn what_is_chosen_is_acceptable_and_nothing_offered_is_liked_better(
            members in prop::collection::vec(member(), 0..6),
        ) {
            let written: Vec<_> = members.iter().map(|(name, weight)| match weight {
                Some(weight) => format!("{name};q={}", f64::from(*weight) / 1000.0),
                None => name.clone(),
            }).collect();
            let named = |name: &str| {
                let weights = members.iter().filter(|(other, _)| other == name);
                weights.map(|(_, weight)| weight.unwrap_or(1000)).min()
            };
            let liked = |name: &str| named(name).or(named("*"));
            match chosen(&[&written.join(", ")]) {
                Some(coding) => {
                    let weight = liked(coding).unwrap_or(0);
                    prop_assert!(weight > 0);
                    prop_assert!(liked("identity").is_none_or(|identity| identity <= weight));
                    prop_assert!(ALL.iter().all(|other| liked(other.name()).unwrap_or(0) <= weight));
                }
                None => {
                    let best = ALL.iter().filter_map(|coding| liked(coding.name())).max();
                    let best = best.unwrap_or(0);
                    prop_assert!(best == 0 || liked("identity").is_some_and(|identity| identity > best));
                }
            }
        }

        #[test]
        fn no_value_is_too_strange(line in "[ -~]{0,40}", second in r"(gzip|br|\*|q=|;|,|0\.|1| ){0,12}") {
            let _ = chosen(&[&line, &second]);
            // What it chose is what it would choose again from its own answer.
            if let Some(coding) = chosen(&[&second]) {
                prop_assert_eq!(chosen(&[coding]), Some(coding));
            }
        }
    }
}
