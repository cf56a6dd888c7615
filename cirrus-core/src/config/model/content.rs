//! What is changed on the way: header fields, paths, cross-origin answers, content codings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{
    HeaderText, HeaderTitle, MediaRange, MethodName, Period, Size, WebOrigin,
};
use crate::routing::PathPattern;

/// Changes to header fields: what is in `remove` goes first, then `set` replaces, then `add` appends. Fields that are
/// made anew for every message, such as `Connection` and `Content-Length`, cannot be changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HeaderEditsConfig {
    /// Fields with their only value.
    pub set: BTreeMap<HeaderTitle, HeaderText>,
    /// Fields with a value more, on a line of its own.
    pub add: BTreeMap<HeaderTitle, HeaderText>,
    /// Fields that are taken out.
    pub remove: Vec<HeaderTitle>,
}

/// The path that the origin is asked for. The query is kept, and the cache, logs and `Location` fields of the origin
/// know nothing of it. Give `path`, or one or both of the others: `strip_prefix` comes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RewriteConfig {
    /// A path such as `"/api"` that is taken off the front, by whole segments; what does not begin with it stays.
    pub strip_prefix: Option<PathPattern>,
    /// A path such as `"/v2"` that is put in front.
    pub add_prefix: Option<PathPattern>,
    /// The whole path. `{host}`, `{path}` (without its query) and the route's own `{params}` are filled in.
    pub path: Option<HeaderText>,
}

/// Which other origins' scripts may read the responses (CORS, as the Fetch standard has it). Preflights are answered
/// here with 204; the origin's own CORS fields are replaced. It keeps no request from the origin: browsers do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CorsConfig {
    /// `"https://a.example"`, `"https://*.b.example"` (any depth below), or `"*"` (any origin; not with `credentials`).
    /// By default none.
    pub origins: Vec<WebOrigin>,
    /// Methods that scripts may use beside `GET`, `HEAD` and `POST`, which browsers always let through.
    pub methods: Vec<MethodName>,
    /// Request header fields that scripts may set; `["*"]` is any but `Authorization` (not with `credentials`).
    pub headers: Vec<HeaderTitle>,
    /// Response header fields that scripts may read; `["*"]` is any (not with `credentials`).
    pub expose: Vec<HeaderTitle>,
    /// Whether requests may carry cookies and other credentials.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight, at most `"24h"`. By default it decides: 5 s.
    pub max_age: Option<Period>,
}

/// Compression of responses that origins, files and `respond` give uncompressed. Clients get the coding they like best
/// of those offered. Stored responses are stored compressed, one for each coding asked for. Responses with
/// `Cache-Control: no-transform`, parts (206) and shorter ones than `min_size` stay as they are. An `ETag` becomes weak.
///
/// Do not compress pages that hold a secret beside text that whoever sends the request can choose: their length tells
/// about the secret (the BREACH attack).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CompressionConfig {
    /// `false` in a route turns off what its site has.
    pub enable: bool,
    /// `"zstd"`, `"br"` and `"gzip"`; of those that a client likes equally well the first is used.
    pub algorithms: Vec<ContentCoding>,
    /// Media types that are worth while: `"text/html"`, or `"text/*"` for all of a kind. By default those of text,
    /// scripts, JSON, XML, WebAssembly, SVG, and fonts and icons that are not compressed by their own format.
    /// `text/event-stream` may be added: whenever the origin pauses, what there is is sent.
    pub types: Vec<MediaRange>,
    /// Shorter bodies stay as they are, if their length is known.
    pub min_size: Size,
    /// How much work is put into it.
    pub level: CompressionLevel,
}

/// A content coding (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContentCoding {
    /// Zstandard.
    Zstd,
    /// Brotli.
    Br,
    /// gzip, which every client knows.
    Gzip,
}

/// How much work is put into compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CompressionLevel {
    /// gzip 1, br 1, zstd 1.
    Fast,
    /// gzip 6, br 4, zstd 3.
    #[default]
    Balanced,
    /// gzip 9, br 7, zstd 7; several times the work.
    Small,
}

/// What is worth compressing unless a configuration says otherwise.
const TYPES: [&str; 30] = [
    "text/calendar",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/markdown",
    "text/plain",
    "text/vcard",
    "text/vtt",
    "text/xml",
    "application/atom+xml",
    "application/geo+json",
    "application/graphql-response+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xhtml+xml",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

// === impl ContentCoding ===

impl ContentCoding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

// === defaults ===

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            enable: true,
            algorithms: vec![ContentCoding::Zstd, ContentCoding::Br, ContentCoding::Gzip],
            types: TYPES.iter().filter_map(|name| name.parse().ok()).collect(),
            min_size: Size::kib(1),
            level: CompressionLevel::default(),
        }
    }
}
