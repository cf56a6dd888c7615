//! See [`crate::fuzzing`].

use super::*;
use crate::fuzzing::lines;

const ALL: [ContentCoding; 3] = [ContentCoding::Zstd, ContentCoding::Br, ContentCoding::Gzip];

/// What is chosen is wanted, was offered, and is liked no less than the others and than none.
pub fn accept_encoding(bytes: &[u8]) {
    let headers = lines(&ACCEPT_ENCODING, bytes);
    let wishes = Wishes::of(&headers);
    for offered in [&ALL[..], &ALL[1..], &ALL[2..], &[]] {
        let Some(coding) = choose(&headers, offered) else {
            continue;
        };
        let weight = wishes.weight(coding);
        assert!(offered.contains(&coding) && (1..=1000).contains(&weight));
        assert!(offered.iter().all(|&other| wishes.weight(other) <= weight));
        assert!(wishes.identity.is_none_or(|identity| identity <= weight));
        let alone = lines(&ACCEPT_ENCODING, coding.name().as_bytes());
        assert_eq!(choose(&alone, offered), Some(coding));
    }
    // Whatever was said, a refusal of everything is one.
    let mut refused = headers;
    for name in ["zstd", "br", "gzip", "*"] {
        let value = http::HeaderValue::try_from(format!("{name};q=0"));
        refused.extend(value.ok().map(|value| (ACCEPT_ENCODING, value)));
    }
    assert_eq!(choose(&refused, &ALL), None);
}
