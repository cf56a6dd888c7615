//! Header fields that tell an origin who asks. Only we set them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The names of such fields.
#[derive(Debug, Default)]
pub(super) struct Identity(Box<[HeaderName]>);

// === impl Identity ===

impl Identity {
    pub(super) fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        Self(names.into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes what the client sends under these names, and under what CGI, WSGI and PHP take for them: `X_User` is
    /// `X-User` to these.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        let spoofed: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.0.iter().any(|own| is_same(own, name)))
            .cloned()
            .collect();
        for name in spoofed {
            headers.remove(name);
        }
    }
}

/// Sets a field to a text from outside, unless it cannot stand in one.
pub(super) fn tell(headers: &mut HeaderMap, name: &HeaderName, text: &str) {
    match HeaderValue::from_str(text) {
        Ok(value) => drop(headers.insert(name, value)),
        Err(_) => tracing::debug!(%name, "not told to the origin: no valid field value"),
    }
}

fn is_same(own: &HeaderName, other: &HeaderName) -> bool {
    let (own, other) = (own.as_str(), other.as_str());
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    own.len() == other.len() && own.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_every_spelling() {
        let identity = Identity::new([HeaderName::from_static("x-user-name")]);
        let mut headers = HeaderMap::new();
        for name in [
            "x-user-name",
            "x_user-name",
            "x_user_name",
            "x-user",
            "x-user-names",
        ] {
            headers.append(name, HeaderValue::from_static("root"));
        }
        identity.strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-user", "x-user-names"]);
    }

    #[test]
    fn a_text_cannot_become_a_second_field() {
        let mut headers = HeaderMap::new();
        tell(
            &mut headers,
            &HeaderName::from_static("x-user"),
            "a\r\nx-admin: yes",
        );
        assert!(headers.is_empty());
    }
}
