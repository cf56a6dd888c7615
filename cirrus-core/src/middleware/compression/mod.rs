//! Content codings: which one a response gets, and giving it.
//!
//! Two layers with the cache between them. [`NegotiateLayer`] above it replaces `Accept-Encoding` by the one coding that
//! will be used, so that the cache holds at most one variant for each. [`CompressLayer`] below it compresses what the
//! origin gives uncompressed, once for all who are served from the cache.

mod accept;
mod body;
mod encoder;
mod head;

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body as _;
use tower_layer::Layer;

use self::accept::choose;
#[cfg(fuzzing)]
pub use self::accept::fuzz::accept_encoding;
use self::body::Compressed;
use self::encoder::Encoder;
use self::head::{Known, forbids};
use super::{Context, Handler};
use crate::body::{Body, Request, Response};
use crate::config::{CompressionLevel, ContentCoding, MediaRange};
use crate::error::Error;

/// What is compressed, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) offered: Vec<ContentCoding>,
    pub(crate) types: Vec<MediaRange>,
    pub(crate) min_size: u64,
    pub(crate) level: CompressionLevel,
}

/// Chooses the coding, and has the request ask for nothing else.
#[derive(Clone, Debug)]
pub(crate) struct NegotiateLayer(pub(crate) Arc<Rules>);

/// See [`NegotiateLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Negotiate<H> {
    inner: H,
    rules: Arc<Rules>,
}

/// Gives responses the coding that the request asks for.
#[derive(Clone, Debug)]
pub(crate) struct CompressLayer(pub(crate) Arc<Rules>);

/// See [`CompressLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Compress<H> {
    inner: H,
    rules: Arc<Rules>,
}

// === impl NegotiateLayer ===

impl<H> Layer<H> for NegotiateLayer {
    type Service = Negotiate<H>;

    fn layer(&self, inner: H) -> Negotiate<H> {
        Negotiate {
            inner,
            rules: Arc::clone(&self.0),
        }
    }
}

// === impl Negotiate ===

impl<H: Handler> Handler for Negotiate<H> {
    fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        negotiate(request.headers_mut(), &self.rules.offered);
        self.inner.handle(cx, request)
    }
}

/// `identity` is said rather than nothing: nothing leaves the origin free to use any coding (RFC 9110 §12.5.3).
fn negotiate(headers: &mut HeaderMap, offered: &[ContentCoding]) {
    let mut coding = choose(headers, offered);
    if coding.is_some() && headers.contains_key(RANGE) {
        if headers.get(IF_RANGE).is_some_and(is_date) {
            // Dates do not tell the coded content from the plain: the rest of one would be put behind the other.
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
        } else {
            // Parts are those of the plain content.
            coding = None;
        }
    }
    if forbids(headers) {
        coding = None;
    }
    let name = coding.map_or("identity", ContentCoding::name);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(name));
}

fn is_date(condition: &HeaderValue) -> bool {
    !condition.as_bytes().contains(&b'"')
}

// === impl CompressLayer ===

impl<H> Layer<H> for CompressLayer {
    type Service = Compress<H>;

    fn layer(&self, inner: H) -> Compress<H> {
        Compress {
            inner,
            rules: Arc::clone(&self.0),
        }
    }
}

// === impl Compress ===

impl<H: Handler> Handler for Compress<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        let coding = choose(request.headers(), &self.rules.offered);
        let is_head = *request.method() == Method::HEAD;
        let known = Known::of(request.headers().get_all(IF_NONE_MATCH));
        head::strengthen(request.headers_mut(), &IF_MATCH);
        let mut response = self.inner.handle(cx, request).await?;
        if response.status() == http::StatusCode::NOT_MODIFIED {
            known.not_modified(response.headers_mut());
            return Ok(response);
        }
        let length = length(&response, is_head);
        if self.rules.concern(&response, length) {
            let is_plain = head::is_plain(response.headers());
            head::vary(response.headers_mut());
            if let Some(coding) = coding.filter(|_| is_plain) {
                return Ok(self.compress(cx, response, coding, length, is_head));
            }
        }
        Ok(response)
    }
}

impl<H> Compress<H> {
    fn compress(
        &self,
        cx: &Context,
        mut response: Response,
        coding: ContentCoding,
        length: Option<u64>,
        is_head: bool,
    ) -> Response {
        if is_head {
            head::coded(response.headers_mut(), coding);
            return response.map(|_| Body::empty());
        }
        let encoder = match Encoder::new(coding, self.rules.level, length) {
            Ok(encoder) => encoder,
            Err(error) => {
                tracing::warn!(%error, coding = coding.name(), "a response is not compressed");
                return response;
            }
        };
        head::coded(response.headers_mut(), coding);
        let worker = Arc::clone(&cx.worker);
        response.map(|body| Body::stream(Compressed::new(body, encoder, worker)))
    }
}

// === impl Rules ===

impl Rules {
    /// Whether a response like this may be compressed, for clients that want that.
    fn concern(&self, response: &Response, length: Option<u64>) -> bool {
        head::has_whole_content(response.status(), response.headers())
            && length.is_none_or(|length| length >= self.min_size)
            && head::media_type(response.headers())
                .is_some_and(|media| self.types.iter().any(|range| range.covers(media)))
    }
}

/// The length of the content, if it is known. Nothing at all says nothing about what a GET would get.
fn length(response: &Response, is_head: bool) -> Option<u64> {
    let exact = || response.body().size_hint().exact();
    head::length(response.headers()).or_else(|| exact().filter(|&length| length > 0 || !is_head))
}
