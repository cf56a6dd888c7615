//! The keys that tokens are signed with (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

/// A set of keys.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

/// A key that signatures can be checked with.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<String>,
    /// The only algorithm it is for, if it says so or there is no other.
    algorithm: Option<Algorithm>,
    family: AlgorithmFamily,
    pub(super) key: DecodingKey,
}

// === impl Keys ===

impl Keys {
    /// Reads a JSON Web Key Set. Keys of kinds that are not known are passed over (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// If it is none, or none of its keys can be used: then every token would be refused.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_str(text)
            .map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(
                "no key in it can check signatures: RSA, P-256, P-384, Ed25519 and oct keys can"
                    .to_owned(),
            );
        }
        Ok(Self(keys))
    }

    /// Those that may have signed what names this key and algorithm. Without a name there must be no choice.
    pub(super) fn fitting(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let fits = |key: &&Key| {
            key.family == algorithm.family()
                && key.algorithm.is_none_or(|own| own == algorithm)
                && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        };
        let found: Vec<&Key> = self.0.iter().filter(fits).collect();
        if kid.is_none() && found.len() > 1 {
            return Vec::new();
        }
        found
    }
}

// === impl Key ===

impl Key {
    fn read(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if matches!(jwk.common.public_key_use, Some(ref usage) if *usage != PublicKeyUse::Signature)
        {
            return None;
        }
        let named = match jwk.common.key_algorithm {
            // A key for something else, such as encryption.
            Some(named) => Some(Algorithm::try_from(named).ok()?),
            None => None,
        };
        let implied = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) => Some(match key.curve {
                EllipticCurve::P256 => Algorithm::ES256,
                EllipticCurve::P384 => Algorithm::ES384,
                _ => return None,
            }),
            AlgorithmParameters::OctetKeyPair(key) if key.curve != EllipticCurve::Ed25519 => {
                return None;
            }
            AlgorithmParameters::OctetKey(key) if key.value.is_empty() => return None,
            _ => None,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let agree = named.is_none_or(|named| {
            named.family() == key.family() && implied.is_none_or(|implied| implied == named)
        });
        agree.then(|| Self {
            kid: jwk.common.key_id,
            algorithm: named.or(implied),
            family: key.family(),
            key,
        })
    }
}
