//! The collection's format.

use serde::Deserialize;
use serde_json::Value;

/// Tests about one subject.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Suite {
    /// The subject.
    pub name: String,
    /// Its identifier.
    pub id: String,
    /// The site's `cache` table, if the collection's will not do.
    pub cache: Option<String>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// Requests that are made one after the other, and what is expected of each.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Test {
    /// What it is about, as a sentence.
    pub name: String,
    /// Its identifier, unique in all suites.
    pub id: String,
    /// What a failure means.
    #[serde(default)]
    pub kind: Kind,
    /// Tests without which this one says nothing.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// It is about caches in browsers.
    #[serde(default)]
    pub browser_only: bool,
    /// The requests.
    pub(super) requests: Vec<Step>,
}

/// What a failed test means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The cache breaks a rule.
    #[default]
    Required,
    /// The cache could do better.
    Optimal,
    /// Nothing: it asks how caches behave.
    Check,
}

/// One request, what the origin answers, and what is expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) request_method: Option<String>,
    pub(super) request_headers: Option<Vec<Field>>,
    pub(super) request_body: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) query_arg: Option<String>,
    pub(super) magic_ims: bool,
    pub(super) magic_locations: bool,
    pub(super) rfc850date: Vec<String>,
    pub(super) pause_after: bool,
    pub(super) disconnect: bool,
    pub(super) response_status: Option<(u16, String)>,
    pub(super) response_headers: Vec<Field>,
    #[serde(deserialize_with = "present")]
    pub(super) response_body: Option<Option<String>>,
    pub(super) check_body: Option<Value>,
    pub(super) expected_type: Option<Source>,
    pub(super) expected_status: Option<u16>,
    pub(super) expected_method: Option<String>,
    pub(super) expected_request_headers: Vec<Value>,
    pub(super) expected_response_headers: Vec<Value>,
    pub(super) expected_response_headers_missing: Vec<Value>,
    #[serde(deserialize_with = "present")]
    pub(super) expected_response_text: Option<Option<String>>,
    setup: bool,
    setup_tests: Vec<String>,
}

/// Where a response is expected to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    Cached,
    NotCached,
    EtagValidated,
    LmValidated,
}

/// A name, a value, and whether the client is expected to see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Vec<Value>")]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) is_compared: bool,
}

// === impl Step ===

impl Step {
    /// Whether this expectation only prepares what the test is about.
    pub(super) fn is_setup(&self, member: &str) -> bool {
        self.setup || self.setup_tests.iter().any(|name| name == member)
    }

    pub(super) fn method(&self) -> &str {
        self.request_method.as_deref().unwrap_or("GET")
    }
}

// === impl Source ===

impl Source {
    pub(super) fn is_validated(self) -> bool {
        matches!(self, Self::EtagValidated | Self::LmValidated)
    }
}

// === impl Field ===

impl From<Vec<Value>> for Field {
    fn from(mut parts: Vec<Value>) -> Self {
        parts.resize(3, Value::Null);
        Self {
            name: text(&parts[0]).to_owned(),
            is_compared: parts[2] != Value::Bool(false),
            value: parts.swap_remove(1),
        }
    }
}

/// The text of a value; empty if it is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Tells `null` from what is not there.
fn present<'de, D: serde::Deserializer<'de>>(
    source: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(source).map(Some)
}
