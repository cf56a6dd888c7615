//! The request in question.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::body::{Body, Request};
use crate::cache::{Scheme, decoded};

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct Question {
    pub(super) method: Method,
    pub(super) scheme: Scheme,
    /// Path and query.
    pub(super) target: Uri,
    /// With `Host`.
    pub(super) headers: HeaderMap,
}

/// What was written is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidQuestion(String);

// === impl Question ===

impl Question {
    /// A GET for an absolute URL, `http` or `https`.
    ///
    /// # Errors
    ///
    /// It is not one.
    pub fn of(url: &str) -> Result<Self, InvalidQuestion> {
        let invalid = || {
            InvalidQuestion(format!(
                "{url:?} is not an absolute URL: write one such as \"https://shop.example/page?id=1\""
            ))
        };
        let uri: Uri = url
            .split('#')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| invalid())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(invalid()),
        };
        let host = uri.authority().ok_or_else(invalid)?.as_str();
        let host = HeaderValue::try_from(host).map_err(|_| invalid())?;
        let target = uri.path_and_query().cloned().ok_or_else(invalid)?;
        Ok(Self {
            method: Method::GET,
            scheme,
            target: target.into(),
            headers: [(HOST, host)].into_iter().collect(),
        })
    }

    /// With another method.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// With one more header line, `Name: value`. `Host` takes the place of the URL's.
    ///
    /// # Errors
    ///
    /// It is not one.
    pub fn with_header(mut self, line: &str) -> Result<Self, InvalidQuestion> {
        let field = || {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::try_from(value.trim()).ok()?))
        };
        let (name, value) = field().ok_or_else(|| {
            InvalidQuestion(format!(
                "{line:?} is not a header line: write \"Name: value\""
            ))
        })?;
        if name == HOST {
            self.headers.insert(name, value);
        } else {
            self.headers.append(name, value);
        }
        Ok(self)
    }

    /// `url=…`, and as often as they are wanted `method=…` and `header=…`, all escaped as in a form.
    pub(super) fn of_query(query: &str) -> Result<Self, InvalidQuestion> {
        let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
        let all = |name: &'static str| {
            pairs()
                .filter(move |(key, _)| *key == name)
                .map(|(_, value)| decoded(value))
        };
        let url = all("url").next().ok_or_else(|| {
            InvalidQuestion("which URL? `?url=https%3A%2F%2Fshop.example%2Fpage`".to_owned())
        })?;
        let mut question = Self::of(&url)?;
        for header in all("header") {
            question = question.with_header(&header)?;
        }
        let Some(method) = all("method").next() else {
            return Ok(question);
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| InvalidQuestion(format!("{method:?} is not a method")))?;
        Ok(question.with_method(method))
    }

    /// As it would come from a client.
    pub(super) fn request(&self) -> Box<Request> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        Box::new(request)
    }

    /// As it was asked.
    pub(super) fn url(&self) -> String {
        let host = self
            .headers
            .get(HOST)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let host = String::from_utf8_lossy(host);
        format!("{}://{host}{}", self.scheme.as_str(), self.target)
    }
}
