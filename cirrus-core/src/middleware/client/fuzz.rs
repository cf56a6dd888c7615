//! See [`crate::fuzzing`].

use http::HeaderValue;

use super::*;
use crate::fuzzing::lines;

/// What stands before the address that decides changes nothing, nor does how the list is spread over fields.
pub fn forwarded(bytes: &[u8]) {
    walk(bytes, &X_FORWARDED_FOR, address);
    walk(bytes, &FORWARDED, forwarded_for);
}

fn walk(bytes: &[u8], name: &HeaderName, element: fn(&str) -> Option<IpAddr>) {
    let peer = IpAddr::from([10, 0, 0, 1]);
    let found = |headers: &HeaderMap| rightmost(peer, headers, name, element, trusts);
    let headers = lines(name, bytes);
    let client = found(&headers);
    assert_eq!(client, client.to_canonical());
    let values: Vec<_> = headers.values().map(HeaderValue::as_bytes).collect();
    let joined = values.join(&b","[..]);
    let one = HeaderValue::from_bytes(&joined).map(|value| (name.clone(), value));
    if let (Ok(one), false) = (one, values.is_empty()) {
        assert_eq!(found(&HeaderMap::from_iter([one])), client);
    }
    if !trusts(client) {
        let before = [
            "192.0.2.99",
            "for=192.0.2.99",
            "for=\"",
            "\"",
            "",
            "unknown",
        ];
        for before in before {
            let longer = [before.as_bytes(), &joined].join(&b","[..]);
            assert_eq!(found(&lines(name, &longer)), client, "{before}");
        }
    }
}

fn trusts(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
}
