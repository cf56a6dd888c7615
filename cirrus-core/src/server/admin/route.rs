//! What there is on the admin listener, and by which methods.

use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};

use super::answer::Problem;
use super::numbered::Verb;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Health,
    Ready,
    Metrics,
    Status,
    Config,
    Explain,
    Clusters,
    Cluster,
    Cache,
    Lookup,
    Purge,
    Prefetches,
    Prefetch,
    PrefetchState,
    PrefetchCancel,
    Certificates,
    Certificate,
    CertificateJob,
    CertificateIssue,
    CertificateRenew,
    CertificateRevoke,
    CertificateImport,
    CertificateExport,
    Registry,
    RegistryRead,
    RegistryPut,
    RegistryDelete,
    /// As the predecessor had it; found beside the others, and only where it is on.
    Number(Verb),
}

/// An action, and what stands in the path where `{id}` does.
pub(super) type Found<'a> = (Action, &'a str);

type Methods = &'static [(&'static str, Action)];

/// `{id}` stands for one segment, the last; `{path}` for all that is left.
const ROUTES: &[(&str, Methods)] = &[
    ("/metrics", &[("GET", Action::Metrics)]),
    ("/healthz", &[("GET", Action::Health)]),
    ("/readyz", &[("GET", Action::Ready)]),
    ("/api/v1/status", &[("GET", Action::Status)]),
    ("/api/v1/config", &[("GET", Action::Config)]),
    ("/api/v1/explain", &[("GET", Action::Explain)]),
    ("/api/v1/clusters", &[("GET", Action::Clusters)]),
    ("/api/v1/clusters/{id}", &[("GET", Action::Cluster)]),
    ("/api/v1/cache", &[("GET", Action::Cache)]),
    ("/api/v1/cache/lookup", &[("GET", Action::Lookup)]),
    ("/api/v1/cache/purge", &[("POST", Action::Purge)]),
    (
        "/api/v1/cache/prefetch",
        &[("GET", Action::Prefetches), ("POST", Action::Prefetch)],
    ),
    (
        "/api/v1/cache/prefetch/{id}",
        &[
            ("GET", Action::PrefetchState),
            ("DELETE", Action::PrefetchCancel),
        ],
    ),
    ("/api/v1/certificates", &[("GET", Action::Certificates)]),
    (
        "/api/v1/certificates/issue",
        &[("POST", Action::CertificateIssue)],
    ),
    (
        "/api/v1/certificates/renew",
        &[("POST", Action::CertificateRenew)],
    ),
    (
        "/api/v1/certificates/revoke",
        &[("POST", Action::CertificateRevoke)],
    ),
    (
        "/api/v1/certificates/import",
        &[("POST", Action::CertificateImport)],
    ),
    (
        "/api/v1/certificates/export",
        &[("POST", Action::CertificateExport)],
    ),
    (
        "/api/v1/certificates/jobs/{id}",
        &[("GET", Action::CertificateJob)],
    ),
    ("/api/v1/certificates/{id}", &[("GET", Action::Certificate)]),
    ("/api/v1/registry", &[("GET", Action::Registry)]),
    (
        "/api/v1/registry/{path}",
        &[
            ("GET", Action::RegistryRead),
            ("PUT", Action::RegistryPut),
            ("DELETE", Action::RegistryDelete),
        ],
    ),
];

/// What a request asks for.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Found<'a>, Problem> {
    let matched = ROUTES
        .iter()
        .find_map(|(pattern, methods)| Some((methods, matching(pattern, path)?)));
    let Some((methods, id)) = matched else {
        let known: Vec<_> = ROUTES.iter().map(|(pattern, _)| *pattern).collect();
        let detail = format!("nothing here; there are {}", known.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    // What answers GET answers HEAD.
    let name = match *method {
        Method::HEAD => "GET",
        _ => method.as_str(),
    };
    let action = methods.iter().find(|(allowed, _)| *allowed == name);
    action
        .map(|(_, action)| (*action, id))
        .ok_or_else(|| not_allowed(methods))
}

fn matching<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    if let Some(prefix) = pattern.strip_suffix("{path}") {
        return path.strip_prefix(prefix);
    }
    match pattern.strip_suffix("{id}") {
        Some(prefix) => path
            .strip_prefix(prefix)
            .filter(|id| !id.is_empty() && !id.contains('/')),
        None => (pattern == path).then_some(""),
    }
}

/// Whether it is GET or HEAD.
pub(super) fn only_get(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(not_allowed(&[("GET", Action::Health)])),
    }
}

fn not_allowed(methods: Methods) -> Problem {
    let mut names = Vec::new();
    for (name, _) in methods {
        names.push(*name);
        if *name == "GET" {
            names.push("HEAD");
        }
    }
    let allowed = names.join(", ");
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("only {allowed} here"),
    );
    match HeaderValue::try_from(allowed) {
        Ok(value) => problem.with_field(ALLOW, value),
        Err(_) => problem,
    }
}

// === impl Action ===

impl Action {
    /// What load balancers and supervisors ask for.
    pub(super) fn is_health(self) -> bool {
        matches!(self, Self::Health | Self::Ready)
    }

    /// What even those need a token for who trust every program on the machine: it can give private keys away.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::CertificateExport)
    }

    pub(super) fn changes_something(self) -> bool {
        match self {
            Self::Purge | Self::Prefetch | Self::PrefetchCancel => true,
            Self::CertificateIssue | Self::CertificateRenew | Self::CertificateRevoke => true,
            Self::CertificateImport | Self::CertificateExport => true,
            Self::RegistryPut | Self::RegistryDelete => true,
            Self::Number(verb) => verb != Verb::Get,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Result<(Action, String), u16> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        find(&method, path)
            .map(|(action, id)| (action, id.to_owned()))
            .map_err(|problem| crate::Response::from(problem).status().as_u16())
    }

    #[test]
    fn by_path_and_method() {
        assert_eq!(
            found("HEAD", "/metrics"),
            Ok((Action::Metrics, String::new()))
        );
        let path = "/api/v1/cache/prefetch/7";
        assert_eq!(
            found("DELETE", path),
            Ok((Action::PrefetchCancel, "7".into()))
        );
        assert_eq!(found("POST", "/metrics"), Err(405));
        assert_eq!(found("GET", "/api/v1/cache/purge"), Err(405));
        for path in [
            "/",
            "/metrics/",
            "/api/v1/cache/prefetch/",
            "/api/v1/cache/prefetch/7/8",
        ] {
            assert_eq!(found("GET", path), Err(404), "{path}");
        }
    }

    #[test]
    fn what_is_not_safe_by_its_method_changes_something() {
        for (method, action) in ROUTES.iter().flat_map(|(_, methods)| *methods) {
            assert_eq!(action.changes_something(), *method != "GET", "{action:?}");
        }
    }
}
