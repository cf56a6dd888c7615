//! Which requests of a route are looked for in the store, under which key, and how long they wait for each other.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method};

use super::control::Control;
use super::key::{CacheKey, Scheme};
use super::keying::{Keying, decoded, name, named_cookies};
use crate::body::Request;
use crate::config::NamePattern;
use crate::middleware::{Context, seen_path};
use crate::routing::{Host, PathPattern};

/// What a route says about its requests, as far as the cache is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lookups {
    /// `None`: the URL as it stands is the key.
    pub(crate) keying: Option<Keying>,
    /// The ways in which the site's routes make keys, this one among them, where they are not the plain one.
    pub(crate) site_keyings: Arc<[Keying]>,
    pub(crate) bypass: Option<Bypass>,
    /// Clients' `Cache-Control` counts for nothing.
    pub(crate) ignores_control: bool,
    /// How long a request waits for another one's answer before it asks itself.
    pub(crate) lock_timeout: Duration,
    /// `Cache-Status` tells the key.
    pub(crate) shows_key: bool,
}

/// Which requests neither get a stored response nor have theirs stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bypass {
    pub(crate) methods: Box<[Method]>,
    pub(crate) paths: Box<[PathPattern]>,
    pub(crate) headers: Box<[HeaderName]>,
    pub(crate) cookies: Box<[NamePattern]>,
    pub(crate) query: Box<[NamePattern]>,
}

/// What a request was before it was made into what its key says.
#[derive(Debug)]
pub(super) struct Adapted {
    host: Option<Host>,
}

// === impl Lookups ===

impl Default for Lookups {
    fn default() -> Self {
        Self {
            keying: None,
            site_keyings: Arc::default(),
            bypass: None,
            ignores_control: false,
            lock_timeout: Duration::from_secs(5),
            shows_key: false,
        }
    }
}

impl Lookups {
    /// What the client wants of caches. Where that is ignored, `only-if-cached` still counts: it saves the origin a
    /// request, and costs nothing but its own answer.
    pub(super) fn control(&self, headers: &HeaderMap) -> Control {
        let control = Control::of_request(headers);
        if !self.ignores_control {
            return control;
        }
        Control {
            only_if_cached: control.only_if_cached,
            ..Control::default()
        }
    }

    /// Why this request passes the store by, if it does: a word for `Cache-Status`.
    pub(super) fn bypassed(&self, request: &Request) -> Option<&'static str> {
        self.bypass.as_ref()?.reason(request)
    }

    /// Makes the request into what its key says, below and in the key.
    pub(super) fn adapt(&self, cx: &mut Context, request: &mut Request) -> Adapted {
        if self.keying.is_none() {
            return Adapted { host: None };
        }
        let asked = cx.host.clone();
        self.adapt_to(&mut cx.host, request);
        Adapted { host: Some(asked) }
    }

    /// [`adapt`](Self::adapt), for this host; `false` if it is as it was.
    pub(super) fn adapt_to(&self, host: &mut Host, request: &mut Request) -> bool {
        let Some(keying) = &self.keying else {
            return false;
        };
        let target = request.uri().path_and_query();
        let target = target.and_then(|target| keying.target(target));
        let shared = keying.host.as_ref().filter(|shared| *shared != host);
        let is_adapted = target.is_some() || shared.is_some();
        if let Some(target) = target {
            *request.uri_mut() = target.into();
        }
        if let Some(shared) = &keying.host {
            // A trusted proxy's word would tell the origin a host that is not in the key.
            request.headers_mut().remove("x-forwarded-host");
            request.headers_mut().remove(http::header::FORWARDED);
            host.clone_from(shared);
        }
        is_adapted
    }

    /// The key of an [adapted](Self::adapt) request.
    pub(super) fn key(&self, cx: &Context, target: &PathAndQuery, headers: &HeaderMap) -> CacheKey {
        self.key_of(cx.scheme, cx.host.as_str(), target, headers)
    }

    pub(super) fn key_of(
        &self,
        scheme: Scheme,
        host: &str,
        target: &PathAndQuery,
        headers: &HeaderMap,
    ) -> CacheKey {
        match &self.keying {
            None => CacheKey::new(scheme, host, target),
            Some(keying) => keying.key(scheme, host, target, headers),
        }
    }
}

// === impl Adapted ===

impl Adapted {
    /// What is logged is the host that the client asked for.
    pub(super) fn restore(self, cx: &mut Context) {
        if let Some(host) = self.host {
            cx.host = host;
        }
    }
}

// === impl Bypass ===

impl Bypass {
    pub(super) fn reason(&self, request: &Request) -> Option<&'static str> {
        let (uri, headers) = (request.uri(), request.headers());
        // `//private` is what most origins take for `/private`.
        let path = seen_path(uri.path());
        if self.methods.contains(request.method()) {
            Some("method")
        } else if self
            .paths
            .iter()
            .any(|pattern| pattern.matches(&path).is_some())
        {
            Some("path")
        } else if self.headers.iter().any(|name| headers.contains_key(name)) {
            Some("header")
        } else if self.has_cookie(headers) {
            Some("cookie")
        } else if self.has_parameter(uri.query().unwrap_or_default()) {
            Some("query")
        } else {
            None
        }
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        !self.cookies.is_empty()
            && named_cookies(headers).any(|(name, _)| is_among(&self.cookies, name))
    }

    fn has_parameter(&self, query: &str) -> bool {
        !self.query.is_empty()
            && query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .any(|pair| is_among(&self.query, decoded(name(pair)).as_bytes()))
    }
}

fn is_among(patterns: &[NamePattern], name: &[u8]) -> bool {
    str::from_utf8(name).is_ok_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
}
