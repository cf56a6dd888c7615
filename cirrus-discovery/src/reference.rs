//! Services written as references: `scheme://authority/path?option=value#fragment`.

use std::borrow::Cow;

/// The parts of a reference, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    /// With the slash that it begins with, if there is any.
    pub(crate) path: &'a str,
    query: &'a str,
    pub(crate) fragment: Option<&'a str>,
}

// === impl Reference ===

impl<'a> Reference<'a> {
    /// `None` for what has no scheme.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if scheme.is_empty() || !scheme.chars().all(is_plain) {
            return None;
        }
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some(Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        })
    }

    /// Its options in order, decoded.
    pub(crate) fn options(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
    }
}

/// Without percent-encoding. What is not encoded properly stays as it is.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &behind[2..];
            }
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_parts() {
        let text = "consul://dc1/pay%20ment?tag=v%2F2&near&x=#a";
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.scheme, "consul");
        assert_eq!(
            (reference.authority, reference.path),
            ("dc1", "/pay%20ment")
        );
        assert_eq!(decoded(reference.path), "/pay ment");
        let options: Vec<_> = reference.options().collect();
        let option = |name, value| (Cow::Borrowed(name), Cow::Borrowed(value));
        assert_eq!(
            options,
            [option("tag", "v/2"), option("near", ""), option("x", "")]
        );
        assert_eq!(reference.fragment, Some("a"));
        let bare = Reference::parse("dns+srv://_http._tcp.api.internal").unwrap();
        assert_eq!(bare.scheme, "dns+srv");
        assert_eq!((bare.path, bare.fragment), ("", None));
        assert_eq!(bare.options().count(), 0);
        for text in ["payments", "://x", "a b://x", "x:/y"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_fails_otherwise(text in "\\PC*") {
            if let Some(reference) = Reference::parse(&text) {
                let _ = reference.options().count();
                let _ = decoded(reference.path);
            }
            let _ = decoded(&text);
        }
    }
}
