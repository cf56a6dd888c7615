//! The registry: what operators and programs put in and take out, by REST or as the predecessor had it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::answer::{Problem, json_with};
use super::request;
use crate::body::Response;
use crate::discovery::{Condition, Endpoint, Entries, Registry, RegistryError};
use crate::middleware::access::decoded;

/// The longest name of a service or endpoint.
const LONGEST_NAME: usize = 255;

/// What a path under `/api/v1/registry/` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Service(String),
    Endpoint(String, String),
}

/// What a service is replaced with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    endpoints: BTreeMap<String, Endpoint>,
}

// === impl State ===

impl State {
    /// Every service.
    pub(super) fn registry_services(&self) -> Result<Response, Problem> {
        let services = self.registry()?.services().into_iter();
        let told = services.map(|(name, version, endpoints)| {
            json!({"name": name, "version": version, "endpoints": endpoints})
        });
        Ok(super::answer::json(
            &json!({"services": told.collect::<Vec<_>>()}),
        ))
    }

    pub(super) fn registry_read(&self, path: &str) -> Result<Response, Problem> {
        let registry = self.registry()?;
        let place = Place::of(path)?;
        let entries = registry.entries(place.service());
        let unknown = || RegistryError::UnknownService(place.service().to_owned());
        let entries = entries.ok_or_else(unknown)?;
        let told = match &place {
            Place::Service(service) => described(service, &entries),
            Place::Endpoint(service, id) => json!(entries.endpoints.get(id).ok_or_else(|| {
                RegistryError::UnknownEndpoint {
                    service: service.clone(),
                    id: id.clone(),
                }
            })?),
        };
        Ok(versioned(StatusCode::OK, &told, entries.version))
    }

    /// Creates or replaces a service or one endpoint.
    pub(super) async fn registry_put(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
        who: &str,
    ) -> Result<Response, Problem> {
        let registry = self.registry()?.clone();
        let (place, condition) = (Place::of(path)?, condition(headers)?);
        let status = match place.is_in(&registry) {
            true => StatusCode::OK,
            false => StatusCode::CREATED,
        };
        let version = match place.clone() {
            Place::Service(service) => {
                let Replacement { endpoints } = request::parse(body)?;
                endpoints.keys().try_for_each(|id| plain(id))?;
                blocking(move || registry.replace(&service, endpoints, &condition)).await?
            }
            Place::Endpoint(service, id) => {
                let endpoint: Endpoint = request::parse(body)?;
                blocking(move || registry.put(&service, &id, endpoint, &condition)).await?
            }
        };
        tracing::info!(?place, version, who, "the registry was changed");
        let told = json!({"version": version});
        Ok(versioned(status, &told, version))
    }

    pub(super) async fn registry_delete(
        &self,
        path: &str,
        headers: &HeaderMap,
        who: &str,
    ) -> Result<Response, Problem> {
        let registry = self.registry()?.clone();
        let (place, condition) = (Place::of(path)?, condition(headers)?);
        let version = match place.clone() {
            Place::Service(service) => {
                blocking(move || registry.forget(&service, &condition)).await?
            }
            Place::Endpoint(service, id) => {
                blocking(move || registry.remove(&service, &id, &condition)).await?
            }
        };
        tracing::info!(
            ?place,
            version,
            who,
            "something was taken out of the registry"
        );
        let told = json!({"version": version});
        Ok(versioned(StatusCode::OK, &told, version))
    }

    pub(super) fn registry(&self) -> Result<&Registry, Problem> {
        self.engine.registry.as_ref().ok_or_else(|| {
            let why = "there is no registry: write `[registry]` into the configuration";
            Problem::new(StatusCode::NOT_FOUND, why)
        })
    }
}

// === impl Place ===

impl Place {
    /// `SERVICE` or `SERVICE/endpoints/ID`, percent-encoded.
    fn of(path: &str) -> Result<Self, Problem> {
        let segments: Vec<_> = path.split('/').map(decoded).collect();
        let place = match &*segments {
            [service] => Self::Service(service.to_string()),
            [service, word, id] if word == "endpoints" => {
                Self::Endpoint(service.to_string(), id.to_string())
            }
            _ => {
                let why = "nothing here; there are /api/v1/registry/{service} and \
                           /api/v1/registry/{service}/endpoints/{id}";
                return Err(Problem::new(StatusCode::NOT_FOUND, why));
            }
        };
        plain(place.service())?;
        if let Self::Endpoint(_, id) = &place {
            plain(id)?;
        }
        Ok(place)
    }

