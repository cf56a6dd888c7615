//! See [`crate::fuzzing`].

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Uri};

use super::entries::{entries, name_fault};
use super::jwks::Keys;
use super::parameter::Place;
use crate::config::{KeyHash, PasswordHash};

/// Files of users and of API keys: names are names, and what is read is read again from what is written.
pub fn key_files(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    round_trip::<PasswordHash>(text);
    round_trip::<KeyHash>(text);
}

fn round_trip<V>(text: &str)
where
    V: std::str::FromStr<Err: std::fmt::Display> + ToString + PartialEq + std::fmt::Debug,
{
    let Ok(read) = entries::<V>(text) else { return };
    assert!(read.keys().all(|name| name_fault(name).is_none()));
    let line = |(name, value): (&String, &V)| format!("{name}:{}\n", value.to_string());
    // Not at the start of the file, where a byte-order mark would be none of a name's.
    let written: String = std::iter::once("#\n".to_owned())
        .chain(read.iter().map(line))
        .collect();
    assert_eq!(entries(&written).as_ref(), Ok(&read));
}

/// A set of keys is read or refused.
pub fn jwks(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = Keys::parse(text);
    }
}

/// A query on the first line, a cookie on the second, `Authorization` on the third: what is removed is not found again.
pub fn credentials(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let Ok(mut uri) = format!("/p?{query}").parse::<Uri>() else {
        return;
    };
    let mut headers = HeaderMap::new();
    for (name, line) in [COOKIE, AUTHORIZATION].into_iter().zip(lines) {
        headers.extend(
            HeaderValue::from_bytes(line)
                .ok()
                .map(|value| (name, value)),
        );
    }
    super::basic::fuzz::credentials(&headers);
    let name = || "key".to_owned();
    for place in [Place::Query(name()), Place::Cookie(name()), Place::Bearer] {
        let _ = place.find(&headers, &uri);
        place.remove(&mut headers, &mut uri);
        assert_eq!(place.find(&headers, &uri), None, "{place:?}");
        let (before, uri_before) = (headers.clone(), uri.clone());
        place.remove(&mut headers, &mut uri);
        assert_eq!((&before, &uri_before), (&headers, &uri), "{place:?}");
    }
    assert_eq!(uri.path(), "/p");
}
