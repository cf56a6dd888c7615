//! The configuration's own documentation, made from the model: the JSON Schema, and the reference for readers.

use super::model::{
    AccessConfig, AccessLogConfig, AcmeAuthorityConfig, AcmeCertificateConfig, AcmeConfig,
    AcmeDnsConfig, AcmeRedisConfig, AdminConfig, ApiKeysConfig, AtLeastConfig, BalanceConfig,
    BasicAuthConfig, BodyMatchConfig, BreakerConfig, CacheBypassConfig, CacheConfig,
    CacheKeyConfig, CacheKeyQueryConfig, CertificatesConfig, CheckConfig, ClientAuthConfig,
    ClusterConfig, CompressionConfig, ConcurrencyConfig, Config, ConsulConfig, ConsulGatewayConfig,
    CorsConfig, DiscoveryConfig, DiscoveryGuardConfig, DiskCacheConfig, DnsDiscoveryConfig,
    EtcdDiscoveryConfig, FilesConfig, ForwardAuthConfig, HeaderEditsConfig, HealthConfig,
    HstsConfig, JwtConfig, LimitsConfig, ListenConfig, MirrorConfig, OnDemandConfig, OriginConfig,
    PassthroughConfig, PeerConfig, PeersConfig, PoolConfig, PurgeLogConfig, PurgeMethodConfig,
    RateLimitConfig, RedirectConfig, RedisCacheConfig, RedisDiscoveryConfig, RegistryConfig,
    RegistryServiceConfig, RequestIdConfig, RespondConfig, RetryConfig, RewriteConfig, RouteConfig,
    ServerConfig, SiteCacheConfig, SiteConfig, SiteTlsConfig, SplitConfig, StickyConfig,
    SubsetConfig, TimeoutsConfig, TlsConfig, UpstreamTlsConfig,
};
use super::value::{
    HashKey, HeaderText, HeaderTitle, HealthTerm, HedgeAfter, KeyHash, MediaRange, MethodName,
    NamePattern, OriginUrl, PasswordHash, PatternText, Period, PeriodBound, Rate, RateKey, RetryOn,
    Secret, ServiceUrl, Size, SizeBound, SplitKey, StatusNumber, WebOrigin,
};
use schemars::{Schema, schema_for};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A small configuration with a little of everything.
pub(super) const EXAMPLE: &str = r#"[[listen]]
address = "127.0.0.1:8080"

[[listen]]
address = "127.0.0.1:8443"
tls = true                       # HTTP/1.1 and HTTP/2 by ALPN

[admin]
address = "127.0.0.1:9145"       # /metrics, /healthz, /readyz, the API

[cache]
memory = "256MiB"

[certificates]
directory = "certs"              # pairs NAME.pem + NAME.key, chosen by SNI

[[site]]
hosts = ["shop.example", "*.shop.example"]     # "*" is the site for every other host
cache = { enable = true }

[[site.origin]]
url = "http://127.0.0.1:3000"
weight = 3
"#;

const INTRODUCTION: &str = "\
<!-- Made from the model by `cirrus_core::config::reference::markdown`; edit the doc comments there. -->

# Configuration

A configuration is one TOML file (`.toml`), or a JSON file (`.json`) of the same shape. It is strict: an unknown key,
a wrong type or a value out of range is a fault. `cirrus check --config FILE` shows all of them with their places.
Relative paths start at the directory of the file.
";

/// The tables of the configuration that share one description.
struct Section {
    /// The name of their type; empty for the top level.
    name: String,
    /// How each begins in TOML: `[[site.origin]]`.
    headers: Vec<String>,
}

