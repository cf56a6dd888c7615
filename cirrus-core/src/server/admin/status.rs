//! How the edge is, and what is in force.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::State;
use super::answer::text;
use crate::body::{Body, Response};
use crate::config::Config;
use crate::discovery::ServiceName;
use crate::discovery::feed::Report;
use crate::metrics;

// === impl State ===

impl State {
    pub(super) fn metrics(&self) -> Response {
        let mut response = Response::new(Body::from(metrics::render(self)));
        let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(form));
        response
    }

    pub(super) fn ready(&self) -> Response {
        if self.drain.has_begun() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        text(StatusCode::OK, "ready\n")
    }

    pub(super) fn status(&self) -> Value {
        let snapshot = self.engine.live.now();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workers": self.workers.len(),
            "draining": self.drain.has_begun(),
            "sites": snapshot.sites.len(),
            "clusters": snapshot.all_clusters().map(|cluster| {
                let (endpoints, up) = cluster.count();
                let mut told = json!({"name": &*cluster.name, "endpoints": endpoints, "up": up});
                if let (Some(service), Some(report)) = (&cluster.service, cluster.discovery()) {
                    told["discovery"] = discovery(service, &report);
                }
                told
            }).collect::<Vec<_>>(),
        })
    }

    /// What is in force, and why the last attempt to change it failed, if it did.
    pub(super) fn config(&self) -> Value {
        let snapshot = self.engine.live.now();
        let refusal = self.status.refusal().map(|refusal| {
            json!({"at": refusal.at.as_secs(), "error": refusal.error, "faults": refusal.faults})
        });
        json!({
            "revision": snapshot.revision,
            "applied": snapshot.applied.as_secs(),
            "refused": refusal.map(without_passwords),
            "config": masked(&snapshot.config),
        })
    }
}

/// How the endpoints of a cluster are found, and how old they are.
fn discovery(service: &ServiceName, report: &Report) -> Value {
    let mut told = json!({
        "service": service.as_str(),
        "age": report.age().map(|age| age.as_secs_f64()),
        "restored": report.is_restored,
        "error": report.error,
        "errors": report.errors,
        "held": report.held.map(|held| {
            json!({"endpoints": held.endpoints, "age": held.age().as_secs_f64()})
        }),
        "holds": report.holds,
    });
    mask(&mut told);
    told
}

/// The configuration without the hashes of passwords and keys: whoever has one can try words at leisure.
fn masked(config: &Config) -> Value {
    let mut config = json!(config);
    mask(&mut config);
    config
}

/// Tables, and which of their keys hold names with hashes.
const SECRETS: [(&str, &str); 4] = [
    ("basic_auth", "users"),
    ("api_keys", "keys"),
    ("admin", "tokens"),
    ("purge", "keys"),
];

/// Tables, and which of their keys is a secret in plain text.
const PLAIN_SECRETS: [(&str, &str); 5] = [
    ("consul", "token"),
    ("etcd", "password"),
    ("redis", "password"),
    ("sticky", "secret"),
    ("peers", "key"),
];

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (table, secret) in PLAIN_SECRETS {
                let table = fields.get_mut(table);
                let secret = table.and_then(|table| table.get_mut(secret));
                if let Some(secret) = secret.filter(|secret| !secret.is_null()) {
                    *secret = "…".into();
                }
            }
            for (table, secrets) in SECRETS {
                let table = fields
                    .get_mut(table)
                    .and_then(|table| table.get_mut(secrets));
                let hashes = table.and_then(Value::as_object_mut);
                for (_, hash) in hashes.into_iter().flatten() {
                    *hash = "…".into();
                }
            }
            fields.values_mut().for_each(mask);
        }
        Value::Array(elements) => elements.iter_mut().for_each(mask),
        Value::String(text) => mask_url(text),
        _ => {}
    }
}

fn without_passwords(mut value: Value) -> Value {
    mask(&mut value);
    value
}

/// Hides the passwords of URLs: `redis://user:…@host`. Rather too much than too little, so also in what is no URL.
fn mask_url(text: &mut String) {
    let mut from = 0;
    while let Some(begin) = text[from..].find("://").map(|at| from + at + "://".len()) {
        let is_end = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
        let end = text[begin..]
            .find(is_end)
            .map_or(text.len(), |at| begin + at);
        let login = text[begin..end]
            .rfind('@')
            .map_or("", |at| &text[begin..begin + at]);
        let (start, stop) = (login.find(':'), begin + login.len());
        if let Some(colon) = start {
            text.replace_range(begin + colon + 1..stop, "…");
        }
        from = begin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;

    #[test]
    fn no_secret_of_the_configuration_is_shown() {
        let (config, _) = Config::parse(
            "
            consul.token = 'hidden-of-consul'
            discovery.etcd = { user = 'a', password = 'hidden-of-etcd' }
            discovery.redis.password = 'hidden-of-redis'
            cache.peers = { own = 'http://a:1', group = [{ url = 'http://a:1' }], key = 'hidden-of-peers!' }
            [[site]]
            hosts = ['a.example']
            origin = [{ url = 'http://a:1' }]
            balance.sticky.secret = 'hidden-of-sessions'
            ",
            Format::Toml,
        )
        .unwrap();
        assert!(config.cache.peers.is_some(), "it was understood");
        let shown = masked(&config).to_string();
        assert_eq!(shown.matches("\"…\"").count(), 5, "{shown}");
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (written, told) in [
            ("redis://edge:secret@a/1", "redis://edge:…@a/1"),
            ("redis://:se:cr@t/@a", "redis://:…@a"),
            (
                "no: \"rediss://u:p@a\" or redis://v:q@b",
                "no: \"rediss://u:…@a\" or redis://v:…@b",
            ),
            ("http://a:80/b", "http://a:80/b"),
            ("redis://edge@a", "redis://edge@a"),
            ("://", "://"),
        ] {
            let mut text = written.to_owned();
            mask_url(&mut text);
            assert_eq!(text, told);
        }
    }
}
