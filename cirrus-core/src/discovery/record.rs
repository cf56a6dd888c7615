//! How endpoints are written: in files, registries and what is kept on the disk.

use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Endpoint, Labels};
use crate::config::OriginUrl;

/// An endpoint as it is written in full.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: OriginUrl,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default)]
    sni: Option<Arc<str>>,
    #[serde(default)]
    zone: Option<Arc<str>>,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    labels: Labels,
}

fn one() -> u16 {
    1
}

// === impl Endpoint ===

/// A table with `url` and `weight`, and perhaps `sni`, `zone`, `priority` and `labels`.
impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let more = [
            self.sni.is_some(),
            self.zone.is_some(),
            self.priority > 0,
            !self.labels.is_empty(),
        ];
        let fields = 2 + more.iter().filter(|is_there| **is_there).count();
        let mut table = serializer.serialize_struct("Endpoint", fields)?;
        table.serialize_field("url", &self.url)?;
        table.serialize_field("weight", &self.weight)?;
        if let Some(sni) = &self.sni {
            table.serialize_field("sni", sni)?;
        }
        if let Some(zone) = &self.zone {
            table.serialize_field("zone", zone)?;
        }
        if self.priority > 0 {
            table.serialize_field("priority", &self.priority)?;
        }
        if !self.labels.is_empty() {
            table.serialize_field("labels", &self.labels)?;
        }
        table.end()
    }
}

/// A URL, or a table with `url`, and perhaps `weight` (1 by default), `sni`, `zone`, `priority` (0 by default) and `labels`.
/// Other fields are faults.
impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Endpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL such as \"http://10.0.0.7:8080\", or a table with `url`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Endpoint, E> {
        text.parse().map(Endpoint::new).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Endpoint {
            sni: written.sni,
            zone: written.zone,
            priority: written.priority,
            labels: written.labels,
            ..Endpoint::new(written.url).with_weight(written.weight)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        let url = "http://10.0.0.7:8080";
        let endpoint = Endpoint::new(url.parse().unwrap()).with_weight(3);
        let full = endpoint
            .clone()
            .with_sni("a.example")
            .in_zone("b")
            .with_priority(2)
            .with_labels(BTreeMap::from([("version".to_owned(), "v2".to_owned())]));
        for endpoint in [endpoint, full] {
            let text = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(serde_json::from_str::<Endpoint>(&text).unwrap(), endpoint);
        }
        let short: Endpoint = serde_json::from_str(&format!("{url:?}")).unwrap();
        assert_eq!(short, Endpoint::new(url.parse().unwrap()));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, told) in [
            ("3", "or a table with `url`"),
            ("\"10.0.0.7\"", "http"),
            (
                "{\"url\": \"http://a:1\", \"wieght\": 3}",
                "unknown field `wieght`",
            ),
            ("{\"weight\": 3}", "missing field `url`"),
            ("{\"url\": \"http://a:1\", \"weight\": 70000}", "70000"),
        ] {
            let error = serde_json::from_str::<Endpoint>(text).unwrap_err();
            assert!(error.to_string().contains(told), "{text}: {error}");
        }
    }
}
