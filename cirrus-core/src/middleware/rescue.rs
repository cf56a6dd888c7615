//! Every error becomes a response, in one place: plain, small, nothing internal shown.

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tower_layer::Layer;

use super::{Context, Handler};
use crate::body::{Body, Request, Response};
use crate::error::{Error, Kind, Side};

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What any resource may be asked with (RFC 9110 §10.2.1).
const USUAL_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Turns errors into responses; nothing above it sees `Err`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RescueLayer;

/// See [`RescueLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Rescue<H> {
    inner: H,
}

/// How the body of an error is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

// === impl RescueLayer ===

impl<H> Layer<H> for RescueLayer {
    type Service = Rescue<H>;

    fn layer(&self, inner: H) -> Rescue<H> {
        Rescue { inner }
    }
}

// === impl Rescue ===

impl<H: Handler> Handler for Rescue<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        // Read only if there is an error to write about.
        let accept = request.headers().get(ACCEPT).cloned();
        let grpc = is_grpc(request.headers());
        match self.inner.handle(cx, request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                report(cx, &error);
                cx.error = Some(error.kind());
                Ok(if grpc {
                    respond_grpc(&error)
                } else {
                    respond(&error, Form::wanted(accept.as_ref()))
                })
            }
        }
    }
}

/// What tells a client that its request cannot even be read.
pub(crate) fn refusal(kind: Kind, why: &str) -> Response {
    let status = StatusCode::from(kind);
    let mut response = Response::new(Body::from(Form::Text.page(status, why)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static(Form::Text.content_type());
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn report(cx: &Context, error: &Error) {
    let (kind, host) = (error.kind(), &cx.host);
    if is_news(kind) {
        tracing::warn!(%host, %error, "failed");
    } else if kind.side() == Side::Upstream {
        tracing::debug!(%host, %error, "the origin failed");
    } else {
        tracing::debug!(%host, %error, "refused");
    }
}

/// Whether the operator hears of each one. The client's doing is not the operator's worry, and what comes in masses, an
/// origin that is down or more requests than a limit allows, is counted and in the access log: a line for each would
/// slow down the worker when it can bear that least.
fn is_news(kind: Kind) -> bool {
    kind.side() == Side::Here && kind != Kind::Overload
}

/// The response that tells a client about an error.
fn respond(error: &Error, form: Form) -> Response {
    let status = error.status();
    let mut response = Response::new(Body::from(form.page(status, error.kind().reason())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    add_fields(headers, error);
    if error.kind() == Kind::MethodNotAllowed {
        headers.entry(ALLOW).or_insert(USUAL_METHODS);
    }
    response
}

/// The response that tells a gRPC client: the call's status stands in the header, and that is all ("Trailers-Only").
fn respond_grpc(error: &Error) -> Response {
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&GRPC_STATUS, grpc_status(error).into());
    // Our texts contain nothing that needs escaping.
    let reason = HeaderValue::from_static(error.kind().reason());
    headers.insert(&GRPC_MESSAGE, reason);
    add_fields(headers, error);
    response
}

/// What is said about an error in whatever form.
fn add_fields(headers: &mut HeaderMap, error: &Error) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.kind().side() == Side::Upstream || error.kind() == Kind::Loop {
        // RFC 9209: what went wrong between here and the origin.
        if let Ok(value) = HeaderValue::try_from(format!("cirrus; error={}", error.word())) {
            headers.insert(&PROXY_STATUS, value);
        }
    }
    if let Some(wait) = error.wait() {
        headers.insert(
            RETRY_AFTER,
            HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64),
        );
    }
    for (name, value) in error.fields() {
        headers.append(name, value.clone());
    }
}

/// Whether the client makes a gRPC call: `application/grpc`, with a format behind a `+` perhaps. Not gRPC-Web, whose
/// clients know what an HTTP status is.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// What gRPC clients make of a status by themselves (`http-grpc-status-mapping.md`), and more exactly where we know more.
fn grpc_status(error: &Error) -> u16 {
    if error.is_unsent() {
        // UNAVAILABLE: another try may do.
        return 14;
    }
    match error.status().as_u16() {
        // UNIMPLEMENTED
        404 | 405 | 501 => 12,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // RESOURCE_EXHAUSTED
        413 | 429 => 8,
        // UNAUTHENTICATED
        401 => 16,
        // PERMISSION_DENIED
        403 => 7,
        // UNAVAILABLE
        421 | 502 | 503 => 14,
        // INTERNAL
        400 | 500.. => 13,
        // UNKNOWN
        _ => 2,
    }
}

// === impl Form ===

impl Form {
    /// What the client would rather read: the first of the two that `Accept` names, text if neither.
    fn wanted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let ranges = accept
            .split(',')
            .map(|range| range.split(';').next().unwrap_or_default().trim());
        ranges
            .filter_map(|range| match range {
                "text/html" | "application/xhtml+xml" => Some(Self::Html),
                "application/json" | "application/problem+json" => Some(Self::Json),
                _ => None,
            })
            .next()
            .unwrap_or(Self::Text)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/problem+json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// RFC 9457 for JSON. The texts are ours and contain nothing that needs escaping.
    fn page(self, status: StatusCode, reason: &str) -> String {
        let (number, title) = (
            status.as_u16(),
            status.canonical_reason().unwrap_or("Error"),
        );
        match self {
            Self::Html => format!(
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{number} {title}</title>\
                 <h1>{number} {title}</h1><p>{reason}.</p></html>\n"
            ),
            Self::Json => {
                format!("{{\"status\":{number},\"title\":\"{title}\",\"detail\":\"{reason}\"}}\n")
            }
            Self::Text => format!("{number} {title}: {reason}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn form(accept: &'static str) -> Form {
        Form::wanted(Some(&HeaderValue::from_static(accept)))
    }

    #[test]
    fn speaks_as_the_client_asks() {
        assert_eq!(
            form("text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"),
            Form::Html
        );
        assert_eq!(form("application/json"), Form::Json);
        assert_eq!(form("*/*"), Form::Text);
        assert_eq!(Form::wanted(None), Form::Text);
    }

    #[test]
    fn what_comes_in_masses_is_no_news() {
        assert!(is_news(Kind::Internal) && is_news(Kind::Loop));
        for kind in [Kind::Overload, Kind::TooMany, Kind::Connect, Kind::Client] {
            assert!(!is_news(kind), "{kind:?}");
        }
    }

    #[test]
    fn shows_the_kind_and_never_the_cause() {
        let error = Error::because(Kind::Connect, "10.1.2.3:99 refused");
        for form in [Form::Html, Form::Json, Form::Text] {
            let response = respond(&error, form);
            assert_eq!(response.status(), 502);
            assert_eq!(
                response.headers()["proxy-status"],
                "cirrus; error=connection_refused"
            );
            assert_eq!(response.headers()["cache-control"], "no-store");
            let body = response.body().as_bytes().unwrap().clone();
            assert!(
                !String::from_utf8_lossy(&body).contains("10.1.2.3"),
                "{body:?}"
            );
        }
        let page = Form::Json.page(StatusCode::BAD_GATEWAY, Kind::Connect.reason());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&page).unwrap()["status"],
            502
        );
    }

    #[test]
    fn tells_grpc_clients_in_their_own_way() {
        for (kind, status) in [
            (Kind::Connect, "14"),
            (Kind::NoEndpoint, "14"),
            (Kind::ConnectTimeout, "14"),
            (Kind::Deadline, "4"),
            (Kind::NoRoute, "12"),
            (Kind::TooMany, "8"),
            (Kind::Unauthorized, "16"),
            (Kind::Forbidden, "7"),
            (Kind::BadRequest, "13"),
            (Kind::Internal, "13"),
        ] {
            let response = respond_grpc(&Error::because(kind, "10.1.2.3:99 refused"));
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "application/grpc");
            assert_eq!(response.headers()["grpc-status"], status, "{kind:?}");
            assert_eq!(response.headers()["grpc-message"], kind.reason());
            assert!(response.body().as_bytes().unwrap().is_empty());
        }
    }

    #[test]
    fn knows_a_grpc_call() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=1", true),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), is, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn says_when_to_come_again() {
        let error = Error::new(Kind::NoEndpoint).retry_after(Duration::from_millis(1500));
        let response = respond(&error, Form::Text);
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["retry-after"]
            ),
            (503, &HeaderValue::from(2))
        );
    }

    #[test]
    fn says_which_methods_are_allowed() {
        let error = Error::not_allowed(HeaderValue::from_static("GET, HEAD"));
        let response = respond(&error, Form::Text);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
    }
}
