//! What of a request decides where it goes.

use http::HeaderMap;
use http::header::COOKIE;

use super::hash::hash;
use crate::body::Body;
use crate::config::HashKey;
use crate::middleware::{Context, client_address};

/// The hash of what is written; `None` for a request that does not have it.
pub(crate) fn key(by: &HashKey, cx: &Context, request: &http::Request<Body>) -> Option<u64> {
    let headers = request.headers();
    let text = match by {
        HashKey::Client => return Some(hash(client_address(cx, headers).to_string().as_bytes())),
        HashKey::Path => request.uri().path(),
        HashKey::Query => request.uri().query()?,
        HashKey::QueryParameter(name) => parameter(request.uri().query()?, name)?,
        HashKey::Header(name) => return Some(hash(headers.get(name.as_str())?.as_bytes())),
        HashKey::Cookie(name) => cookie(headers, name)?,
    };
    Some(hash(text.as_bytes()))
}

/// As it is written: percent-encoding is not looked at.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The value of the first cookie of this name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok());
    pairs
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}
