//! Signed tokens (RFC 7519, with the advice of RFC 8725).

use std::collections::HashSet;
use std::sync::{Arc, Once};

use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

use super::identity::{Identity, tell};
use super::jwks::Keys;
use super::parameter::Place;
use super::watched::Watched;
use super::{Check, Reason, Refused};
use crate::body::Request;
use crate::config::{JwtAlgorithm, JwtConfig};
use crate::error::{Error, Kind};
use crate::middleware::Context;

/// Asks for a token.
#[derive(Debug)]
pub(crate) struct Jwt {
    place: Place,
    keys: Option<Arc<Watched<Keys>>>,
    rules: Rules,
    claims_to_headers: Vec<(String, HeaderName)>,
    identity: Identity,
    forward: bool,
}

/// What a token must fulfil.
#[derive(Debug)]
struct Rules {
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Vec<String>,
    /// In seconds.
    leeway: f64,
    required: Vec<(String, String)>,
}

type Claims = Map<String, Value>;

/// Why a token is not accepted.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Invalid(String),
    /// Valid, but without a claim that is required.
    Insufficient,
}

// === impl Jwt ===

impl Jwt {
    pub(crate) fn new(config: &JwtConfig) -> Self {
        choose_backend();
        let place = match (&config.cookie, &config.query) {
            (Some(name), _) => Place::Cookie(name.clone()),
            (None, Some(name)) => Place::Query(name.clone()),
            (None, None) => Place::Bearer,
        };
        let told = config.claims_to_headers.iter();
        Self {
            place,
            keys: config
                .jwks_file
                .as_deref()
                .map(|path| Watched::open(path, Keys::parse)),
            rules: Rules::new(config),
            claims_to_headers: told
                .map(|(claim, name)| (claim.clone(), name.to_name()))
                .collect(),
            identity: Identity::new(config.claims_to_headers.values().map(|name| name.to_name())),
            forward: config.forward,
        }
    }

    async fn claims(&self, cx: &Context, token: &str) -> Result<Claims, Fault> {
        let keys = match &self.keys {
            Some(keys) => keys.now(cx).await,
            None => Arc::default(),
        };
        let now = cx.worker.engine.clock.now().as_millis() as f64 / 1e3;
        self.rules.claims(token, &keys, now)
    }

    /// Tells the origin what it is to know, and nothing that it is not.
    fn pass(&self, claims: &Claims, request: &mut Request) {
        if !self.forward {
            let mut uri = request.uri().clone();
            self.place.remove(request.headers_mut(), &mut uri);
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        self.identity.strip(headers);
        for (claim, name) in &self.claims_to_headers {
            if let Some(text) = claims.get(claim).and_then(text) {
                tell(headers, name, &text);
            }
        }
    }
}

impl Check for Jwt {
    const REASON: Reason = Reason::Jwt;

    async fn check<'a>(
        &'a self,
        cx: &'a mut Context,
        request: &'a mut Request,
    ) -> Result<(), Refused> {
        let token = self.place.find(request.headers(), request.uri());
        let token = token.ok_or(Fault::Missing).map_err(Error::from)?;
        let claims = self.claims(cx, &token).await.map_err(Error::from)?;
        self.pass(&claims, request);
        cx.personal |= self.forward || !self.identity.is_empty();
        cx.user = claims.get("sub").and_then(Value::as_str).map(Into::into);
        Ok(())
    }
}

/// With two backends compiled in, which another crate of the program can bring about, the library panics unless told.
fn choose_backend() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // An error says that the program has chosen.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// What stands in a header field for a claim; nothing for what has no plain form.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(claim.to_string()),
        Value::Array(elements) => elements
            .iter()
            .filter(|element| !element.is_array())
            .map(text)
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.join(",")),
        Value::Null | Value::Object(_) => None,
    }
}

// === impl Rules ===

impl Rules {
    fn new(config: &JwtConfig) -> Self {
        let required = config.required_claims.iter();
        Self {
            algorithms: config.algorithms.iter().copied().map(algorithm).collect(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway.as_duration().as_secs_f64(),
            required: required
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    /// The claims of a token that is signed by one of the keys, and is for us and for now.
    fn claims(&self, token: &str, keys: &Keys, now: f64) -> Result<Claims, Fault> {
        let claims = self.signed(token, keys)?;
        self.in_time(&claims, now)?;
        let lacks = |(name, value): &(String, String)| {
            !claims
                .get(name)
                .is_some_and(|claim| holds(name, claim, value))
        };
        if self.required.iter().any(lacks) {
            return Err(Fault::Insufficient);
        }
        Ok(claims)
    }

    fn signed(&self, token: &str, keys: &Keys) -> Result<Claims, Fault> {
        let invalid = |error: jsonwebtoken::errors::Error| Fault::Invalid(error.to_string());
        let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
        // The token does not get to choose: what is not listed is refused, whatever the key could do.
        if !self.algorithms.contains(&header.alg) {
            return Err(Fault::Invalid(format!("{:?} is not allowed", header.alg)));
        }
        // What must be understood (RFC 7515 §4.1.11): we understand no extension.
        if header.crit.is_some() {
            return Err(Fault::Invalid("critical extensions".to_owned()));
        }
        let validation = self.validation(header.alg);
        let mut fault = Fault::Invalid("no key fits".to_owned());
        for key in keys.fitting(header.kid.as_deref(), header.alg) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => fault = invalid(error),
            }
        }
        Err(fault)
    }

    /// What the library checks. Time is compared here, by the engine's clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims = HashSet::new();
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }

    fn in_time(&self, claims: &Claims, now: f64) -> Result<(), Fault> {
        let invalid = |what: &str| Fault::Invalid(what.to_owned());
        let seconds = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| invalid("a time that is no number")),
        };
        let ends = seconds("exp")?.ok_or_else(|| invalid("no `exp`"))?;
        if ends + self.leeway <= now {
            return Err(invalid("expired"));
        }
        match seconds("nbf")? {
            Some(begins) if begins - self.leeway > now => Err(invalid("not valid yet")),
            _ => Ok(()),
        }
    }
}

/// Whether a claim is what is required, or holds it.
fn holds(name: &str, claim: &Value, required: &str) -> bool {
    match claim {
        Value::Null => false,
        _ if required == "*" => true,
        // Scopes are words in one string (RFC 8693 §4.2).
        Value::String(words) if name == "scope" => words.split(' ').any(|word| word == required),
        Value::Array(elements) => elements
            .iter()
            .any(|element| !element.is_array() && holds(name, element, required)),
        Value::Object(_) => false,
        claim => text(claim).as_deref() == Some(required),
    }
}

fn algorithm(written: JwtAlgorithm) -> Algorithm {
    match written {
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::PS384 => Algorithm::PS384,
        JwtAlgorithm::PS512 => Algorithm::PS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::HS384 => Algorithm::HS384,
        JwtAlgorithm::HS512 => Algorithm::HS512,
    }
}

// === impl Fault ===

impl From<Fault> for Error {
    /// RFC 6750 §3.
    fn from(fault: Fault) -> Self {
        let (error, challenge) = match fault {
            Fault::Missing => (Self::new(Kind::Unauthorized), "Bearer"),
            Fault::Invalid(why) => (
                Self::because(Kind::Unauthorized, why),
                "Bearer error=\"invalid_token\"",
            ),
            Fault::Insufficient => (
                Self::new(Kind::Forbidden),
                "Bearer error=\"insufficient_scope\"",
            ),
        };
        error.with_field(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
#[path = "jwt/tests.rs"]
mod tests;
