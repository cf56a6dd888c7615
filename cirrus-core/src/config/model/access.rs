//! Who may come: by address, by name and password, by key, by token, or as a service of the user's own says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{HeaderText, HeaderTitle, KeyHash, PasswordHash, Period, ServiceUrl};

/// Who may come by the client's address: that of the connection, or the last one in `X-Forwarded-For` (without it, in
/// `Forwarded`) that is not among `server.trusted_proxies`, if the connection is from one of these. Others get 403.
/// The most specific network decides; a network in both lists is denied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessConfig {
    /// Networks that may come, such as `["10.0.0.0/8", "::1/128"]`. If there are any, everybody else may not.
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<IpNet>,
    /// Networks that may not come.
    #[schemars(with = "Vec<String>")]
    pub deny: Vec<IpNet>,
}

/// Name and password (RFC 7617); without, 401. A password that was right is remembered for 5 minutes, so that requests
/// that follow cost next to nothing; at most two checks per core run at once, 128 wait, and more are answered 503.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BasicAuthConfig {
    /// `false` in a route lifts what its site asks for.
    pub enable: bool,
    /// What browsers show when they ask for the password.
    pub realm: HeaderText,
    /// A file of lines `NAME:HASH`, as `htpasswd -B` writes it; `#` begins a comment. Read again when it changes, looked
    /// at when somebody asks, every 5 seconds at the most; while it cannot be read, the users read before stay.
    /// Relative paths start at the configuration file.
    pub users_file: Option<PathBuf>,
    /// Users with the hashes of their passwords, bcrypt or Argon2; they win over those of `users_file`.
    pub users: BTreeMap<String, PasswordHash>,
    /// Whether the origin gets `Authorization`. By default it does not, unlike with nginx and Traefik: passwords end
    /// where they are checked.
    pub forward: bool,
    /// A header field that tells the origin the user's name. What a client sends under it is removed.
    pub user_header: Option<HeaderTitle>,
}

/// A key that the client shows; without, 401. What is kept of keys is their SHA-256, so keys must be long and random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiKeysConfig {
    /// `false` in a route lifts what its site asks for.
    pub enable: bool,
    /// The header field with the key. By default `x-api-key`, unless `query` is given.
    pub header: Option<HeaderTitle>,
    /// The query parameter with the key. Query strings stand in logs: prefer a header field.
    pub query: Option<String>,
    /// A file of lines `NAME:sha256:HEX`; read again as `basic_auth.users_file` is.
    /// Relative paths start at the configuration file.
    pub keys_file: Option<PathBuf>,
    /// Names with the hashes of their keys.
    pub keys: BTreeMap<String, KeyHash>,
    /// Whether the origin gets the key. By default it is removed.
    pub forward: bool,
    /// A header field that tells the origin the key's name. What a client sends under it is removed.
    pub user_header: Option<HeaderTitle>,
}

/// A signed token (RFC 7519); without, 401 (RFC 6750). It is taken from `Authorization: Bearer`, unless `cookie` or
/// `query` is given. Tokens without `exp` are refused, and so are those with an `aud` that is not in `audience`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct JwtConfig {
    /// `false` in a route lifts what its site asks for.
    pub enable: bool,
    /// The keys that sign tokens, as a JSON Web Key Set (RFC 7517); required. Chosen by `kid`; a token without one is
    /// checked with the only key that fits. Read again as `basic_auth.users_file` is.
    /// Relative paths start at the configuration file.
    pub jwks_file: Option<PathBuf>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be, or hold one of.
    pub audience: Vec<String>,
    /// The algorithms of signatures. By default all that need no shared secret. `none` there is not.
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far clocks may be apart when `exp` and `nbf` are compared.
    pub leeway: Period,
    /// The cookie with the token.
    pub cookie: Option<String>,
    /// The query parameter with the token. Query strings stand in logs: prefer a header field.
    pub query: Option<String>,
    /// Claims that must be there with this value, or in a list that holds it; `"*"` is any value. In `scope` the words
    /// count. A token that is valid but lacks one gets 403.
    pub required_claims: BTreeMap<String, String>,
    /// Header fields that tell the origin claims, by the claim's name; lists are joined with commas. What a client sends
    /// under these names is removed.
    pub claims_to_headers: BTreeMap<String, HeaderTitle>,
    /// Whether the origin gets the token.
    pub forward: bool,
}

/// An algorithm of signatures (RFC 7518).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    RS256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    RS384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    RS512,
    /// RSA, PSS, SHA-256.
    PS256,
    /// RSA, PSS, SHA-384.
    PS384,
    /// RSA, PSS, SHA-512.
    PS512,
    /// ECDSA, P-256.
    ES256,
    /// ECDSA, P-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// HMAC, SHA-256: whoever can check tokens can make them.
    HS256,
    /// HMAC, SHA-384.
    HS384,
    /// HMAC, SHA-512.
    HS512,
}

/// Another service is asked about each request, with GET and without its body. If it answers 2xx the request goes on;
/// 401, 403 and redirects (3xx) are handed to the client as they are; anything else, and no answer, is 503.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ForwardAuthConfig {
    /// `false` in a route lifts what its site asks for.
    pub enable: bool,
    /// Where the service answers, such as `"http://auth:9000/check"`; required.
    pub url: Option<ServiceUrl>,
    /// How long it may take to answer.
    pub timeout: Period,
    /// The client's header fields that it gets. `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For` (the client's
    /// address) are set besides.
    pub request_headers: Vec<HeaderTitle>,
    /// Header fields of its answer that the origin gets. What a client sends under these names is removed.
    pub response_headers: Vec<HeaderTitle>,
    /// The one among `response_headers` with the user's name, for the access log.
    pub user_header: Option<HeaderTitle>,
}

// === defaults ===

impl Default for BasicAuthConfig {
    fn default() -> Self {
        Self {
            enable: true,
            realm: written("restricted"),
            users_file: None,
            users: BTreeMap::new(),
            forward: false,
            user_header: None,
        }
    }
}

impl Default for ApiKeysConfig {
    fn default() -> Self {
        Self {
            enable: true,
            header: None,
            query: None,
            keys_file: None,
            keys: BTreeMap::new(),
            forward: false,
            user_header: None,
        }
    }
}

impl Default for JwtConfig {
    fn default() -> Self {
        use JwtAlgorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        Self {
            enable: true,
            jwks_file: None,
            issuer: None,
            audience: Vec::new(),
            algorithms: vec![
                RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA,
            ],
            leeway: Period::secs(60),
            cookie: None,
            query: None,
            required_claims: BTreeMap::new(),
            claims_to_headers: BTreeMap::new(),
            forward: true,
        }
    }
}

impl Default for ForwardAuthConfig {
    fn default() -> Self {
        Self {
            enable: true,
            url: None,
            timeout: Period::secs(5),
            request_headers: vec![
                http::header::AUTHORIZATION.into(),
                http::header::COOKIE.into(),
            ],
            response_headers: Vec::new(),
            user_header: None,
        }
    }
}

fn written(text: &'static str) -> HeaderText {
    HeaderText::from_static(text)
}
