//! One discovery of several: each service goes to the backend that its scheme names.

use std::fmt;
use std::sync::Arc;

use cirrus_core::discovery::{Discovery, Endpoints, ServiceName};
use cirrus_core::{BoxError, Updates};
use futures_util::{StreamExt, stream};

use crate::reference::Reference;

/// Sends each service to the backend that its scheme names: `dns://api.internal:8080` to the one for `dns`.
///
/// Backends get the whole reference. Names without a scheme go to the backend for those, if there is one.
///
/// ```
/// use cirrus_discovery::{Dns, Services, Table};
///
/// let dns = Dns::system();
/// let services = Services::default()
///     .with("dns", dns.clone())
///     .with("dns+srv", dns)
///     .otherwise(Table::default());
/// ```
#[derive(Clone, Default)]
pub struct Services {
    backends: Vec<(&'static str, Arc<dyn Discovery>)>,
    plain: Option<Arc<dyn Discovery>>,
}

/// No backend knows what is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}: a service is written {known}")]
pub struct UnknownScheme {
    wrong: String,
    known: String,
}

// === impl Services ===

impl Services {
    /// With a backend for references of this scheme. A second one for the same scheme replaces the first.
    #[must_use]
    pub fn with(mut self, scheme: &'static str, backend: impl Discovery) -> Self {
        self.backends.retain(|(known, _)| *known != scheme);
        self.backends.push((scheme, Arc::new(backend)));
        self
    }

    /// With a backend for names without a scheme.
    #[must_use]
    pub fn otherwise(mut self, backend: impl Discovery) -> Self {
        self.plain = Some(Arc::new(backend));
        self
    }

    fn backend(&self, service: &ServiceName) -> Result<&Arc<dyn Discovery>, UnknownScheme> {
        let reference = Reference::parse(service.as_str());
        let scheme = reference.map(|reference| reference.scheme);
        let backend = match scheme {
            Some(scheme) => {
                let mut backends = self.backends.iter();
                let found = backends.find(|(known, _)| known.eq_ignore_ascii_case(scheme));
                found.map(|(_, backend)| backend)
            }
            None => self.plain.as_ref(),
        };
        backend.ok_or_else(|| self.unknown(scheme))
    }

    fn unknown(&self, scheme: Option<&str>) -> UnknownScheme {
        let wrong = match scheme {
            Some(scheme) => format!("the scheme `{scheme}` is unknown"),
            None => "there is no scheme".to_owned(),
        };
        let schemes = self.backends.iter();
        let mut known: Vec<_> = schemes
            .map(|(scheme, _)| format!("`{scheme}://…`"))
            .collect();
        if self.plain.is_some() {
            known.push("as a plain name".to_owned());
        }
        UnknownScheme {
            wrong,
            known: known.join(", "),
        }
    }
}

impl Discovery for Services {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        match self.backend(service) {
            Ok(backend) => backend.watch(service),
            Err(unknown) => failed(unknown.into()),
        }
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        self.backend(service)?.check(service)
    }
}

/// A watch on what can never be found: one error, and silence.
pub(crate) fn failed(error: BoxError) -> Updates<Endpoints> {
    Box::pin(stream::once(async { Err(error) }).chain(stream::pending()))
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> = self.backends.iter().map(|(scheme, _)| scheme).collect();
        f.debug_struct("Services")
            .field("schemes", &schemes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Table;

    fn name(service: &str) -> ServiceName {
        ServiceName::new(service).unwrap()
    }

    #[tokio::test]
    async fn each_service_goes_to_its_backend() {
        let here = Table::new([("table://a", Endpoints::default())]);
        let there = Table::new([("a", Endpoints::default())]);
        let services = Services::default().with("table", here).otherwise(there);
        for service in ["table://a", "a"] {
            assert!(services.check(&name(service)).is_ok());
            let first = services.watch(&name(service)).next().await;
            assert!(first.unwrap().is_ok(), "{service}");
        }
        assert!(
            services
                .watch(&name("table://b"))
                .next()
                .await
                .unwrap()
                .is_err()
        );
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_told_with_those_that_are_known() {
        let services = Services::default()
            .with("dns", Table::default())
            .with("file", Table::default());
        let told = services.check(&name("dsn://a:1")).unwrap_err().to_string();
        assert_eq!(
            told,
            "the scheme `dsn` is unknown: a service is written `dns://…`, `file://…`"
        );
        let plain = services.check(&name("payments")).unwrap_err().to_string();
        assert!(plain.starts_with("there is no scheme: "), "{plain}");
        let item = services.watch(&name("dsn://a:1")).next().await.unwrap();
        assert_eq!(item.unwrap_err().to_string(), told);
    }
}
