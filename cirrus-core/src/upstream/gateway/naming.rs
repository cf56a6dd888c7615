//! Which service a path names, and what discovery calls it.

/// The datacentre and the service that a path begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'p> {
    pub(super) datacentre: &'p str,
    pub(super) service: &'p str,
    /// Both, as they stand in the path.
    pub(super) text: &'p str,
}

/// How discovery is asked for a place: a scheme before it, and a query behind.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// Such as `consul`.
    pub(crate) scheme: &'static str,
    /// Keys and values; written with escapes.
    pub(crate) query: Vec<(&'static str, String)>,
}

// === impl Place ===

impl<'p> Place<'p> {
    /// Splits `datacentre/service/rest`. What is in neither name by right names nothing: no letter of a path becomes
    /// anything else in a reference.
    pub(super) fn split(path: &'p str) -> Option<(Self, &'p str)> {
        let (datacentre, behind) = path.split_once('/')?;
        let end = behind.find('/').unwrap_or(behind.len());
        let (service, rest) = behind.split_at(end);
        let text = &path[..datacentre.len() + 1 + service.len()];
        let place = Self {
            datacentre,
            service,
            text,
        };
        (is_name(datacentre) && is_name(service)).then_some((place, rest))
    }
}

/// Unreserved characters only (RFC 3986 §2.3).
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_plain)
}

// === impl Naming ===

impl Naming {
    pub(super) fn reference(&self, place: Place<'_>) -> String {
        let mut text = format!("{}://{}", self.scheme, place.text);
        for (number, (key, value)) in self.query.iter().enumerate() {
            text.push(if number == 0 { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            escape(value, &mut text);
        }
        text
    }
}

fn escape(value: &str, out: &mut String) {
    use std::fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(path: &str) -> Option<(&str, &str, &str)> {
        let (place, rest) = Place::split(path)?;
        Some((place.datacentre, place.service, rest))
    }

    #[test]
    fn what_stands_behind_the_names_is_not_touched() {
        assert_eq!(split("dc1/pay"), Some(("dc1", "pay", "")));
        assert_eq!(split("dc1/pay/"), Some(("dc1", "pay", "/")));
        assert_eq!(
            split("dc1/pay//a%2Fb/c d"),
            Some(("dc1", "pay", "//a%2Fb/c d"))
        );
        for path in [
            "",
            "dc1",
            "dc1/",
            "/pay",
            "dc1//x",
            "dc1/p%2Fy",
            "dc1/p?y",
            "d:c/x",
        ] {
            assert_eq!(split(path), None, "{path}");
        }
    }

    #[test]
    fn values_of_a_query_are_escaped() {
        let naming = Naming {
            scheme: "consul",
            query: vec![("tag", "v2".into()), ("filter", "a == \"b&c\"".into())],
        };
        let (place, _) = Place::split("dc1/pay/x").unwrap();
        assert_eq!(
            naming.reference(place),
            "consul://dc1/pay?tag=v2&filter=a%20%3D%3D%20%22b%26c%22"
        );
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(path in "[a-c/%.]{0,12}") {
            if let Some((place, rest)) = Place::split(&path) {
                prop_assert_eq!(format!("{}/{}{rest}", place.datacentre, place.service), path.clone());
                prop_assert_eq!(format!("{}{rest}", place.text), path);
            }
        }
    }
}
