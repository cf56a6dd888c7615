use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rsa::KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: f64 = 1_800_000_000.0;

type Sign = dyn Fn(&[u8]) -> Vec<u8>;

/// Signs, and tells its own public half.
struct Signer {
    jwk: Value,
    sign: Box<Sign>,
}

impl Signer {
    fn ec(kid: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = (BASE64.encode(&point[..32]), BASE64.encode(&point[32..]));
        Self {
            jwk: json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y}),
            sign: Box::new(move |message| pair.sign(&random, message).unwrap().as_ref().to_vec()),
        }
    }

    fn ed(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = BASE64.encode(pair.public_key().as_ref());
        Self {
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "use": "sig"}),
            sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()),
        }
    }

    fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (BASE64.encode(&public.n), BASE64.encode(&public.e));
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            let random = SystemRandom::new();
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                .unwrap();
            signature
        };
        Self {
            jwk: json!({"kty": "RSA", "kid": kid, "n": n, "e": e}),
            sign: Box::new(sign),
        }
    }

    fn secret(kid: &str, secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self {
            jwk: json!({"kty": "oct", "kid": kid, "k": BASE64.encode(secret)}),
            sign: Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec()),
        }
    }

    fn token(&self, header: Value, claims: Value) -> String {
        let part = |value: Value| BASE64.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = BASE64.encode((self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn keys(signers: &[&Signer]) -> Keys {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    Keys::parse(&json!({ "keys": keys }).to_string()).unwrap()
}

fn rules() -> Rules {
    choose_backend();
    Rules::new(&JwtConfig::default())
}

fn good() -> Value {
    json!({"sub": "alice", "exp": NOW + 100.0})
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn invalid(result: Result<Claims, Fault>) -> String {
    match result {
        Err(Fault::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn accepts_what_each_kind_of_key_signs() {
    for (algorithm, signer) in [
        ("ES256", Signer::ec("a")),
        ("EdDSA", Signer::ed("a")),
        ("RS256", Signer::rsa("a")),
    ] {
        let (keys, other) = (keys(&[&signer]), Signer::ec("b"));
        let token = signer.token(json!({"alg": algorithm, "kid": "a"}), good());
        assert_eq!(rules().claims(&token, &keys, NOW).unwrap()["sub"], "alice");
        // The very same, changed in one place.
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let forged = BASE64.encode(with(good(), "sub", json!("root")).to_string());
        let forged = format!("{header}.{forged}.{signature}");
        assert!(invalid(rules().claims(&forged, &keys, NOW)).contains("ignature"));
        // Somebody else's signature under the same name.
        let foreign = other.token(json!({"alg": algorithm, "kid": "a"}), good());
        invalid(rules().claims(&foreign, &keys, NOW));
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let rsa = Signer::rsa("a");
    let keys = keys(&[&rsa]);
    let mut lenient = rules();
    lenient.algorithms.push(Algorithm::HS256);
    let jwk = rsa.jwk.to_string();
    let modulus = BASE64.decode(rsa.jwk["n"].as_str().unwrap()).unwrap();
    for secret in [modulus.as_slice(), jwk.as_bytes(), b""] {
        for header in [json!({"alg": "HS256", "kid": "a"}), json!({"alg": "HS256"})] {
            let token = Signer::secret("a", secret).token(header, good());
            assert_eq!(
                invalid(rules().claims(&token, &keys, NOW)),
                "HS256 is not allowed"
            );
            assert_eq!(invalid(lenient.claims(&token, &keys, NOW)), "no key fits");
        }
    }
}

#[test]
fn shared_secrets_only_where_they_are_wanted() {
    let signer = Signer::secret("a", b"a secret of some length, shared by two");
    let keys = keys(&[&signer]);
    let token = signer.token(json!({"alg": "HS256", "kid": "a"}), good());
    assert_eq!(
        invalid(rules().claims(&token, &keys, NOW)),
        "HS256 is not allowed"
    );
    let mut lenient = rules();
    lenient.algorithms.push(Algorithm::HS256);
    assert!(lenient.claims(&token, &keys, NOW).is_ok());
}

#[test]
fn an_unsigned_token_is_none() {
    let signer = Signer::ed("a");
    let keys = keys(&[&signer]);
    for algorithm in ["none", "None", "", "HS256", "RS256", "ES256", "XYZ"] {
        let token = signer.token(json!({"alg": algorithm, "kid": "a"}), good());
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        invalid(rules().claims(&token, &keys, NOW));
        invalid(rules().claims(&format!("{unsigned}."), &keys, NOW));
        invalid(rules().claims(unsigned, &keys, NOW));
    }
}

#[test]
fn the_key_is_the_one_that_is_named() {
    let (one, two, rsa) = (Signer::ec("1"), Signer::ec("2"), Signer::rsa("3"));
    let (both, alone) = (keys(&[&one, &two]), keys(&[&one, &rsa]));
    let ask = |header: Value, keys: &Keys| rules().claims(&one.token(header, good()), keys, NOW);
    assert!(ask(json!({"alg": "ES256", "kid": "1"}), &both).is_ok());
    invalid(ask(json!({"alg": "ES256", "kid": "2"}), &both));
    assert_eq!(
        invalid(ask(json!({"alg": "ES256", "kid": "9"}), &both)),
        "no key fits"
    );
    assert_eq!(invalid(ask(json!({"alg": "ES256"}), &both)), "no key fits");
    assert!(
        ask(json!({"alg": "ES256"}), &alone).is_ok(),
        "no choice, no name"
    );
    invalid(ask(json!({"alg": "ES384", "kid": "1"}), &both));
    let critical = json!({"alg": "ES256", "kid": "1", "crit": ["exp"]});
    assert_eq!(invalid(ask(critical, &both)), "critical extensions");
    invalid(rules().claims("a.b.c", &Keys::default(), NOW));
}

#[test]
fn a_key_is_used_as_it_says() {
    let signer = Signer::ec("a");
    let token = signer.token(json!({"alg": "ES256", "kid": "a"}), good());
    let parse = |jwk: Value| Keys::parse(&json!({"keys": [jwk, {"kty": "new"}, 5]}).to_string());
    assert!(
        rules()
            .claims(&token, &parse(signer.jwk.clone()).unwrap(), NOW)
            .is_ok()
    );
    assert!(parse(with(signer.jwk.clone(), "use", json!("enc"))).is_err());
    assert!(parse(with(signer.jwk.clone(), "alg", json!("ES384"))).is_err());
    assert!(parse(with(signer.jwk.clone(), "alg", json!("RS256"))).is_err());
    assert!(parse(with(signer.jwk, "crv", json!("P-521"))).is_err());
    for text in ["", "{}", "[]", "{\"keys\":[]}", "{\"keys\":5}"] {
        assert!(Keys::parse(text).is_err(), "{text}");
    }
}

#[test]
fn times_are_compared_with_leeway() {
    let signer = Signer::ed("a");
    let keys = keys(&[&signer]);
    let at =
        |claims: Value| rules().claims(&signer.token(json!({"alg": "EdDSA"}), claims), &keys, NOW);
    assert!(at(json!({"exp": NOW - 59.0})).is_ok());
    assert_eq!(invalid(at(json!({"exp": NOW - 60.0}))), "expired");
    assert!(at(with(good(), "nbf", json!(NOW + 60.0))).is_ok());
    assert_eq!(
        invalid(at(with(good(), "nbf", json!(NOW + 61.0)))),
        "not valid yet"
    );
    assert_eq!(invalid(at(json!({"sub": "a"}))), "no `exp`");
    for wrong in [json!("2999"), json!(null), json!([]), json!(true)] {
        invalid(at(json!({ "exp": wrong })));
        invalid(at(with(good(), "nbf", wrong)));
    }
}

#[test]
fn the_token_is_from_whom_and_for_whom_it_should_be() {
    let signer = Signer::ed("a");
    let keys = keys(&[&signer]);
    let mut strict = rules();
    strict.issuer = Some("https://id.example".to_owned());
    strict.audience = vec!["shop".to_owned(), "blog".to_owned()];
    let ask = |rules: &Rules, iss: Value, aud: Value| {
        let claims = json!({"exp": NOW + 1.0, "iss": iss, "aud": aud});
        let token = signer.token(json!({"alg": "EdDSA"}), claims);
        rules.claims(&token, &keys, NOW).is_ok()
    };
    let issuer = || json!("https://id.example");
    assert!(ask(&strict, issuer(), json!("shop")));
    assert!(ask(&strict, issuer(), json!(["x", "blog"])));
    assert!(!ask(&strict, json!("https://other.example"), json!("shop")));
    assert!(!ask(&strict, issuer(), json!("bank")));
    assert!(!ask(&strict, issuer(), json!([])));
    assert!(!ask(&strict, json!(null), json!("shop")) && !ask(&strict, issuer(), json!(null)));
    assert!(
        !ask(&rules(), issuer(), json!("shop")),
        "meant for somebody else"
    );
}

#[test]
fn required_claims_are_held() {
    for (claim, required, held) in [
        (json!("admin"), "admin", true),
        (json!(["user", "admin"]), "admin", true),
        (json!("admins"), "admin", false),
        (json!("a admin"), "admin", false),
        (json!(7), "7", true),
        (json!(true), "true", true),
        (json!(null), "*", false),
        (json!({}), "*", true),
        (json!({"admin": 1}), "admin", false),
        (json!(["a,b"]), "a", false),
        (json!([["admin"]]), "admin", false),
    ] {
        assert_eq!(holds("role", &claim, required), held, "{claim} {required}");
    }
    assert!(holds("scope", &json!("read write"), "write"));
    assert!(!holds("scope", &json!("read writes"), "write"));
    let signer = Signer::ed("a");
    let token = signer.token(json!({"alg": "EdDSA"}), good());
    let mut rules = rules();
    rules.required = vec![("role".to_owned(), "admin".to_owned())];
    assert_eq!(
        rules.claims(&token, &keys(&[&signer]), NOW),
        Err(Fault::Insufficient)
    );
}

proptest! {
    #[test]
    fn any_text_is_refused(token in "[A-Za-z0-9_.=-]{0,80}|[ -~é]{0,40}") {
        let keys = Keys::parse(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap();
        prop_assert!(rules().claims(&token, &keys, NOW).is_err());
    }

    #[test]
    fn any_key_set_is_read_or_refused(text in "[\\[\\]{}\":,a-z]{0,40}") {
        let _ = Keys::parse(&text);
    }
}
