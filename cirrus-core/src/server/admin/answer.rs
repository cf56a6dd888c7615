//! What the admin listener answers with.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::body::{Body, Response};

/// A problem document (RFC 9457): why something was not done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// Further members.
    members: Map<String, Value>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            members: Map::new(),
            fields: Vec::new(),
        }
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// With a member that says more.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With a header field that the response must have.
    pub(super) fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let Problem {
            status,
            detail,
            mut members,
            fields,
        } = problem;
        members.insert("type".to_owned(), "about:blank".into());
        let title = status.canonical_reason().unwrap_or_default();
        members.insert("title".to_owned(), title.into());
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("detail".to_owned(), detail.into());
        let text = format!("{:#}\n", Value::Object(members));
        let mut response = respond(status, "application/problem+json", text.into());
        response.headers_mut().extend(fields);
        response
    }
}

pub(super) fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    respond(status, "text/plain; charset=utf-8", body.into())
}

pub(super) fn json(value: &Value) -> Response {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &Value) -> Response {
    respond(
        status,
        "application/json",
        Body::from(format!("{value:#}\n")),
    )
}

fn respond(status: StatusCode, form: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(form));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
