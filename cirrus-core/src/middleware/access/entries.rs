//! Files with a name and what belongs to it in every line, as `htpasswd` writes them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Reads lines of `NAME:VALUE`; empty ones and those that begin with `#` are passed over.
///
/// # Errors
///
/// Name the line, and never what stands in it.
pub(super) fn entries<V>(text: &str) -> Result<BTreeMap<String, V>, String>
where
    V: FromStr<Err: Display>,
{
    let mut entries = BTreeMap::new();
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    for (number, line) in (1..).zip(lines) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |error: &dyn Display| format!("line {number}: {error}");
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| at(&"`NAME:HASH` is expected"))?;
        if let Some(fault) = name_fault(name) {
            return Err(at(&fault));
        }
        let value = value.trim().parse().map_err(|error| at(&error))?;
        if entries.insert(name.to_owned(), value).is_some() {
            return Err(at(&"this name stands in the file already"));
        }
    }
    Ok(entries)
}

/// What is wrong with a user's name, if anything is.
pub(crate) fn name_fault(name: &str) -> Option<&'static str> {
    (name.is_empty() || name.contains(':') || name.chars().any(char::is_control))
        .then_some("a name is not empty and has neither colons nor control characters")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_values() {
        let read = entries::<u32>("\u{feff}# users\r\n\r\nalice:1\r\n  bob: 2 \n").unwrap();
        assert_eq!(
            read,
            BTreeMap::from([("alice".into(), 1), ("bob".into(), 2)])
        );
        assert!(entries::<u32>("").unwrap().is_empty());
    }

    #[test]
    fn says_where_and_not_what() {
        for (text, line) in [
            ("a:1\nsecret", 2),
            ("a:secret", 1),
            (":1", 1),
            ("a:1\n\na:2", 3),
        ] {
            let error = entries::<u32>(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: ")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c:#\\r\\n 0-9é]{0,60}") {
            for name in entries::<u32>(&text).unwrap_or_default().keys() {
                prop_assert!(name_fault(name).is_none());
            }
        }
    }
}
