//! How an edge tells that a request is another edge's: signed with what they share.

use aws_lc_rs::hmac;

use crate::cache::key::Scheme;
use crate::clock::Timestamp;
use crate::config::Secret;

/// How far the clocks of two edges may be apart, the way of the request included, in seconds.
const SKEW: u64 = 60;

/// What every signature begins with: the same secret used elsewhere signs other things.
const PURPOSE: &str = "cirrus peer 1";

/// Makes signatures, and tells them from others.
#[derive(Clone, Debug)]
pub(super) struct Signer(hmac::Key);

/// What is signed of a GET.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// The client's.
    pub(super) scheme: Scheme,
    pub(super) host: &'a str,
    pub(super) target: &'a str,
}

// === impl Signer ===

impl Signer {
    pub(super) fn new(secret: &Secret) -> Self {
        let secret = secret.as_str().as_bytes();
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// `TIME SCHEME SIGNATURE`.
    pub(super) fn sign(&self, what: Signed<'_>, now: Timestamp) -> String {
        let time = now.as_secs();
        let tag = hmac::sign(&self.0, message(what, time).as_bytes());
        format!("{time} {} {}", what.scheme.as_str(), hex(tag.as_ref()))
    }

    /// The scheme that the client used, if this was signed by one who has the secret, for this request, a moment ago.
    pub(super) fn verify(
        &self,
        field: &str,
        host: &str,
        target: &str,
        now: Timestamp,
    ) -> Option<Scheme> {
        let mut parts = field.split(' ');
        let (time, scheme, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let time = time.parse::<u64>().ok()?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let what = Signed {
            scheme,
            host,
            target,
        };
        let is_now = time.abs_diff(now.as_secs()) <= SKEW && parts.next().is_none();
        let message = message(what, time);
        // In constant time.
        let is_ours = hmac::verify(&self.0, message.as_bytes(), &unhex(tag)?).is_ok();
        (is_now && is_ours).then_some(scheme)
    }
}

/// None of the parts has a line's end in it.
fn message(what: Signed<'_>, time: u64) -> String {
    let scheme = what.scheme.as_str();
    format!(
        "{PURPOSE}\n{time}\nGET\n{scheme}\n{}\n{}\n",
        what.host, what.target
    )
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_200_000);

    fn signer(secret: &str) -> Signer {
        Signer::new(&secret.parse().unwrap())
    }

    fn signed() -> String {
        let what = Signed {
            scheme: Scheme::Https,
            host: "shop.example",
            target: "/film?x=1",
        };
        signer("sixteen-letters!").sign(what, NOW)
    }

    fn verify(field: &str, host: &str, target: &str, now: u64) -> Option<Scheme> {
        let now = Timestamp::from_secs(now);
        signer("sixteen-letters!").verify(field, host, target, now)
    }

    #[test]
    fn holds_for_this_request_at_this_time_only() {
        let (field, now) = (signed(), NOW.as_secs());
        for near in [now - SKEW, now, now + SKEW] {
            let scheme = verify(&field, "shop.example", "/film?x=1", near);
            assert_eq!(scheme, Some(Scheme::Https));
        }
        for far in [now - SKEW - 1, now + SKEW + 1] {
            assert_eq!(verify(&field, "shop.example", "/film?x=1", far), None);
        }
        assert_eq!(verify(&field, "shop.example", "/film?x=2", now), None);
        assert_eq!(verify(&field, "blog.example", "/film?x=1", now), None);
        let other = field.replace("https", "http");
        assert_eq!(verify(&other, "shop.example", "/film?x=1", now), None);
        let longer = format!("{field} x");
        assert_eq!(verify(&longer, "shop.example", "/film?x=1", now), None);
        let others = signer("other-letters-16");
        let verified = others.verify(&field, "shop.example", "/film?x=1", NOW);
        assert_eq!(verified, None);
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_signature(field in "([0-9]{10} https? [0-9a-f]{0,66}|.{0,80})") {
            prop_assert_eq!(verify(&field, "a", "/", NOW.as_secs()), None);
        }

        #[test]
        fn a_changed_letter_breaks_it(at in 0..80_usize, letter in "[0-9a-z ]") {
            let field = signed();
            let at = at % field.len();
            let mut changed = field.clone();
            changed.replace_range(at..=at, &letter);
            let scheme = verify(&changed, "shop.example", "/film?x=1", NOW.as_secs());
            prop_assert_eq!(scheme.is_some(), changed == field);
        }
    }
}
