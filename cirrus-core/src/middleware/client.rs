//! Whose request it is: the address that access rules and rate limits go by.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::Context;
use super::forwarded::X_FORWARDED_FOR;

/// The client's address: the connection's peer, or, if that is a trusted proxy, the right-most address in
/// `X-Forwarded-For` (without it, in `Forwarded`) that is none. Canonical: an IPv4 address is never shown as IPv6.
///
/// What stands left of an address that nobody trusted vouches for may be the client's own invention and is not looked at.
pub(crate) fn client_address(cx: &Context, headers: &HeaderMap) -> IpAddr {
    let peer = cx.connection.peer.ip().to_canonical();
    if !cx.snapshot.trusts(peer) {
        return peer;
    }
    let (name, element): (&HeaderName, fn(&str) -> Option<IpAddr>) =
        if headers.contains_key(&X_FORWARDED_FOR) {
            (&X_FORWARDED_FOR, address)
        } else {
            (&FORWARDED, forwarded_for)
        };
    rightmost(peer, headers, name, element, |address| {
        cx.snapshot.trusts(address)
    })
}

/// Walks a list from its end, for as long as it leads from one trusted proxy to the next.
fn rightmost(
    peer: IpAddr,
    headers: &HeaderMap,
    name: &HeaderName,
    element: fn(&str) -> Option<IpAddr>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut nearest = peer;
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    // Split at every comma, quoted or not: no address has one, and a quote that the client left open must not swallow
    // what a proxy has added behind it.
    let elements = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    for text in elements {
        let text = std::str::from_utf8(text).ok().map(str::trim);
        let Some(found) = text.and_then(element) else {
            return nearest;
        };
        nearest = found.to_canonical();
        if !trusts(nearest) {
            return nearest;
        }
    }
    nearest
}

/// `192.0.2.1`, `2001:db8::1`, and both with a port, the second one then in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()))
        .ok()
}

/// The address in one element of `Forwarded` (RFC 7239 §4); obfuscated ones are none.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &'static str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        let trusts = |address: IpAddr| address.to_string().starts_with("10.");
        let name = HeaderName::from_static(name);
        let element = if name == FORWARDED {
            forwarded_for
        } else {
            address
        };
        let peer = "10.0.0.1".parse().unwrap();
        rightmost(peer, &headers, &name, element, trusts).to_string()
    }

    #[test]
    fn the_last_one_that_nobody_trusts() {
        let name = "x-forwarded-for";
        assert_eq!(of(name, &[]), "10.0.0.1");
        assert_eq!(of(name, &["1.1.1.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of(name, &["1.1.1.1, 192.0.2.7, 10.9.9.9"]), "192.0.2.7");
        assert_eq!(of(name, &["1.1.1.1, 192.0.2.7", "10.9.9.9"]), "192.0.2.7");
        assert_eq!(of(name, &["10.1.1.1, 10.9.9.9"]), "10.1.1.1");
        assert_eq!(of(name, &["[2001:db8::1]:99"]), "2001:db8::1");
        assert_eq!(of(name, &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(of(name, &["192.0.2.7:1234"]), "192.0.2.7");
        assert_eq!(of(name, &["::ffff:192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        let name = "x-forwarded-for";
        assert_eq!(of(name, &["1.1.1.1, unknown, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(of(name, &["1.1.1.1, "]), "10.0.0.1");
        assert_eq!(of(name, &["garbage, 192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_from_its_end() {
        let lines = ["for=1.1.1.1;proto=http, proto=https;For=\"[2001:db8::1]:4711\""];
        assert_eq!(of("forwarded", &lines), "2001:db8::1");
        // An open quote of the client's does not hide what the proxy says.
        assert_eq!(
            of("forwarded", &["for=\"1.1.1.1, for=192.0.2.7"]),
            "192.0.2.7"
        );
        assert_eq!(of("forwarded", &["for=_hidden"]), "10.0.0.1");
    }

    proptest! {
        #[test]
        fn the_last_element_decides_whatever_stands_before_it(before in "[ -~]{0,40}", last in any::<u32>()) {
            let last = &std::net::Ipv4Addr::from(last | 0x8000_0000).to_string();
            prop_assert_eq!(of("x-forwarded-for", &[&format!("{before},{last}")]), last.as_str());
            prop_assert_eq!(of("forwarded", &[&format!("{before},for={last}")]), last.as_str());
        }
    }
}
