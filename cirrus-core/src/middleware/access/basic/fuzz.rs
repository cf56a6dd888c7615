//! See [`crate::fuzzing`].

use super::*;

/// Name and password are what was encoded.
pub(in super::super) fn credentials(headers: &HeaderMap) {
    let Some(given) = Credentials::of(headers) else {
        return;
    };
    assert!(!given.name.contains(':') && given.name.len() + given.password.len() < LONGEST);
    let plain = [given.name.as_bytes(), &given.password].join(&b":"[..]);
    assert_eq!(Credentials::parse(&BASE64.encode(plain)), Some(given));
}