/// Writes the reference.
struct Page {
    schema: Value,
    keys: BTreeMap<&'static str, &'static [&'static str]>,
    sections: Vec<Section>,
}

/// The JSON Schema of the configuration (draft 2020-12).
#[must_use]
pub fn json_schema() -> Value {
    schema_for!(Config).to_value()
}

/// The reference of the configuration in Markdown: every table and key, in the order of the model.
#[must_use]
pub fn markdown() -> String {
    let mut page = Page {
        schema: json_schema(),
        keys: keys(),
        sections: Vec::new(),
    };
    page.collect("", "");
    let sections: Vec<String> = page
        .sections
        .iter()
        .map(|section| page.section(section))
        .collect();
    let sections = sections.join("\n");
    format!(
        "{INTRODUCTION}\n{sections}\n{}\n## Example\n\n```toml\n{EXAMPLE}```\n",
        values()
    )
}

// === impl Page ===

impl Page {
    /// Notes every table at and under `path`, parents first.
    fn collect(&mut self, name: &str, path: &str) {
        for key in self.ordered(name) {
            let property = &self.table(name)["properties"][&key];
            let Some((child, many)) = self.child(property) else {
                continue;
            };
            let path = if path.is_empty() {
                key
            } else {
                format!("{path}.{key}")
            };
            let header = if many {
                format!("`[[{path}]]`")
            } else {
                format!("`[{path}]`")
            };
            match self
                .sections
                .iter_mut()
                .find(|section| section.name == child)
            {
                Some(section) => section.headers.push(header),
                None => self.sections.push(Section {
                    name: child.clone(),
                    headers: vec![header],
                }),
            }
            self.collect(&child, &path);
        }
    }

    /// A table's keys in the order of the model.
    fn ordered(&self, name: &str) -> Vec<String> {
        let name = if name.is_empty() { "Config" } else { name };
        self.keys
            .get(name)
            .into_iter()
            .flat_map(|keys| keys.iter())
            .map(|key| (*key).to_owned())
            .collect()
    }

    fn table(&self, name: &str) -> &Value {
        if name.is_empty() {
            &self.schema
        } else {
            &self.schema["$defs"][name]
        }
    }

    /// The type of the table that a key holds, and whether there can be many.
    fn child(&self, property: &Value) -> Option<(String, bool)> {
        let (property, many) = match property.get("items") {
            Some(items) => (items, true),
            None => (property, false),
        };
        let name = reference(property)?;
        self.table(name)
            .get("properties")
            .map(|_| (name.to_owned(), many))
    }

    fn section(&self, section: &Section) -> String {
        let table = self.table(&section.name);
        let rows: String = self
            .ordered(&section.name)
            .iter()
            .map(|key| self.row(table, key))
            .collect();
        format!(
            "## {}\n\n{}\n\n| key | type | default | description |\n|---|---|---|---|\n{rows}",
            section.headers.join(", "),
            text(&table["description"]),
        )
    }

    fn row(&self, table: &Value, key: &str) -> String {
        let property = &table["properties"][key];
        let required = table["required"]
            .as_array()
            .is_some_and(|keys| keys.iter().any(|other| other == key));
        let default = if required {
            "required".to_owned()
        } else {
            self.default(property)
        };
        let description = format!("{}{}", text(&property["description"]), self.words(property));
        format!(
            "| `{key}` | {} | {default} | {} |\n",
            self.kind(property),
            description.replace('|', "\\|")
        )
    }

    fn default(&self, property: &Value) -> String {
        match &property["default"] {
            // The defaults of a table are those of its keys.
            Value::Null | Value::Object(_) => String::new(),
            Value::Array(elements) if elements.is_empty() && self.child(property).is_some() => {
                String::new()
            }
            default => format!("`{default}`"),
        }
    }

    /// The words an enumeration allows, each with its meaning.
    fn words(&self, property: &Value) -> String {
        let choices = reference(property).and_then(|name| self.table(name)["oneOf"].as_array());
        let choices = choices.into_iter().flatten();
        choices
            .map(|choice| format!(" `{}`: {}", choice["const"], text(&choice["description"])))
            .collect()
    }

