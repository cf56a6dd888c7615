//! The request finds its site and route, and goes down the route's stack.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::{Context, Handler, Stack, forwarded};
use crate::body::{Body, Request, Response};
use crate::cache::Scheme;
use crate::config::Site;
use crate::downstream::hygiene::{self, has_pair};
use crate::error::{Error, Kind};
use crate::routing::Found;

/// Makes the request fit to be routed, and learns its host.
#[derive(Clone, Debug)]
pub(crate) struct Admit<H>(pub(crate) H);

/// Finds the site and the route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch;

/// Refuses what no route of its site matches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unmatched;

impl<H: Handler> Handler for Admit<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        cx.scheme = match peers_scheme(cx, &mut request) {
            Some(scheme) => scheme,
            None => forwarded::scheme(cx, request.headers()),
        };
        let known = cx.activity.as_ref().map(|activity| &activity.host);
        let (request, host) = hygiene::admit(request, &cx.connection, cx.scheme, known)?;
        cx.host = host;
        self.0.handle(cx, request).await
    }
}

/// The scheme that the client of another edge used, if that edge asks.
fn peers_scheme(cx: &mut Context, request: &mut Request) -> Option<Scheme> {
    let peers = cx.snapshot.peers.as_deref()?;
    let scheme = peers.recognise(request, cx.worker.engine.clock.now())?;
    cx.peering.is_asked = true;
    // It is told more than is stored.
    cx.writes_lines = false;
    Some(scheme)
}

impl Handler for Dispatch {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        if let Some(token) = request.uri().path().strip_prefix(CHALLENGE)
            && let Some(answer) = Box::pin(answer_challenge(cx, token)).await
        {
            return Ok(answer);
        }
        let snapshot = Arc::clone(&cx.snapshot);
        let site = snapshot.hosts.lookup(cx.host.name()).ok_or(Kind::NoSite)?;
        cx.site = Some(Arc::clone(site));
        if let Some(tls) = &site.tls
            && let Some(answer) = tls.admit(cx, &request)?
        {
            return Ok(answer);
        }
        let stack = look_up(site, &request).unwrap_or(&site.unmatched);
        stack.handle(cx, request).await
    }
}

impl Handler for Unmatched {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        match cx.site.as_deref().map(|site| look_up(site, &request)) {
            Some(Err(Unserved::Method(allowed))) => Err(not_allowed(&allowed)),
            _ => Err(Kind::NoRoute.into()),
        }
    }
}

/// Where certificate authorities look (RFC 8555 §8.3).
const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// Before routing: a name gets its certificate whatever its routes do, and even if it has no site yet.
async fn answer_challenge(cx: &Context, token: &str) -> Option<Response> {
    let certs = cx.worker.engine.certs.as_ref()?;
    let answer = certs.http_challenge(token).await?;
    let mut response = Response::new(Body::full(answer));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}

/// Why no route takes a request.
enum Unserved {
    Path,
    /// Routes match, for these methods only.
    Method(Vec<http::Method>),
}

/// Routes see slashes in a row as one, since most origins do: otherwise `//admin` would pass a guard on `/admin`. The
/// origin is asked for what the client wrote.
fn look_up<'t>(site: &'t Site, request: &Request) -> Result<&'t Stack, Unserved> {
    let uri = request.uri();
    let path = seen_path(uri.path());
    match site
        .table
        .lookup(request.method(), &path, uri.query(), request.headers())
    {
        Found::Route { value, .. } => Ok(value),
        Found::MethodNotAllowed(allowed) => Err(Unserved::Method(allowed.to_vec())),
        Found::None => Err(Unserved::Path),
    }
}

/// A path as routes see it.
pub(crate) fn seen_path(path: &str) -> Cow<'_, str> {
    if has_pair(path, b'/') {
        Cow::Owned(merge_slashes(path))
    } else {
        Cow::Borrowed(path)
    }
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !merged.ends_with('/') {
            merged.push(letter);
        }
    }
    merged
}

fn not_allowed(allowed: &[http::Method]) -> Error {
    let names: Vec<_> = allowed.iter().map(http::Method::as_str).collect();
    match HeaderValue::from_str(&names.join(", ")) {
        Ok(value) => Error::not_allowed(value),
        Err(_) => Error::new(Kind::MethodNotAllowed),
    }
}
