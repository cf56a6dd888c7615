//! What the keys of a service begin with.

use crate::address::Address;
use crate::reference::{Reference, decoded};

use super::DEFAULT_ADDRESS;

/// Which keys, and of which servers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prefix {
    /// Instead of those that are configured.
    pub(super) addresses: Vec<Address>,
    pub(super) text: String,
}

/// A name that is none of a service in etcd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no service in etcd: {why}; write etcd:///services/payment, or with addresses etcd://10.0.0.1:2379,10.0.0.2:2379/services/payment"
)]
pub(super) struct InvalidPrefix {
    name: String,
    why: String,
}

// === impl Prefix ===

impl Prefix {
    /// `etcd://[ADDRESS[,ADDRESS…]]/PATH`, or `etcd://[…]/?prefix=TEXT`.
    pub(super) fn parse(name: &str) -> Result<Self, InvalidPrefix> {
        parse(name).map_err(|why| InvalidPrefix {
            name: name.to_owned(),
            why,
        })
    }

    /// The first key behind all of those that begin with it.
    pub(super) fn end(&self) -> Vec<u8> {
        let mut end = self.text.clone().into_bytes();
        // In UTF-8 no byte is 255.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }
}

fn parse(name: &str) -> Result<Prefix, String> {
    let reference = Reference::parse(name).ok_or("it has no scheme")?;
    let addresses = match reference.authority {
        "" => Vec::new(),
        some => Address::parse_all(some, 2379)
            .map_err(|wrong| format!("`{wrong}` is no address such as {DEFAULT_ADDRESS}"))?,
    };
    if reference.fragment.is_some() {
        return Err("`#` in a key is written %23".to_owned());
    }
    let path = decoded(reference.path);
    let mut literal = None;
    for (option, value) in reference.options() {
        match &*option {
            "prefix" => literal = Some(value.into_owned()),
            _ => return Err(format!("`{option}` is no option: `prefix` is")),
        }
    }
    let text = match (path.trim_matches('/'), literal) {
        ("", Some(literal)) if !literal.is_empty() => literal,
        ("", _) => return Err("which keys?".to_owned()),
        (_, Some(_)) => return Err("either a path or `prefix`, not both".to_owned()),
        // Whole names only: `/pay` has nothing to do with `/payment/1`.
        (_, None) => format!("{}/", path.trim_end_matches('/')),
    };
    Ok(Prefix { addresses, text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_a_directory_of_keys() {
        for (name, text, addresses) in [
            ("etcd:///services/pay", "/services/pay/", 0),
            ("etcd:///services/pay/", "/services/pay/", 0),
            ("etcd://a:1,b/pay", "/pay/", 2),
            ("etcd://[::1]:2379/p%20ay", "/p ay/", 1),
            ("etcd:///?prefix=pay-", "pay-", 0),
            ("etcd://a/?prefix=%2Fpay", "/pay", 1),
        ] {
            let prefix = Prefix::parse(name).unwrap();
            assert_eq!(prefix.text, text, "{name}");
            assert_eq!(prefix.addresses.len(), addresses, "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (name, told) in [
            ("pay", "no scheme"),
            ("etcd://", "which keys?"),
            ("etcd:///", "which keys?"),
            ("etcd:///?prefix=", "which keys?"),
            (
                "etcd://a:b:c/pay",
                "`a:b:c` is no address such as 127.0.0.1:2379",
            ),
            ("etcd:///pay?tag=1", "`tag` is no option: `prefix` is"),
            ("etcd:///pay?prefix=1", "not both"),
            ("etcd:///pay#1", "%23"),
        ] {
            let error = Prefix::parse(name).unwrap_err().to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn keys_with_it_are_before_its_end_and_others_are_not(name in "\\PC{1,12}", key in "\\PC{0,12}") {
            let Ok(prefix) = Prefix::parse(&format!("etcd:///{name}")) else {
                return Ok(());
            };
            let is_within = |key: &str| {
                let key = key.as_bytes();
                key >= prefix.text.as_bytes() && key < prefix.end().as_slice()
            };
            let within = format!("{}{key}", prefix.text);
            prop_assert!(is_within(&within));
            prop_assert_eq!(is_within(&key), key.starts_with(&prefix.text));
        }
    }
}
