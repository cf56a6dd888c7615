//! The method PURGE, where a route allows it.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use super::key::CacheKey;
use super::policy::Rules;
use super::purge::{Mode, Purge, Selection};
use super::purger::Outcome;
use crate::body::{Body, Request, Response};
use crate::config::PurgeMethodConfig;
use crate::error::{Error, Kind};
use crate::middleware::Context;
use crate::middleware::access::{Address, ApiKeys, Check, Refused};

/// Asks for a soft purge: `Cirrus-Purge: soft`.
const MODE: HeaderName = HeaderName::from_static("cirrus-purge");

/// Who may purge with the method PURGE.
#[derive(Clone, Debug)]
pub(crate) struct PurgeMethod(Arc<Guards>);

#[derive(Debug)]
struct Guards {
    address: Option<Address>,
    keys: Option<ApiKeys>,
}

// === impl PurgeMethod ===

impl PurgeMethod {
    pub(crate) fn new(config: &PurgeMethodConfig) -> Self {
        let keys = (!config.keys.is_empty()).then(|| ApiKeys::of_purges(&config.keys));
        let address = (!config.allow.is_empty()).then(|| Address::allowing(&config.allow));
        Self(Arc::new(Guards { address, keys }))
    }

    async fn permit(&self, cx: &mut Context, request: &mut Request) -> Result<(), Refused> {
        if let Some(address) = &self.0.address {
            check(address, cx, request).await?;
        }
        if let Some(keys) = &self.0.keys {
            check(keys, cx, request).await?;
        }
        Ok(())
    }
}

/// The same guards: rules are compared to find out what has changed, and a change makes them anew.
impl PartialEq for PurgeMethod {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

async fn check<C: Check>(
    policy: &C,
    cx: &mut Context,
    request: &mut Request,
) -> Result<(), Refused> {
    let checked = policy.check(cx, request).await;
    if checked.is_err() {
        cx.worker.cells.access_refused[C::REASON as usize].add(1);
    }
    checked
}

/// Whether a request is one to purge. Methods are told apart by case (RFC 9110 §9.1).
pub(super) fn is_purge(method: &Method) -> bool {
    method.as_str() == "PURGE"
}

/// Purges all variants of the request's URL. It never reaches the origin, whose answer to a method that it does not know
/// must not decide what is removed.
pub(super) async fn answer(
    rules: &Rules,
    cx: &mut Context,
    key: CacheKey,
    mut request: Box<Request>,
) -> Result<Response, Error> {
    let Some(allowed) = &rules.purge else {
        return Err(Error::not_allowed(HeaderValue::from_static("GET, HEAD")));
    };
    match allowed.permit(cx, &mut request).await {
        Ok(()) => {}
        Err(Refused::Error(error)) => return Err(error),
        Err(Refused::Response(response)) => return Ok(*response),
    }
    let mode = mode(request.headers())?;
    let what = Selection::Url(key);
    let purge = Purge { what, mode };
    let worker = Arc::clone(&cx.worker);
    let Some(purger) = &worker.engine.purger else {
        return Err(Kind::NotImplemented.into());
    };
    let who = match &cx.user {
        Some(user) => format!("PURGE by {user}"),
        None => format!("PURGE from {}", cx.connection.peer.ip()),
    };
    let outcomes = purger.purge(std::slice::from_ref(&purge), &who).await;
    let outcomes = outcomes.map_err(|error| Error::because(Kind::Overload, error))?;
    match outcomes.into_iter().next() {
        Some(Outcome::Failed(error)) => Err(Error::because(Kind::Overload, error)),
        outcome => Ok(told(&purge, outcome)),
    }
}

fn mode(headers: &HeaderMap) -> Result<Mode, Error> {
    match headers.get(MODE).map(HeaderValue::as_bytes) {
        None | Some(b"hard") => Ok(Mode::Hard),
        Some(b"soft") => Ok(Mode::Soft),
        Some(_) => Err(Error::because(
            Kind::BadRequest,
            "Cirrus-Purge is `hard` or `soft`",
        )),
    }
}

fn told(purge: &Purge, outcome: Option<Outcome>) -> Response {
    let objects = match &outcome {
        Some(Outcome::Done(purged)) => purged.objects,
        _ => None,
    };
    let told = serde_json::json!({
        "purged": purge.what.to_string(),
        "soft": purge.mode == Mode::Soft,
        "objects": objects,
        "pending": outcome == Some(Outcome::Pending),
    });
    let mut response = Response::new(Body::from(format!("{told}\n")));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
