//! Which other origins' scripts may read the responses: CORS, as the Fetch standard has it.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tower_layer::Layer;

use super::headers::add_vary;
use super::{Context, Handler};
use crate::body::{Request, Response};
use crate::config::WebOrigin;
use crate::error::Error;

/// The fields that decide: an origin's own must not say otherwise than its configuration here.
static FIELDS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// Answers preflights, and says on every other response who may read it.
#[derive(Clone, Debug)]
pub(crate) struct CorsLayer(Arc<Rules>);

/// See [`CorsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Cors<H> {
    inner: H,
    rules: Arc<Rules>,
}

/// Who may do what. The lists are written as they are sent; one that is empty is not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) origins: Vec<WebOrigin>,
    pub(crate) methods: Option<HeaderValue>,
    pub(crate) headers: Option<HeaderValue>,
    pub(crate) expose: Option<HeaderValue>,
    pub(crate) credentials: bool,
    pub(crate) max_age: Option<HeaderValue>,
}

// === impl Rules ===

impl Rules {
    fn is_for_any(&self) -> bool {
        self.origins.iter().any(WebOrigin::is_any)
    }

    /// What is said to whoever asks: `*` to all, or the origin itself if it is among those that may.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        if self.is_for_any() {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin?.to_str().ok()?;
        let is_known = self.origins.iter().any(|known| known.covers(text));
        is_known.then(|| origin.cloned()).flatten()
    }

    /// Replaces what the response says about who may read it. `true` if whoever asked may.
    fn sign(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) -> bool {
        for name in &FIELDS {
            headers.remove(name);
        }
        if !self.is_for_any() {
            // Also where nobody is named: a cache must not take it for what another origin would get.
            add_vary(headers, "Origin");
        }
        let Some(allowed) = self.allowed(origin) else {
            return false;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        true
    }

    fn preflight(&self, origin: Option<&HeaderValue>) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if self.sign(headers, origin) {
            for (name, value) in [
                (ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
                (ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
                (ACCESS_CONTROL_MAX_AGE, &self.max_age),
            ] {
                headers.extend(value.clone().map(|value| (name, value)));
            }
        }
        response
    }
}

/// A browser that asks for leave (Fetch §3.2.2), and not an `OPTIONS` for the origin.
fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

// === impl CorsLayer ===

impl CorsLayer {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(Arc::new(rules))
    }
}

impl<H> Layer<H> for CorsLayer {
    type Service = Cors<H>;

    fn layer(&self, inner: H) -> Cors<H> {
        Cors {
            inner,
            rules: Arc::clone(&self.0),
        }
    }
}

// === impl Cors ===

impl<H: Handler> Handler for Cors<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let origin = request.headers().get(ORIGIN).cloned();
        if is_preflight(&request) {
            return Ok(self.rules.preflight(origin.as_ref()));
        }
        let mut response = self.inner.handle(cx, request).await?;
        let headers = response.headers_mut();
        if self.rules.sign(headers, origin.as_ref())
            && let Some(expose) = &self.rules.expose
        {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        Ok(response)
    }
}
