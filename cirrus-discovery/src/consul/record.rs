//! Consul's records of instances.

use std::collections::{BTreeMap, HashMap};

use cirrus_core::config::OriginUrl;
use cirrus_core::discovery::{Endpoint, Endpoints};
use serde::Deserialize;
use serde_json::Value;

use super::{CheckPolicy, ConsulError, ConsulService};

/// What a list of instances says.
#[derive(Debug)]
pub(super) enum Said {
    /// There is no instance, well or not.
    Unknown,
    /// Those that take requests.
    Known(Endpoints),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    node: Node,
    service: Instance,
    #[serde(default)]
    checks: Option<Vec<Check>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
    #[serde(default)]
    meta: Option<Meta>,
}

type Meta = HashMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    #[serde(default)]
    address: String,
    port: u16,
    #[serde(default)]
    meta: Option<Meta>,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u32,
    warning: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

/// The worst that an instance's checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Passing,
    Warning,
    Critical,
}

/// Reads what the health endpoint says. Each record stands for itself.
///
/// # Errors
///
/// It is no list, or none of its records makes sense.
pub(super) fn read(body: &[u8], service: &ConsulService) -> Result<Said, ConsulError> {
    let records: Vec<Value> =
        serde_json::from_slice(body).map_err(|error| ConsulError::Answer(error.to_string()))?;
    if records.is_empty() {
        return Ok(Said::Unknown);
    }
    let (mut endpoints, mut bad) = (Vec::with_capacity(records.len()), 0);
    let many = records.len();
    for record in records {
        match endpoint(record, service) {
            Ok(endpoint) => endpoints.extend(endpoint),
            Err((record, why)) => {
                bad += 1;
                tracing::warn!(%service, record, why, "a record of Consul's makes no sense; the others stay");
            }
        }
    }
    if bad == many {
        let why = format!("none of {many} records of {service} makes sense");
        return Err(ConsulError::Answer(why));
    }
    Ok(Said::Known(endpoints.into_iter().collect()))
}

/// `None` for one that takes no requests; the error names the record.
fn endpoint(record: Value, service: &ConsulService) -> Result<Option<Endpoint>, (String, String)> {
    let name = record["Service"]["ID"].as_str().unwrap_or("?").to_owned();
    let read = || {
        let record: Record = serde_json::from_value(record).map_err(|e| e.to_string())?;
        let health = record.health();
        let takes = match service.policy {
            CheckPolicy::Passing => health == Health::Passing,
            CheckPolicy::Warning => health <= Health::Warning,
        };
        // Sick or well, it must make sense: otherwise it would be noticed only when it is needed.
        let url = record.url(service.tls)?;
        let labels: BTreeMap<_, _> = record
            .service
            .meta
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let mut endpoint = Endpoint::new(url)
            .with_weight(record.weight(health)?)
            .with_labels(labels);
        endpoint.priority = record.priority()?;
        endpoint.zone = record.meta_of_place("zone").map(Into::into);
        endpoint.sni = record.meta("sni").map(Into::into);
        Ok(takes.then_some(endpoint))
    };
    read().map_err(|why: String| (name, why))
}

// === impl Record ===

impl Record {
    fn health(&self) -> Health {
        let checks = self.checks.iter().flatten();
        let worst = checks.map(|check| match check.status.as_str() {
            "passing" => Health::Passing,
            "warning" => Health::Warning,
            _ => Health::Critical,
        });
        worst.max().unwrap_or(Health::Passing)
    }

    fn meta(&self, key: &str) -> Option<&str> {
        value(self.service.meta.as_ref(), key)
    }

    /// The instance's own word, or else its node's.
    fn meta_of_place(&self, key: &str) -> Option<&str> {
        self.meta(key)
            .or_else(|| value(self.node.meta.as_ref(), key))
    }

    /// Its own address goes before its node's.
    fn url(&self, tls: bool) -> Result<OriginUrl, String> {
        let host = match self.service.address.as_str() {
            "" => self.node.address.as_str(),
            own => own,
        };
        if host.is_empty() || self.service.port == 0 {
            return Err("an instance has an address and a port".into());
        }
        let scheme = match self.meta("scheme") {
            Some(scheme @ ("http" | "https")) => scheme,
            Some(other) => return Err(format!("its scheme is {other}")),
            None if tls => "https",
            None => "http",
        };
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let url = format!("{scheme}://{open}{host}{close}:{}", self.service.port);
        url.parse().map_err(|error| format!("{url}: {error}"))
    }

    fn priority(&self) -> Result<u8, String> {
        let Some(priority) = self.meta_of_place("priority") else {
            return Ok(0);
        };
        let bad = |_| format!("its priority is {priority}, not 0 to 255");
        priority.parse().map_err(bad)
    }

