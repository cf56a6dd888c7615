//! What a site asks of the connection that a request comes on.

use http::header::{HeaderName, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use std::sync::Arc;
use tower_layer::Layer;

use super::{Context, Handler};
use crate::body::{Request, Response};
use crate::cache::Scheme;
use crate::downstream::tls::{ClientIdentity, Rules};
use crate::error::{Error, Kind};

/// What clients of a site have to do with TLS.
#[derive(Debug)]
pub(crate) struct SiteTls {
    pub(crate) rules: Arc<Rules>,
    pub(crate) redirect: Option<ToTls>,
}

/// Sends clients to the same address with TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToTls {
    pub(crate) status: StatusCode,
    pub(crate) port: Option<u16>,
}

/// Tells browsers to come with TLS only.
#[derive(Clone, Debug)]
pub(crate) struct HstsLayer(pub(crate) HeaderValue);

/// See [`HstsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Hsts<H> {
    inner: H,
    value: HeaderValue,
}

/// Asked for by certificate authorities, without TLS.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

// === impl SiteTls ===

impl SiteTls {
    /// An answer, if the request is not to be served as it came.
    ///
    /// # Errors
    ///
    /// It may not be served on this connection at all.
    pub(super) fn admit(
        &self,
        cx: &mut Context,
        request: &Request,
    ) -> Result<Option<Response>, Error> {
        // Another edge has let its client in, by the same rules.
        if cx.peering.is_asked {
            return Ok(None);
        }
        if cx.scheme == Scheme::Http
            && let Some(redirect) = &self.redirect
            && !request.uri().path().starts_with(CHALLENGES)
        {
            return redirect.answer(cx, request).map(Some);
        }
        let is_http2 = request.version() == Version::HTTP_2;
        let client = match &cx.connection.session {
            Some(session) => session.admit(&self.rules, is_http2)?,
            // TLS ended before us, or there is none: nobody has shown us anything.
            None if self.is_closed() => return Err(Error::new(Kind::Forbidden)),
            None => None,
        };
        if let Some(client) = client {
            cx.user = Some(Arc::clone(&client.name));
            cx.personal |= !client.fields.is_empty();
        }
        Ok(None)
    }

    fn is_closed(&self) -> bool {
        let auth = self.rules.auth.as_ref();
        auth.is_some_and(|auth| auth.is_required())
    }

    fn client<'a>(&self, cx: &'a Context) -> Option<&'a ClientIdentity> {
        // On the version of HTTP nothing depends that is told.
        let session = cx.connection.session.as_ref()?;
        session.admit(&self.rules, false).ok().flatten()
    }
}

/// Tells the origin whose certificate was verified. Where a site asks for certificates, nobody else's word counts, a
/// trusted proxy's neither.
pub(super) fn tell(headers: &mut HeaderMap, cx: &Context) {
    let Some(tls) = cx.site.as_ref().and_then(|site| site.tls.as_ref()) else {
        return;
    };
    if tls.rules.auth.is_none() || cx.peering.is_asked {
        return;
    }
    let said: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_about_client(name.as_str()))
        .cloned()
        .collect();
    for name in said {
        headers.remove(name);
    }
    let client = tls.client(cx);
    for (name, value) in client.iter().flat_map(|client| &client.fields) {
        headers.insert(name, value.clone());
    }
}

fn is_about_client(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with("client-cert") || name.starts_with("x-client-cert")
}

// === impl ToTls ===

impl ToTls {
    fn answer(self, cx: &Context, request: &Request) -> Result<Response, Error> {
        let target = match request.uri().path_and_query() {
            Some(target) if target.path().starts_with('/') => target.as_str(),
            _ => "/",
        };
        let host = cx.host.name();
        let location = match self.port {
            None | Some(443) => format!("https://{host}{target}"),
            Some(port) => format!("https://{host}:{port}{target}"),
        };
        let location = HeaderValue::try_from(location)
            .map_err(|error| Error::because(Kind::BadRequest, error))?;
        let mut response = Response::new(crate::Body::empty());
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}

// === impl HstsLayer ===

impl<H> Layer<H> for HstsLayer {
    type Service = Hsts<H>;

    fn layer(&self, inner: H) -> Hsts<H> {
        Hsts {
            inner,
            value: self.0.clone(),
        }
    }
}

// === impl Hsts ===

impl<H: Handler> Handler for Hsts<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let mut response = self.inner.handle(cx, request).await?;
        // RFC 6797 §7.2: never without TLS.
        if cx.scheme == Scheme::Https {
            let headers = response.headers_mut();
            headers.insert(STRICT_TRANSPORT_SECURITY, self.value.clone());
        }
        Ok(response)
    }
}
