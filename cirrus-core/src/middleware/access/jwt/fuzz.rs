//! See [`crate::fuzzing`].

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::*;

const NOW: f64 = 1_800_000_000.0;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// As a token, nothing is accepted that nobody has signed; as the claims of a signed one, nothing that is over.
pub fn jwt(bytes: &[u8]) {
    choose_backend();
    let rules = rules();
    let jwk = format!(
        r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#,
        BASE64.encode(SECRET)
    );
    let Ok(keys) = Keys::parse(&jwk) else {
        panic!("{jwk}")
    };
    if let Ok(token) = str::from_utf8(bytes) {
        assert!(rules.claims(token, &keys, NOW).is_err());
    }
    let Ok(claims) = rules.claims(&signed(bytes), &keys, NOW) else {
        return;
    };
    assert!(
        claims["exp"]
            .as_f64()
            .is_some_and(|end| end + rules.leeway > NOW)
    );
    assert!(claims.get("nbf").is_none_or(|begin| {
        begin
            .as_f64()
            .is_some_and(|begin| begin <= NOW + rules.leeway)
    }));
    assert!(holds("iss", &claims["iss"], "us") && claims.contains_key("aud"));
    for claim in claims.values() {
        let _ = text(claim);
    }
}

fn rules() -> Rules {
    Rules {
        algorithms: vec![Algorithm::HS256],
        issuer: Some("us".to_owned()),
        audience: vec!["you".to_owned()],
        leeway: 60.0,
        required: vec![("scope".to_owned(), "read".to_owned())],
    }
}

fn signed(claims: &[u8]) -> String {
    let header = BASE64.encode(r#"{"alg":"HS256"}"#);
    let message = format!("{header}.{}", BASE64.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = BASE64.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}
