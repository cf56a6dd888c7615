//! What etcd's JSON gateway says, and how it is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer};
use serde_json::{Value, json};

use super::EtcdError;
use super::prefix::Prefix;

/// Everything under a prefix at one revision.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<Pair>,
}

/// Whose state it is, and which. Without a revision it is none of a state.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub(super) cluster_id: String,
    #[serde(deserialize_with = "number")]
    pub(super) revision: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pair {
    #[serde(deserialize_with = "binary")]
    pub(super) key: Bytes,
    #[serde(default, deserialize_with = "binary")]
    pub(super) value: Bytes,
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    #[serde(default)]
    pub(super) result: Option<Told>,
    #[serde(default)]
    pub(super) error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    pub(super) header: Header,
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    /// What was asked for is older than anything that is kept.
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(default, rename = "type")]
    pub(super) kind: Kind,
    pub(super) kv: Pair,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Kind {
    #[default]
    Put,
    Delete,
}

#[derive(Debug, Deserialize)]
pub(super) struct LoggedIn {
    pub(super) token: String,
}

/// Asks for everything under a prefix.
pub(super) fn range(prefix: &Prefix) -> Value {
    json!({ "key": STANDARD.encode(&prefix.text), "range_end": STANDARD.encode(prefix.end()) })
}

/// Asks for every change from a revision on.
pub(super) fn watch(prefix: &Prefix, from: u64) -> Value {
    let mut create = range(prefix);
    create["start_revision"] = json!(from.to_string());
    json!({ "create_request": create })
}

pub(super) fn login(user: &str, password: &str) -> Value {
    json!({ "name": user, "password": password })
}

pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, EtcdError> {
    serde_json::from_slice(text).map_err(|error| EtcdError::Answer(error.to_string()))
}

/// Numbers of 64 bits are texts.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Plain(u64),
    }
    match Number::deserialize(deserializer)? {
        Number::Text(text) => text.parse().map_err(de::Error::custom),
        Number::Plain(number) => Ok(number),
    }
}

fn binary<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    let decoded = STANDARD.decode(text).map_err(de::Error::custom)?;
    Ok(decoded.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_etcd_3_4_says() {
        let header =
            r#""header":{"cluster_id":"15","member_id":"7","revision":"3","raft_term":"2"}"#;
        let kv = r#"{"key":"L3MvYQ==","create_revision":"2","mod_revision":"2","version":"1","value":"Imh0dHA6Ly9hOjEi"}"#;
        let range: Range =
            read(format!("{{{header},\"kvs\":[{kv}],\"count\":\"1\"}}").as_bytes()).unwrap();
        assert_eq!(
            (range.header.revision, &*range.header.cluster_id),
            (3, "15")
        );
        assert_eq!(
            (&*range.kvs[0].key, range.kvs[0].mod_revision),
            (&b"/s/a"[..], 2)
        );
        assert_eq!(&*range.kvs[0].value, br#""http://a:1""#);
        let empty: Range = read(format!("{{{header}}}").as_bytes()).unwrap();
        assert!(empty.kvs.is_empty());
        let told = |rest: &str| {
            let line: Line = read(format!("{{\"result\":{{{header}{rest}}}}}").as_bytes()).unwrap();
            line.result.unwrap()
        };
        assert!(told(",\"created\":true").created);
        let put = told(&format!(",\"events\":[{{\"kv\":{kv}}}]"));
        assert_eq!(put.events[0].kind, Kind::Put);
        let gone =
            told(r#","events":[{"type":"DELETE","kv":{"key":"L3MvYQ==","mod_revision":"3"}}]"#);
        assert_eq!(
            (gone.events[0].kind, gone.events[0].kv.value.len()),
            (Kind::Delete, 0)
        );
        let void = told(r#","canceled":true,"compact_revision":"3""#);
        assert!(void.canceled && void.compact_revision == 3);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..64), word in "\\PC{0,12}") {
            let _ = read::<Range>(&text);
            let _ = read::<Line>(&text);
            let record = json!({ "header": { "revision": word }, "kvs": [{ "key": word }] });
            let _ = read::<Range>(record.to_string().as_bytes());
        }
    }
}
