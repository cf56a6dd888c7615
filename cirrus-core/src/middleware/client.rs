//! Who asks, behind the proxies that are trusted.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::Context;
use super::forwarded::X_FORWARDED_FOR;

/// The client's address: the connection's peer, or, if that is a trusted proxy, the right-most address in
/// `X-Forwarded-For` (without it, in `Forwarded`) that is not one. What stands further left was written by somebody who
/// is not trusted. In its canonical form: an IPv4 address is never written as an IPv6 one.
pub(crate) fn client_address(cx: &Context, headers: &HeaderMap) -> IpAddr {
    let peer = cx.connection.peer.ip().to_canonical();
    let trusts = |address| cx.snapshot.trusts(address);
    if !trusts(peer) {
        return peer;
    }
    if headers.contains_key(&X_FORWARDED_FOR) {
        let members = members(headers, &X_FORWARDED_FOR);
        return right_most(peer, members.map(address), trusts);
    }
    right_most(
        peer,
        members(headers, &FORWARDED).map(forwarded_for),
        trusts,
    )
}

/// The first of these that is not trusted; the last one known if they end, or if one cannot be read.
fn right_most(
    peer: IpAddr,
    from_the_right: impl Iterator<Item = Option<IpAddr>>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut known = peer;
    for address in from_the_right.map_while(|address| address) {
        known = address;
        if !trusts(known) {
            break;
        }
    }
    known
}

/// The members of a list, which may stand in several fields, the last one first.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(name).into_iter().rev();
    // What is not text ends the list: nothing beyond it can be believed.
    let lists = fields.map(|value| value.to_str().unwrap_or("?"));
    lists.flat_map(|list| list.rsplit(',')).map(str::trim)
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

/// The `for` of an element of `Forwarded` (RFC 7239 §4), which may be quoted.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, node) = nodes.next()?;
    address(node.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seen(fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let trusts = |address: IpAddr| address.to_string().starts_with("10.");
        let peer = [10, 0, 0, 1].into();
        let found = if headers.contains_key(&X_FORWARDED_FOR) {
            right_most(
                peer,
                members(&headers, &X_FORWARDED_FOR).map(address),
                trusts,
            )
        } else {
            right_most(
                peer,
                members(&headers, &FORWARDED).map(forwarded_for),
                trusts,
            )
        };
        found.to_string()
    }

    #[test]
    fn believes_only_what_trusted_proxies_have_written() {
        let for_ = |list| seen(&[("x-forwarded-for", list)]);
        assert_eq!(for_("192.0.2.7"), "192.0.2.7");
        assert_eq!(for_("198.51.100.1, 192.0.2.7, 10.0.0.9"), "192.0.2.7");
        assert_eq!(for_("192.0.2.7:1234,10.0.0.2"), "192.0.2.7");
        assert_eq!(for_("2001:db8::1"), "2001:db8::1");
        assert_eq!(for_("[2001:db8::1]:80"), "2001:db8::1");
        assert_eq!(for_("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(for_("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(for_("10.0.0.3, 10.0.0.2"), "10.0.0.3");
        assert_eq!(for_("192.0.2.7, unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(for_(""), "10.0.0.1");
        let two = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.8"),
        ];
        assert_eq!(seen(&two), "192.0.2.8");
    }

    #[test]
    fn reads_forwarded_where_there_is_nothing_else() {
        let forwarded = |list| seen(&[("forwarded", list)]);
        assert_eq!(forwarded("for=192.0.2.7;proto=https"), "192.0.2.7");
        assert_eq!(
            forwarded("for=198.51.100.1, by=x; For=\"[2001:db8::7]:99\" , for=10.1.1.1"),
            "2001:db8::7"
        );
        assert_eq!(forwarded("for=192.0.2.7, for=_hidden"), "10.0.0.1");
        assert_eq!(forwarded("proto=https"), "10.0.0.1");
        assert_eq!(seen(&[]), "10.0.0.1");
    }
}
