//! Tells the origin who asked: `Forwarded` (RFC 7239), `X-Forwarded-*`, `Via` (RFC 9110 §7.6.3), `CDN-Loop` (RFC 8586).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, VIA};
use tower_layer::Layer;

use super::claims::Claims;
use super::{Context, Edits, Handler};
use crate::body::{Request, Response};
use crate::cache::Scheme;
use crate::downstream::hygiene;
use crate::error::{Error, Kind};

pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Sets the forwarding fields, then makes the changes that site and route want in every request to their origins.
#[derive(Clone, Debug)]
pub(crate) struct ForwardedLayer {
    edits: Edits,
}

/// See [`ForwardedLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Forwarded<H> {
    inner: H,
    edits: Edits,
}

// === impl ForwardedLayer ===

impl ForwardedLayer {
    /// With changes that win over everything else, `Host` included.
    pub(crate) fn new(edits: Edits) -> Self {
        Self { edits }
    }
}

impl<H> Layer<H> for ForwardedLayer {
    type Service = Forwarded<H>;

    fn layer(&self, inner: H) -> Forwarded<H> {
        Forwarded {
            inner,
            edits: self.edits.clone(),
        }
    }
}

// === impl Forwarded ===

impl<H: Handler> Handler for Forwarded<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        let version = request.version();
        let headers = request.headers_mut();
        refuse_loop(headers, &cx.worker.engine.token)?;
        hygiene::set_host(headers, &cx.host)?;
        cx.claims = None;
        if cx.peering.is_asked || cx.snapshot.trusts(cx.connection.peer.ip()) {
            extend_claims(headers, cx);
            headers.append(VIA, via(version));
            headers.append(&CDN_LOOP, cx.worker.engine.token.clone());
        } else {
            remove_claims(headers);
            let claims = claims(cx, version);
            if self.edits.is_empty() {
                cx.claims = Some(claims);
            } else {
                claims.append_to(headers);
            }
        }
        super::tls::tell(headers, cx);
        self.edits.apply(headers);
        self.inner.handle(cx, request).await
    }
}

/// The scheme the client used. Behind a proxy that ends TLS and is trusted, that is what it says: responses to `http` and
/// `https` must not be taken for each other.
pub(super) fn scheme(cx: &Context, headers: &HeaderMap) -> Scheme {
    let own = cx.connection.scheme;
    if !cx.snapshot.trusts(cx.connection.peer.ip()) {
        return own;
    }
    match headers.get(&X_FORWARDED_PROTO).map(HeaderValue::as_bytes) {
        Some(b"https") => Scheme::Https,
        Some(b"http") => Scheme::Http,
        _ => own,
    }
}

/// A request that has been through this very process would go round for ever.
pub(super) fn refuse_loop(headers: &HeaderMap, token: &HeaderValue) -> Result<(), Error> {
    if !headers.contains_key(&CDN_LOOP) {
        return Ok(());
    }
    let token = token.to_str().unwrap_or_default();
    let mut members = headers
        .get_all(&CDN_LOOP)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    let seen = members.any(|member| {
        member
            .split(';')
            .next()
            .is_some_and(|name| name.trim() == token)
    });
    if seen {
        Err(Error::new(Kind::Loop))
    } else {
        Ok(())
    }
}

/// What is known of the client takes the place of whatever it says about itself.
fn claims(cx: &Context, version: Version) -> Arc<Claims> {
    let make = || {
        let peer = cx.connection.peer.ip().to_string();
        let [peer, host, element] = [peer, cx.host.as_str().to_owned(), element(cx)].map(value);
        Arc::new(Claims::new(vec![
            (X_FORWARDED_FOR.clone(), peer),
            (X_FORWARDED_PROTO.clone(), hygiene::scheme_value(cx.scheme)),
            (X_FORWARDED_HOST.clone(), host),
            (FORWARDED, element),
            (VIA, via(version)),
            (CDN_LOOP.clone(), cx.worker.engine.token.clone()),
        ]))
    };
    match &cx.activity {
        Some(activity) => activity.claims.of(&cx.host, cx.scheme, version, make),
        None => make(),
    }
}

/// A trusted proxy's words stand, and ours are added.
fn extend_claims(headers: &mut HeaderMap, cx: &Context) {
    extend(
        headers,
        &X_FORWARDED_FOR,
        cx.connection.peer.ip().to_string(),
    );
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(&X_FORWARDED_PROTO, hygiene::scheme_value(cx.scheme));
    }
    if !headers.contains_key(&X_FORWARDED_HOST) {
        extend(headers, &X_FORWARDED_HOST, cx.host.as_str().to_owned());
    }
    extend(headers, &FORWARDED, element(cx));
}

/// Removes what a client says about itself. CGI, WSGI and PHP read `X_Forwarded_For` as if it were `X-Forwarded-For`, so
/// names are compared as they read them.
fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name.as_str()))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

fn is_claim(name: &str) -> bool {
    // The forwarding fields begin with one of these letters; nearly all others do not.
    if !name.starts_with(['x', 'f', 'c']) {
        return false;
    }
    let is = |claim: &str| {
        let same = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
        name.len() >= claim.len() && name.bytes().zip(claim.bytes()).all(same)
    };
    is("x-forwarded-")
        || is("client-cert")
        || is("x-client-cert")
        || (name.len() == 9 && (is("x-real-ip") || is("forwarded")))
        || (name.contains('_') && is("cdn-loop"))
}

/// One element of `Forwarded` (RFC 7239 §4).
fn element(cx: &Context) -> String {
    let mut element = String::with_capacity(64);
    let host = cx.host.as_str();
    let _ = match cx.connection.peer.ip() {
        IpAddr::V4(peer) => write!(element, "for={peer}"),
        // RFC 7239 §6.1: an IPv6 address is bracketed, and so quoted.
        IpAddr::V6(peer) => write!(element, "for=\"[{peer}]\""),
    };
    let _ = write!(element, ";host=\"{host}\";proto={}", cx.scheme.as_str());
    element
}

/// Addresses and hosts are valid in any field.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or(const { HeaderValue::from_static("unknown") })
}

/// Adds a member to a list, which may stand in several fields.
fn extend(headers: &mut HeaderMap, name: &HeaderName, last: String) {
    let mut list: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let whole = if list.is_empty() {
        last
    } else {
        list.push(&last);
        list.join(", ")
    };
    // The bytes are taken as they are; addresses and hosts are valid in any field.
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(whole)) {
        headers.insert(name, value);
    }
}

fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2.0 cirrus",
        Version::HTTP_10 => "1.0 cirrus",
        _ => "1.1 cirrus",
    })
}