    /// What its meta value `weight` says, or else what Consul has for its health.
    fn weight(&self, health: Health) -> Result<u16, String> {
        if let Some(weight) = self.meta("weight") {
            let bad = |_| format!("its weight is {weight}, not 0 to 65535");
            return weight.parse().map_err(bad);
        }
        let weight = match (&self.service.weights, health) {
            (None, _) => 1,
            (Some(weights), Health::Warning) => weights.warning,
            (Some(weights), _) => weights.passing,
        };
        Ok(u16::try_from(weight).unwrap_or(u16::MAX))
    }
}

fn value<'m>(meta: Option<&'m Meta>, key: &str) -> Option<&'m str> {
    let value = meta?.get(key)?;
    (!value.is_empty()).then_some(value.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn known(records: Value, service: &str) -> Vec<(String, u16)> {
        let body = records.to_string();
        match read(body.as_bytes(), &service.parse().unwrap()).unwrap() {
            Said::Known(endpoints) => endpoints
                .iter()
                .map(|endpoint| (endpoint.url.to_string(), endpoint.weight))
                .collect(),
            Said::Unknown => panic!("unknown"),
        }
    }

    fn instance(port: u16, status: &str) -> Value {
        json!({
            "Node": { "Node": "n", "Address": "10.0.0.1" },
            "Service": { "ID": "x", "Service": "x", "Address": "", "Port": port,
                "Weights": { "Passing": 5, "Warning": 2 }, "Meta": null },
            "Checks": [{ "Status": "passing" }, { "Status": status }],
        })
    }

    #[test]
    fn the_worst_check_decides() {
        let all = json!([
            instance(1, "passing"),
            instance(2, "warning"),
            instance(3, "critical"),
            instance(4, "maintenance")
        ]);
        let is = |port, weight| (format!("http://10.0.0.1:{port}"), weight);
        assert_eq!(known(all.clone(), "x"), [is(1, 5)]);
        assert_eq!(known(all, "x?passing=warning"), [is(1, 5), is(2, 2)]);
    }

    #[test]
    fn its_own_words_go_first() {
        let mut own = instance(1, "passing");
        own["Service"]["Address"] = json!("fd00::1");
        own["Service"]["Meta"] = json!({ "weight": "9", "scheme": "https", "sni": "a.example" });
        assert_eq!(
            known(json!([own]), "x"),
            [("https://[fd00::1]:1".to_owned(), 9)]
        );
        assert_eq!(
            known(json!([instance(2, "passing")]), "x?scheme=https"),
            [("https://10.0.0.1:2".to_owned(), 5)]
        );
    }

    #[test]
    fn zone_and_priority_are_the_instances_or_its_nodes() {
        let mut of_node = instance(1, "passing");
        of_node["Node"]["Meta"] = json!({ "zone": "a", "priority": "1", "weight": "9" });
        let mut own = of_node.clone();
        own["Service"]["Port"] = json!(2);
        own["Service"]["Meta"] = json!({ "zone": "b", "priority": "2" });
        let mut bad = of_node.clone();
        bad["Service"]["Port"] = json!(3);
        bad["Service"]["Meta"] = json!({ "priority": "256" });
        let plain = instance(4, "passing");
        let body = json!([of_node, own, bad, plain]).to_string();
        let Ok(Said::Known(endpoints)) = read(body.as_bytes(), &"x".parse().unwrap()) else {
            panic!("known");
        };
        let place = |one: &Endpoint| (one.url.port(), one.zone.clone(), one.priority, one.weight);
        let places: Vec<_> = endpoints.iter().map(place).collect();
        let (a, b) = (Some("a".into()), Some("b".into()));
        assert_eq!(places, [(1, a, 1, 5), (2, b, 2, 5), (4, None, 0, 5)]);
    }

    #[test]
    fn a_record_that_makes_no_sense_takes_no_other_along() {
        let mut records = vec![
            json!(7),
            json!({}),
            instance(0, "passing"),
            instance(1, "passing"),
        ];
        let mut odd = instance(2, "passing");
        odd["Service"]["Address"] = json!("no host at all");
        let mut heavy = instance(3, "passing");
        heavy["Service"]["Meta"] = json!({ "weight": "heavy" });
        records.extend([odd, heavy]);
        assert_eq!(
            known(json!(records), "x"),
            [("http://10.0.0.1:1".to_owned(), 5)]
        );
        let service = "x".parse().unwrap();
        assert!(read(b"[7]", &service).is_err());
        assert!(read(b"{}", &service).is_err());
        assert!(matches!(read(b"[]", &service), Ok(Said::Unknown)));
        // Known, but nobody is well.
        assert_eq!(known(json!([instance(1, "critical")]), "x"), []);
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..64), port: u16, address in ".{0,12}", weight in ".{0,6}") {
            let service = "x".parse().unwrap();
            let _ = read(&body, &service);
            let mut record = instance(port, "passing");
            record["Service"]["Address"] = json!(address);
            record["Service"]["Meta"] = json!({ "weight": weight });
            let _ = read(json!([record]).to_string().as_bytes(), &service);
        }
    }
}