    fn service(&self) -> &str {
        match self {
            Self::Service(service) | Self::Endpoint(service, _) => service,
        }
    }

    fn is_in(&self, registry: &Registry) -> bool {
        match (self, registry.entries(self.service())) {
            (_, None) => false,
            (Self::Service(_), Some(_)) => true,
            (Self::Endpoint(_, id), Some(entries)) => entries.endpoints.contains_key(id),
        }
    }
}

/// Names stand in URLs, references and logs.
fn plain(name: &str) -> Result<(), Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@[]".contains(c);
    let is_good = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_plain);
    is_good.then_some(()).ok_or_else(|| {
        Problem::bad(format!(
            "{name:?} is no name: it has 1 to {LONGEST_NAME} letters, digits and any of -._~:@[]"
        ))
    })
}

/// What the request wants to be the case (RFC 9110 §13.1).
fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let field = |name: &HeaderName| {
        let values = headers.get_all(name).iter();
        let values: Option<Vec<_>> = values.map(|value| value.to_str().ok()).collect();
        let values = values.map(|values| values.join(","));
        values.ok_or_else(|| Problem::bad(format!("`{name}` is no text")))
    };
    let (matches, none) = (field(&IF_MATCH)?, field(&IF_NONE_MATCH)?);
    match (matches.trim(), none.trim()) {
        ("", "") => Ok(Condition::Any),
        ("*", "") => Ok(Condition::Known),
        ("", "*") => Ok(Condition::Unknown),
        (tags, "") => {
            // What is no tag of ours matches nothing.
            let versions = tags.split(',').filter_map(|tag| {
                let tag = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
                tag.parse().ok()
            });
            Ok(Condition::Version(versions.collect()))
        }
        _ => Err(Problem::bad(
            "of `If-None-Match` only `*` is understood, and not together with `If-Match`",
        )),
    }
}

fn described(service: &str, entries: &Entries) -> Value {
    json!({"service": service, "version": entries.version, "endpoints": entries.endpoints})
}

fn versioned(status: StatusCode, told: &Value, version: u64) -> Response {
    let mut response = json_with(status, told);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Changes wait for the disk.
pub(super) async fn blocking(
    change: impl FnOnce() -> Result<u64, RegistryError> + Send + 'static,
) -> Result<u64, Problem> {
    match tokio::task::spawn_blocking(change).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let status = match &error {
            RegistryError::UnknownService(_) | RegistryError::UnknownEndpoint { .. } => {
                StatusCode::NOT_FOUND
            }
            RegistryError::Condition { .. } => StatusCode::PRECONDITION_FAILED,
            RegistryError::File { .. } | RegistryError::InUse { .. } => {
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        if let RegistryError::File { .. } = &error {
            tracing::error!(%error, "the registry cannot be written; nothing has changed");
        }
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_services_and_endpoints() {
        let service = |name: &str| Some(Place::Service(name.to_owned()));
        assert_eq!(Place::of("pay").ok(), service("pay"));
        assert_eq!(Place::of("p%61y").ok(), service("pay"));
        let endpoint = Place::Endpoint("pay".to_owned(), "10.0.0.1:80".to_owned());
        assert_eq!(
            Place::of("pay/endpoints/10.0.0.1%3A80").ok(),
            Some(endpoint)
        );
        for path in [
            "",
            "pay/",
            "pay/endpoints",
            "pay/endpoints/",
            "pay/endpoint/1",
            "pay/endpoints/1/2",
            "a%2Fb",
            "a%20b",
        ] {
            assert!(Place::of(path).is_err(), "{path}");
        }
    }

    #[test]
    fn conditions_as_they_are_sent() {
        let of = |fields: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_static(value));
            }
            condition(&headers).ok()
        };
        assert_eq!(of(&[]), Some(Condition::Any));
        assert_eq!(of(&[(IF_MATCH, "*")]), Some(Condition::Known));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Some(Condition::Unknown));
        let versions = |versions: &[u64]| Some(Condition::Version(versions.to_vec()));
        let tags = [(IF_MATCH, "\"3\", W/\"4\""), (IF_MATCH, "\"5\", x")];
        assert_eq!(of(&tags), versions(&[3, 5]), "weak tags never match");
        assert_eq!(of(&[(IF_NONE_MATCH, "\"3\"")]), None);
    }
}
