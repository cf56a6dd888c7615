//! An identifier for every request: for the origin, for the client, and for the log.

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_layer::Layer;

use super::{Context, Handler, chance};
use crate::body::{Request, Response};
use crate::config::RequestIdConfig;
use crate::error::{Error, Kind};

/// The longest identifier that is taken from a client.
const LONGEST: usize = 128;

/// Gives every request an identifier, or takes the client's.
#[derive(Clone, Debug)]
pub(crate) struct RequestIdLayer {
    header: HeaderName,
    trust: bool,
}

/// See [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub(crate) struct RequestId<H> {
    inner: H,
    layer: RequestIdLayer,
}

// === impl RequestIdLayer ===

impl RequestIdLayer {
    pub(crate) fn new(config: &RequestIdConfig) -> Self {
        Self {
            header: config.header.to_name(),
            trust: config.trust,
        }
    }

    fn choose(&self, cx: &Context, headers: &HeaderMap) -> Result<HeaderValue, Error> {
        let believed = self.trust || cx.snapshot.trusts(cx.connection.peer.ip());
        match only(headers, &self.header).filter(|id| believed && is_valid(id)) {
            Some(id) => Ok(id.clone()),
            None => made(),
        }
    }
}

impl<H> Layer<H> for RequestIdLayer {
    type Service = RequestId<H>;

    fn layer(&self, inner: H) -> RequestId<H> {
        let layer = self.clone();
        RequestId { inner, layer }
    }
}

// === impl RequestId ===

impl<H: Handler> Handler for RequestId<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        let header = &self.layer.header;
        let id = self.layer.choose(cx, request.headers())?;
        request.headers_mut().insert(header, id.clone());
        cx.request_id = Some(id.clone());
        match self.inner.handle(cx, request).await {
            Ok(mut response) => {
                response.headers_mut().insert(header, id);
                Ok(response)
            }
            Err(error) => Err(error.with_field(header.clone(), id)),
        }
    }
}

/// The value of a field that stands there once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_valid(id: &HeaderValue) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn made() -> Result<HeaderValue, Error> {
    let id = HeaderValue::try_from(format!("{:032x}", chance::bits()));
    id.map_err(|error| Error::because(Kind::Internal, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_short_visible_text_only() {
        let valid = |id: &[u8]| is_valid(&HeaderValue::from_bytes(id).unwrap());
        assert!(valid(b"a") && valid(b"0af7-x/y\"") && valid(&[b'x'; 128]));
        assert!(!valid(b"") && !valid(b"a b") && !valid(b"\xff") && !valid(&[b'x'; 129]));
    }

    #[test]
    fn makes_128_bits_in_hex() {
        let (one, other) = (made().unwrap(), made().unwrap());
        assert_eq!(one.len(), 32);
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
        assert_ne!(one, other);
    }
}
