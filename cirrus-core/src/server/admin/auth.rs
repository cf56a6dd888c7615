//! Who may ask the admin listener for what.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::answer::Problem;
use super::numbered::refuse_pages;
use super::route::Action;
use crate::config::{AdminConfig, KeyHash};

/// Who may ask for what.
#[derive(Debug)]
pub(super) struct Auth {
    tokens: Vec<(Arc<str>, KeyHash)>,
    /// Changes need no token.
    is_open: bool,
    /// Only this machine gets here.
    is_local: bool,
}

// === impl Auth ===

impl Auth {
    pub(super) fn new(config: Option<&AdminConfig>) -> Self {
        let tokens = config.into_iter().flat_map(|config| &config.tokens);
        let tokens = tokens.map(|(name, hash)| (name.as_str().into(), *hash));
        Self {
            tokens: tokens.collect(),
            is_open: config.is_some_and(|config| config.open),
            is_local: config.is_none_or(|config| config.address.ip().is_loopback()),
        }
    }

    /// Whose request it is, for the log.
    ///
    /// # Errors
    ///
    /// It may not be answered.
    pub(super) fn permit(
        &self,
        action: Action,
        method: &Method,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<String, Problem> {
        if self.is_local && !names_this_machine(headers) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "ask by address, or as localhost",
            ));
        }
        let owner = self.owner(headers);
        let changes = action.changes_something();
        let is_needed = changes || (!self.is_local && !action.is_health());
        let is_trusted = self.is_open && self.is_local && !action.is_secret();
        match owner {
            None if is_needed && !is_trusted => return Err(self.refusal(action)),
            _ => {}
        }
        if changes && matches!(action, Action::Number(_)) {
            refuse_pages(headers)?;
        }
        if changes && *method == Method::POST {
            refuse_forms(headers)?;
        }
        Ok(match owner {
            Some(name) => format!("{name} from {peer}"),
            None => peer.to_string(),
        })
    }

    fn owner(&self, headers: &HeaderMap) -> Option<&str> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (field, None) = (fields.next()?.to_str().ok()?, fields.next()) else {
            return None;
        };
        let (scheme, token) = field.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let shown = KeyHash::of(token.trim().as_bytes());
        // All of them, whichever it is: the time must not tell which one is near.
        self.tokens.iter().fold(None, |found, (name, hash)| {
            match verify_slices_are_equal(hash.as_bytes(), shown.as_bytes()) {
                Ok(()) => Some(name.as_ref()),
                Err(_) => found,
            }
        })
    }

    fn refusal(&self, action: Action) -> Problem {
        if self.tokens.is_empty() && action.is_secret() {
            return Problem::new(
                StatusCode::FORBIDDEN,
                "this needs a token, even where `open = true`: give `[admin] tokens = { NAME = \"sha256:…\" }` instead",
            );
        }
        if self.tokens.is_empty() {
            return Problem::new(
                StatusCode::FORBIDDEN,
                "changes need a token, and none is configured: give `[admin] tokens = { NAME = \"sha256:…\" }` \
                 the hash of one (`printf %s TOKEN | sha256sum`), or set `open = true` to trust every program on this machine",
            );
        }
        let scheme = HeaderValue::from_static("Bearer realm=\"cirrus admin\"");
        let detail = "a token is needed: `Authorization: Bearer TOKEN`";
        Problem::new(StatusCode::UNAUTHORIZED, detail).with_field(WWW_AUTHENTICATE, scheme)
    }
}

/// A page in a browser can send forms and plain text anywhere, JSON only where the answer to a preflight lets it; here none
/// does.
fn refuse_forms(headers: &HeaderMap) -> Result<(), Problem> {
    let form = headers
        .get(CONTENT_TYPE)
        .and_then(|form| form.to_str().ok());
    let form = form.and_then(|form| form.split(';').next());
    match form.map(str::trim) {
        Some(form) if form.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON: `Content-Type: application/json`",
        )),
    }
}

