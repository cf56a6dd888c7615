//! The key of a service.

use crate::address::Address;
use crate::reference::{Reference, decoded};

use super::DEFAULT_ADDRESS;

/// Which key, and of whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    /// Instead of those that are configured.
    pub(super) addresses: Vec<Address>,
    pub(super) text: String,
}

/// A name that is none of a service in Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no service in Redis: {why}; write redis:///KEY, or with an address redis://10.0.0.5:6379/KEY"
)]
pub(super) struct InvalidKey {
    name: String,
    why: String,
}

// === impl Key ===

impl Key {
    /// `redis://[ADDRESS[,ADDRESS…]]/KEY`.
    pub(super) fn parse(name: &str) -> Result<Self, InvalidKey> {
        parse(name).map_err(|why| InvalidKey {
            name: name.to_owned(),
            why,
        })
    }
}

fn parse(name: &str) -> Result<Key, String> {
    let reference = Reference::parse(name).ok_or("it has no scheme")?;
    if reference.authority.contains('@') {
        return Err("user and password stand in `discovery.redis`".to_owned());
    }
    let addresses = match reference.authority {
        "" => Vec::new(),
        some => Address::parse_all(some, 6379)
            .map_err(|wrong| format!("`{wrong}` is no address such as {DEFAULT_ADDRESS}"))?,
    };
    if reference.fragment.is_some() {
        return Err("`#` in a key is written %23".to_owned());
    }
    if let Some((option, _)) = reference.options().next() {
        return Err(format!(
            "`{option}` is no option: there are none, and `?` in a key is written %3F"
        ));
    }
    match decoded(reference.path).strip_prefix('/') {
        Some(text) if !text.is_empty() => Ok(Key {
            addresses,
            text: text.to_owned(),
        }),
        _ => Err("which key?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_path_is_the_key() {
        for (name, text, addresses) in [
            ("redis:///pay", "pay", 0),
            ("redis:///services/pay", "services/pay", 0),
            ("redis:////pay/", "/pay/", 0),
            ("redis://a:1,b/services:pay", "services:pay", 2),
            ("redis:///a%20%23%3F", "a #?", 0),
        ] {
            let key = Key::parse(name).unwrap();
            assert_eq!(key.text, text, "{name}");
            assert_eq!(key.addresses.len(), addresses, "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (name, told) in [
            ("pay", "no scheme"),
            ("redis://", "which key?"),
            ("redis://a:1/", "which key?"),
            ("redis://u:p@a:1/pay", "`discovery.redis`"),
            ("redis://a b/pay", "`a b` is no address"),
            ("redis:///pay?type=hash", "`type` is no option"),
            ("redis:///pay#1", "%23"),
        ] {
            let error = Key::parse(name).unwrap_err().to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(name in "(redis://)?\\PC{0,24}") {
            let _ = Key::parse(&name);
        }
    }
}