    /// The type in a word or two.
    fn kind(&self, property: &Value) -> String {
        if let Some(name) = reference(property) {
            let target = self.table(name);
            return match target.get("properties") {
                Some(_) => "table".to_owned(),
                None => self.kind(target),
            };
        }
        if let Some(title) = property["title"].as_str() {
            return title.to_owned();
        }
        match plain_type(property) {
            "array" => format!("array of {}", plural(&self.kind(&property["items"]))),
            "object" => format!("table of {}", plural(&self.kind(map_value(property)))),
            plain => plain.to_owned(),
        }
    }
}

fn plural(word: &str) -> String {
    let ending = if word.ends_with('s') { "es" } else { "s" };
    format!("{word}{ending}")
}

/// The name behind a `$ref`, optional or not.
fn reference(property: &Value) -> Option<&str> {
    let optional = || {
        property["anyOf"]
            .as_array()?
            .iter()
            .find_map(|choice| choice["$ref"].as_str())
    };
    property["$ref"]
        .as_str()
        .or_else(optional)?
        .strip_prefix("#/$defs/")
}

/// The type without `null`, which only JSON can write.
fn plain_type(property: &Value) -> &str {
    let first = || {
        property["type"]
            .as_array()
            .and_then(|types| types.iter().find_map(Value::as_str))
    };
    property["type"].as_str().or_else(first).unwrap_or("string")
}

/// What the values of a map are.
fn map_value(property: &Value) -> &Value {
    let by_pattern = property["patternProperties"]
        .as_object()
        .and_then(|patterns| patterns.values().next());
    by_pattern.unwrap_or(&property["additionalProperties"])
}

/// A description on one line.
fn text(description: &Value) -> String {
    description.as_str().unwrap_or_default().replace('\n', " ")
}

/// How the values are written that are more than a string or a number.
fn values() -> String {
    let schemas: [Schema; 24] = [
        schema_for!(Period),
        schema_for!(Size),
        schema_for!(OriginUrl),
        schema_for!(StatusNumber),
        schema_for!(MethodName),
        schema_for!(HeaderTitle),
        schema_for!(HeaderText),
        schema_for!(NamePattern),
        schema_for!(SizeBound),
        schema_for!(PeriodBound),
        schema_for!(Rate),
        schema_for!(RateKey),
        schema_for!(HashKey),
        schema_for!(SplitKey),
        schema_for!(RetryOn),
        schema_for!(HedgeAfter),
        schema_for!(MediaRange),
        schema_for!(WebOrigin),
        schema_for!(ServiceUrl),
        schema_for!(PasswordHash),
        schema_for!(KeyHash),
        schema_for!(Secret),
        schema_for!(HealthTerm),
        schema_for!(PatternText),
    ];
    let line = |schema: Schema| {
        let schema = schema.to_value();
        format!(
            "- **{}**: {}\n",
            text(&schema["title"]),
            text(&schema["description"])
        )
    };
    format!("## Values\n\n{}", schemas.map(line).concat())
}

// === order ===

/// The keys of every table, in the order of the model. A JSON Schema has no order.
fn keys() -> BTreeMap<&'static str, &'static [&'static str]> {
    [
        keys_of::<Config>(),
        keys_of::<ListenConfig>(),
        keys_of::<AdminConfig>(),
        keys_of::<ServerConfig>(),
        keys_of::<LimitsConfig>(),
        keys_of::<CacheConfig>(),
        keys_of::<DiskCacheConfig>(),
        keys_of::<PurgeLogConfig>(),
        keys_of::<PeersConfig>(),
        keys_of::<PeerConfig>(),
        keys_of::<RedisCacheConfig>(),
        keys_of::<CertificatesConfig>(),
        keys_of::<TlsConfig>(),
        keys_of::<AcmeConfig>(),
        keys_of::<AcmeRedisConfig>(),
        keys_of::<AcmeDnsConfig>(),
        keys_of::<OnDemandConfig>(),
        keys_of::<AcmeAuthorityConfig>(),
        keys_of::<AcmeCertificateConfig>(),
        keys_of::<AccessLogConfig>(),
        keys_of::<DiscoveryConfig>(),
        keys_of::<DiscoveryGuardConfig>(),
        keys_of::<DnsDiscoveryConfig>(),
        keys_of::<EtcdDiscoveryConfig>(),
        keys_of::<RedisDiscoveryConfig>(),
        keys_of::<RegistryConfig>(),
        keys_of::<RegistryServiceConfig>(),
        keys_of::<ConsulConfig>(),
        keys_of::<ClusterConfig>(),
        keys_of::<OriginConfig>(),
        keys_of::<TimeoutsConfig>(),
        keys_of::<HealthConfig>(),
        keys_of::<AtLeastConfig>(),
        keys_of::<CheckConfig>(),
        keys_of::<BodyMatchConfig>(),
        keys_of::<BreakerConfig>(),
        keys_of::<UpstreamTlsConfig>(),
        keys_of::<PoolConfig>(),
        keys_of::<BalanceConfig>(),
        keys_of::<StickyConfig>(),
        keys_of::<RetryConfig>(),
        keys_of::<MirrorConfig>(),
        keys_of::<SplitConfig>(),
        keys_of::<SubsetConfig>(),
        keys_of::<PassthroughConfig>(),
        keys_of::<SiteConfig>(),
        keys_of::<SiteTlsConfig>(),
        keys_of::<HstsConfig>(),
        keys_of::<ClientAuthConfig>(),
        keys_of::<SiteCacheConfig>(),
        keys_of::<CacheKeyConfig>(),
        keys_of::<CacheKeyQueryConfig>(),
        keys_of::<CacheBypassConfig>(),
        keys_of::<PurgeMethodConfig>(),
        keys_of::<RouteConfig>(),
        keys_of::<RedirectConfig>(),
        keys_of::<RespondConfig>(),
        keys_of::<FilesConfig>(),
        keys_of::<ConsulGatewayConfig>(),
        keys_of::<RateLimitConfig>(),
        keys_of::<ConcurrencyConfig>(),
        keys_of::<RequestIdConfig>(),
        keys_of::<RewriteConfig>(),
        keys_of::<HeaderEditsConfig>(),
        keys_of::<CorsConfig>(),
        keys_of::<CompressionConfig>(),
        keys_of::<AccessConfig>(),
        keys_of::<BasicAuthConfig>(),
        keys_of::<ApiKeysConfig>(),
        keys_of::<JwtConfig>(),
        keys_of::<ForwardAuthConfig>(),
    ]
    .into_iter()
    .collect()
}

/// What a type tells a deserializer before it is given anything: its name and its keys.
fn keys_of<'de, T: Deserialize<'de>>() -> (&'static str, &'static [&'static str]) {
    T::deserialize(Probe)
        .err()
        .and_then(|Told(keys)| keys)
        .unwrap_or_default()
}

struct Probe;

/// The error that ends a probe.
#[derive(Debug)]
struct Told(Option<(&'static str, &'static [&'static str])>);

impl<'de> Deserializer<'de> for Probe {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(Some((name, keys))))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only asked")
    }
}

impl std::error::Error for Told {}

impl de::Error for Told {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_schema_is_in_the_reference() {
        let page = Page {
            schema: json_schema(),
            keys: keys(),
            sections: Vec::new(),
        };
        let tables = page.schema["$defs"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, table)| (name.as_str(), table));
        for (name, table) in tables.chain([("", &page.schema)]) {
            let Some(properties) = table["properties"].as_object() else {
                continue;
            };
            let mut ordered = page.ordered(name);
            ordered.sort();
            assert_eq!(
                ordered,
                properties.keys().cloned().collect::<Vec<_>>(),
                "{name}"
            );
        }
    }

    #[test]
    fn tables_stand_under_their_headers() {
        let markdown = markdown();
        let headings: Vec<&str> = markdown
            .lines()
            .filter(|line| line.starts_with('#'))
            .collect();
        insta::assert_snapshot!(headings.join("\n"));
        assert!(markdown.contains("| `weight` | integer | `1` |"));
        assert!(markdown.contains("| `url` | origin URL | required |"));
        assert!(markdown.contains("| `drain` | duration | `\"30s\"` |"));
        assert!(markdown.contains("| `upstream_headers` | table of header values |  |"));
        assert!(markdown.contains(" `\"json\"`: A JSON object a line."));
    }
}