/// Whether it was asked for by address or as `localhost`. A page in an operator's browser that has its own name resolve to
/// this machine asks by that name (DNS rebinding), and gets nothing.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let host = host.to_str().ok().map(str::parse::<http::uri::Authority>);
    host.and_then(Result::ok).is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(config: &str) -> Auth {
        Auth::new(Some(&toml::from_str(config).unwrap()))
    }

    fn asked(
        auth: &Auth,
        action: Action,
        lines: &[(&'static str, &'static str)],
    ) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let method = match action {
            Action::Purge | Action::Prefetch | Action::CertificateExport => Method::POST,
            Action::PrefetchCancel => Method::DELETE,
            _ => Method::GET,
        };
        let peer = ([127, 0, 0, 1], 5).into();
        auth.permit(action, &method, &headers, peer)
            .map_err(|problem| crate::Response::from(problem).status().as_u16())
    }

    /// Of `secret`.
    const TOKENS: &str = "tokens = { ci = \"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }\n";
    const JSON: (&str, &str) = ("content-type", "application/json");
    const RIGHT: (&str, &str) = ("authorization", "Bearer secret");

    #[test]
    fn reading_on_this_machine_needs_nothing() {
        let auth = auth("address = \"127.0.0.1:1\"");
        assert!(asked(&auth, Action::Config, &[]).is_ok());
        for host in [
            "evil.example",
            "evil.example/",
            "",
            "localhost.evil.example",
        ] {
            let asked = asked(&auth, Action::Config, &[("host", host)]);
            assert_eq!(asked, Err(421), "{host}");
        }
        for host in ["localhost:9145", "127.0.0.1", "[::1]:9145"] {
            assert!(asked(&auth, Action::Config, &[("host", host)]).is_ok());
        }
    }

    #[test]
    fn changes_need_a_token() {
        let none = auth("address = \"127.0.0.1:1\"");
        assert_eq!(asked(&none, Action::Purge, &[JSON, RIGHT]), Err(403));
        let auth = auth(&format!("address = \"127.0.0.1:1\"\n{TOKENS}"));
        assert_eq!(
            asked(&auth, Action::Purge, &[JSON, RIGHT]),
            Ok("ci from 127.0.0.1:5".into())
        );
        for wrong in [
            "Bearer secre",
            "Bearer",
            "Basic secret",
            "Bearer secret secret",
            "",
        ] {
            let wrong = ("authorization", wrong);
            assert_eq!(
                asked(&auth, Action::Purge, &[JSON, wrong]),
                Err(401),
                "{wrong:?}"
            );
            assert_eq!(asked(&auth, Action::PrefetchCancel, &[wrong]), Err(401));
        }
        assert_eq!(asked(&auth, Action::Purge, &[JSON, RIGHT, RIGHT]), Err(401));
        assert!(asked(&auth, Action::Status, &[]).is_ok());
    }

    #[test]
    fn browsers_cannot_be_made_to_change_anything() {
        let auth = auth("address = \"127.0.0.1:1\"\nopen = true");
        assert!(
            asked(
                &auth,
                Action::Purge,
                &[("content-type", "Application/JSON; charset=utf-8")]
            )
            .is_ok()
        );
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "",
        ] {
            assert_eq!(
                asked(&auth, Action::Purge, &[("content-type", form)]),
                Err(415),
                "{form}"
            );
        }
        assert_eq!(asked(&auth, Action::Purge, &[]), Err(415));
        assert_eq!(
            asked(&auth, Action::Purge, &[JSON, ("host", "evil.example")]),
            Err(421)
        );
    }

    #[test]
    fn private_keys_need_a_token_even_where_nothing_else_does() {
        let auth = auth(&format!("address = \"127.0.0.1:1\"\nopen = true\n{TOKENS}"));
        let export = Action::CertificateExport;
        assert!(asked(&auth, Action::Purge, &[JSON]).is_ok());
        assert_eq!(asked(&auth, export, &[JSON]), Err(401));
        assert!(asked(&auth, export, &[JSON, RIGHT]).is_ok());
    }

    #[test]
    fn from_elsewhere_everything_but_health_needs_a_token() {
        let auth = auth(&format!("address = \"0.0.0.0:1\"\n{TOKENS}"));
        let named = ("host", "edge.example");
        assert!(asked(&auth, Action::Health, &[named]).is_ok());
        assert!(asked(&auth, Action::Ready, &[named]).is_ok());
        for action in [
            Action::Metrics,
            Action::Config,
            Action::Cache,
            Action::Lookup,
        ] {
            assert_eq!(asked(&auth, action, &[named]), Err(401));
            assert!(asked(&auth, action, &[named, RIGHT]).is_ok());
        }
    }
}
