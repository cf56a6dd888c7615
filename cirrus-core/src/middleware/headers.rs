//! Header fields that a site or route changes.

use std::sync::Arc;

use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_layer::Layer;

use super::{Context, Handler};
use crate::body::{Request, Response};
use crate::error::Error;

/// Changes to a header, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits(Arc<[Edit]>);

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Remove(HeaderName),
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
}

/// Changes the header of every response that passes it.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHeadersLayer(pub(crate) Edits);

/// See [`ResponseHeadersLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ResponseHeaders<H> {
    inner: H,
    edits: Edits,
}

// === impl Edits ===

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for edit in &*self.0 {
            match edit {
                Edit::Remove(name) => drop(headers.remove(name)),
                Edit::Set(name, value) => drop(headers.insert(name, value.clone())),
                Edit::Add(name, value) => drop(headers.append(name, value.clone())),
            }
        }
    }
}

impl FromIterator<Edit> for Edits {
    fn from_iter<I: IntoIterator<Item = Edit>>(edits: I) -> Self {
        Self(edits.into_iter().collect())
    }
}

/// Says that the response depends on this request field, unless that is said already.
pub(super) fn add_vary(headers: &mut HeaderMap, name: &'static str) {
    let is_said = headers
        .get_all(VARY)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|member| member == b"*" || member.eq_ignore_ascii_case(name.as_bytes()));
    if !is_said {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

// === impl ResponseHeadersLayer ===

impl<H> Layer<H> for ResponseHeadersLayer {
    type Service = ResponseHeaders<H>;

    fn layer(&self, inner: H) -> ResponseHeaders<H> {
        ResponseHeaders {
            inner,
            edits: self.0.clone(),
        }
    }
}

// === impl ResponseHeaders ===

impl<H: Handler> Handler for ResponseHeaders<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let mut response = self.inner.handle(cx, request).await?;
        self.edits.apply(response.headers_mut());
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        add_vary(&mut headers, "Accept-Encoding");
        let lines = headers.get_all(VARY).iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn vary_is_said_once() {
        assert_eq!(vary(&[]), ["Accept-Encoding"]);
        assert_eq!(vary(&["Origin"]), ["Origin", "Accept-Encoding"]);
        assert_eq!(vary(&["x,accept-encoding"]), ["x,accept-encoding"]);
        assert_eq!(vary(&["x", "*"]), ["x", "*"]);
        assert_eq!(vary(&["x-accept-encoding"]).len(), 2);
    }

    #[test]
    fn edits_are_made_in_their_order() {
        let (name, value) = (HeaderName::from_static, HeaderValue::from_static);
        let edits: Edits = [
            Edit::Remove(name("x-a")),
            Edit::Set(name("x-b"), value("2")),
            Edit::Add(name("x-a"), value("3")),
            Edit::Add(name("x-b"), value("4")),
        ]
        .into_iter()
        .collect();
        let mut headers = HeaderMap::new();
        for (field, text) in [("x-a", "1"), ("x-b", "0"), ("x-b", "1"), ("x-c", "5")] {
            headers.append(field, value(text));
        }
        edits.apply(&mut headers);
        let all = |field: &str| headers.get_all(field).iter().cloned().collect::<Vec<_>>();
        assert_eq!(all("x-a"), ["3"]);
        assert_eq!(all("x-b"), ["2", "4"]);
        assert_eq!(all("x-c"), ["5"]);
    }
}
