//! Endpoints by number, as the predecessor had them: `/add?no=1&ip=127.0.0.1&port=8081`, `/get?no=1`, `/delete?no=1`.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, StatusCode};

use super::State;
use super::answer::{Problem, text};
use super::registry::blocking;
use super::request::parameter;
use crate::body::Response;
use crate::config::OriginUrl;
use crate::discovery::{Condition, Endpoint, RegistryError};

/// What is wanted of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Get,
    Delete,
}

// === impl Verb ===

impl Verb {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/add" => Some(Self::Add),
            "/get" => Some(Self::Get),
            "/delete" => Some(Self::Delete),
            _ => None,
        }
    }

    fn usage(self) -> Response {
        let usage = match self {
            Self::Add => "usage: /add?no=1&ip=127.0.0.1&port=8081\n",
            Self::Get => "usage: /get?no=1\n",
            Self::Delete => "usage: /delete?no=1\n",
        };
        text(StatusCode::BAD_REQUEST, usage)
    }
}

// === impl State ===

impl State {
    /// The service that is changed by number, if that is on.
    pub(super) fn numbered(&self) -> Option<&str> {
        self.engine.registry.as_ref()?;
        self.legacy.as_deref()
    }

    pub(super) async fn by_number(
        &self,
        verb: Verb,
        query: Option<&str>,
        who: &str,
    ) -> Result<Response, Problem> {
        let (registry, service) = match (self.registry(), self.numbered()) {
            (Ok(registry), Some(service)) => (registry.clone(), service.to_owned()),
            _ => return Err(Problem::new(StatusCode::NOT_FOUND, "nothing here")),
        };
        let Some(number) = parameter(query, "no").and_then(|no| no.parse::<u64>().ok()) else {
            return Ok(verb.usage());
        };
        let id = number.to_string();
        match verb {
            Verb::Get => {
                let entries = registry.entries(&service).unwrap_or_default();
                Ok(match entries.endpoints.get(&id) {
                    Some(endpoint) => {
                        text(StatusCode::OK, format!("{}\n", endpoint.url.authority()))
                    }
                    None => unknown(number),
                })
            }
            Verb::Add => {
                let Some(url) = url(query) else {
                    return Ok(verb.usage());
                };
                let address = url.authority().to_owned();
                let endpoint = Endpoint::new(url);
                blocking(move || registry.put(&service, &id, endpoint, &Condition::Any)).await?;
                tracing::info!(number, address, who, "an endpoint was added by number");
                Ok(text(StatusCode::OK, format!("added {number}: {address}\n")))
            }
            Verb::Delete => {
                let is_there = registry
                    .entries(&service)
                    .is_some_and(|entries| entries.endpoints.contains_key(&id));
                if !is_there {
                    return Ok(unknown(number));
                }
                let removed = move || match registry.remove(&service, &id, &Condition::Any) {
                    // Somebody else was faster: it is gone, as was wanted.
                    Err(RegistryError::UnknownEndpoint { .. }) => Ok(0),
                    removed => removed,
                };
                blocking(removed).await?;
                tracing::info!(number, who, "an endpoint was taken out by number");
                Ok(text(StatusCode::OK, format!("deleted {number}\n")))
            }
        }
    }
}

fn unknown(number: u64) -> Response {
    text(
        StatusCode::NOT_FOUND,
        format!("there is no endpoint with the number {number}\n"),
    )
}

/// `ip` and `port`, if both are there and are what they are called.
fn url(query: Option<&str>) -> Option<OriginUrl> {
    let ip: IpAddr = parameter(query, "ip")?.parse().ok()?;
    let port: u16 = parameter(query, "port")?.parse().ok()?;
    (port != 0).then_some(())?;
    format!("http://{}", SocketAddr::new(ip, port)).parse().ok()
}

/// A page in an operator's browser can have it send any GET, though not without saying so: these change something and are
/// not for pages.
pub(super) fn refuse_pages(headers: &HeaderMap) -> Result<(), Problem> {
    let is_from_a_page = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "none" && site != "same-origin");
    if is_from_a_page || headers.contains_key(http::header::ORIGIN) {
        let why = "not for pages of other sites";
        return Err(Problem::new(StatusCode::FORBIDDEN, why));
    }
    Ok(())
}
