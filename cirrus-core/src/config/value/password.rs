//! What is kept of passwords and API keys: never themselves, always what they can be checked against.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc;
use argon2::{Argon2, Params, PasswordVerifier};

use super::text::{InvalidValue, written_as_text};

/// bcrypt's costs: below, guessing is cheap; above, one login keeps a core busy for seconds.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// The most memory that checking one Argon2 hash may take, in KiB.
const ARGON2_MEMORY: u32 = 256 * 1024;

/// The most passes and lanes of an Argon2 hash.
const ARGON2_PASSES: u32 = 16;

/// The hash of a password: bcrypt (`$2a$`, `$2b$`, `$2y$`; `htpasswd -B`) or Argon2 (`$argon2id$`, `$argon2i$`,
/// `$argon2d$`, a PHC string).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    Argon2,
}

/// What is kept of an API key: `sha256:` and the SHA-256 of it in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

written_as_text!(
    PasswordHash,
    title: "password digest",
    expected: "the hash of a password, bcrypt or Argon2, for example from `htpasswd -nB NAME`",
    pattern: "^\\$(2[aby]|argon2(id|i|d))\\$.+$",
    example: "$2y$10$CwTycUXWue0Thq9StjUM0uJ8z1UDS4rI3BmQ5xUYQdXhW3Xl4PRHS"
);

written_as_text!(
    KeyHash,
    title: "key digest",
    expected: "`sha256:` and the SHA-256 of the key in hexadecimal digits, for example from `printf %s KEY | sha256sum`",
    pattern: "^sha256:[0-9A-Fa-f]{64}$",
    example: "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
);

// === impl PasswordHash ===

impl PasswordHash {
    /// Whether it is of this password. Slow by design: tens of milliseconds of one core.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2 => phc::PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }
}

impl FromStr for PasswordHash {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let kind = match text.split('$').nth(1) {
            Some("2a" | "2b" | "2y") if text.starts_with('$') => bcrypt_hash(text)?,
            Some("argon2id" | "argon2i" | "argon2d") if text.starts_with('$') => argon2_hash(text)?,
            _ => return Err(unsupported(text)),
        };
        Ok(Self {
            text: text.to_owned(),
            kind,
        })
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

fn bcrypt_hash(text: &str) -> Result<Kind, InvalidValue> {
    let parts: bcrypt::HashParts = text
        .parse()
        .map_err(|_| InvalidValue::new("a damaged bcrypt hash: 60 characters are expected"))?;
    if text.len() != 60 || !BCRYPT_COSTS.contains(&parts.get_cost()) {
        let (least, most) = (BCRYPT_COSTS.start(), BCRYPT_COSTS.end());
        return Err(InvalidValue::new(format!(
            "a bcrypt hash has 60 characters and, here, a cost of {least} to {most}"
        )));
    }
    Ok(Kind::Bcrypt)
}

fn argon2_hash(text: &str) -> Result<Kind, InvalidValue> {
    let damaged = || InvalidValue::new("a damaged Argon2 hash: a PHC string is expected");
    let hash = phc::PasswordHash::new(text).map_err(|_| damaged())?;
    let params = Params::try_from(&hash).map_err(|_| damaged())?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(InvalidValue::new("an Argon2 hash without salt or hash"));
    }
    let passes = params.t_cost().max(params.p_cost());
    if params.m_cost() > ARGON2_MEMORY || passes > ARGON2_PASSES {
        return Err(InvalidValue::new(format!(
            "too costly an Argon2 hash: m up to {ARGON2_MEMORY}, t and p up to {ARGON2_PASSES} are allowed"
        )));
    }
    Ok(Kind::Argon2)
}

/// Says what is allowed, and never what stood there: it may be a password.
fn unsupported(text: &str) -> InvalidValue {
    let known = ["$apr1$", "$1$", "$5$", "$6$", "{SHA}", "{SSHA}"];
    let found = known
        .iter()
        .find(|prefix| text.starts_with(**prefix))
        .map_or_else(
            || "not a hash; passwords are not kept as they are".to_owned(),
            |prefix| format!("hashes with `{prefix}` are not supported"),
        );
    InvalidValue::new(format!(
        "{found}: bcrypt (`$2y$…`, from `htpasswd -B`) and Argon2 (`$argon2id$…`) are allowed"
    ))
}

// === impl KeyHash ===

impl KeyHash {
    /// Of a key that a client shows.
    pub(crate) fn of(key: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for KeyHash {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits = text
            .strip_prefix("sha256:")
            .filter(|digits| digits.len() == 64 && digits.is_ascii());
        let mut hash = [0; 32];
        for (byte, pair) in hash
            .iter_mut()
            .zip(digits.unwrap_or_default().as_bytes().chunks(2))
        {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            let digit = |at: usize| pair.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
            if !digit(0) || !digit(1) {
                return Err(not_a_key_hash());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| not_a_key_hash())?;
        }
        digits.map(|_| Self(hash)).ok_or_else(not_a_key_hash)
    }
}

fn not_a_key_hash() -> InvalidValue {
    InvalidValue::new(
        "not the hash of a key: `sha256:` and 64 hexadecimal digits are allowed \
         (`printf %s KEY | sha256sum`)",
    )
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of `secret`, made by this crate at its lowest cost.
    fn bcrypt_of(password: &str, cost: u32) -> String {
        bcrypt::hash_with_salt(password, cost, *b"0123456789abcdef")
            .unwrap()
            .format_for_version(bcrypt::Version::TwoY)
    }

    #[test]
    fn bcrypt_in_all_its_spellings() {
        let text = bcrypt_of("secret", 4);
        for version in ["$2y$", "$2a$", "$2b$"] {
            let hash: PasswordHash = text.replacen("$2y$", version, 1).parse().unwrap();
            assert!(hash.is_of(b"secret"), "{version}");
            assert!(!hash.is_of(b"Secret") && !hash.is_of(b""));
        }
    }

    #[test]
    fn argon2_from_other_programs() {
        // `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -e`, from the reference implementation's tests.
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash: PasswordHash = text.parse().unwrap();
        assert!(hash.is_of(b"password") && !hash.is_of(b"differentpassword"));
        assert_eq!(hash.to_string(), text);
    }

    #[test]
    fn refuses_what_is_no_hash_without_repeating_it() {
        for text in [
            "hunter2",
            "",
            "$",
            "$2y$",
            "{SHA}x",
            "$apr1$a$b",
            "$6$salt$x",
            "x$2y$10$",
        ] {
            let error = text.parse::<PasswordHash>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let costly = bcrypt_of("secret", 4).replacen("$04$", "$31$", 1);
        assert!(
            costly
                .parse::<PasswordHash>()
                .unwrap_err()
                .to_string()
                .contains("4 to 16")
        );
        let hungry = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(hungry.parse::<PasswordHash>().is_err());
    }

    #[test]
    fn a_key_is_its_hash() {
        let text = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let hash: KeyHash = text.parse().unwrap();
        assert_eq!(KeyHash::of(b"secret"), hash);
        assert_eq!(hash.to_string(), text);
        for wrong in [
            "",
            "sha256:",
            "sha256:+1",
            &text[..70],
            &text.replace("2bb", "+bb"),
            "md5:x",
        ] {
            assert!(wrong.parse::<KeyHash>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\$?(2y|argon2id|sha256:)?[$:a-z0-9=,+/é]{0,80}") {
            if let Ok(hash) = text.parse::<PasswordHash>() {
                prop_assert_eq!(hash.to_string(), text.clone());
            }
            if let Ok(hash) = text.parse::<KeyHash>() {
                prop_assert_eq!(hash.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}
