//! Another service decides.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::identity::Identity;
use super::{Check, Reason, Refused};
use crate::body::{Body, Request, Response};
use crate::config::ForwardAuthConfig;
use crate::error::{Error, Kind};
use crate::middleware::client::client_address;
use crate::middleware::forwarded::{CDN_LOOP, refuse_loop};
use crate::middleware::{Context, Handler};
use crate::upstream::{Cluster, Forward};

/// The most that is read of an answer that lets a request pass, to use its connection again.
const DRAINED: usize = 64 * 1024;

/// Asks another service about each request.
#[derive(Debug)]
pub(crate) struct ForwardAuth {
    service: Forward,
    authority: HeaderValue,
    target: PathAndQuery,
    timeout: Duration,
    request_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
    user_header: Option<HeaderName>,
    identity: Identity,
}

// === impl ForwardAuth ===

impl ForwardAuth {
    /// `service` is a cluster of one endpoint: the origin in the configuration's `url`. `None` without a `url`.
    pub(crate) fn new(config: &ForwardAuthConfig, service: Arc<Cluster>) -> Option<Self> {
        let url = config.url.as_ref()?;
        let names = |list: &[crate::config::HeaderTitle]| {
            list.iter().map(|name| name.to_name()).collect::<Vec<_>>()
        };
        let response_headers = names(&config.response_headers);
        Some(Self {
            service: Forward::new(service, false),
            authority: HeaderValue::from_str(url.origin().authority()).ok()?,
            target: url.target().clone(),
            timeout: config.timeout.as_duration(),
            request_headers: names(&config.request_headers),
            identity: Identity::new(response_headers.clone()),
            response_headers,
            user_header: config.user_header.as_ref().map(|name| name.to_name()),
        })
    }

    /// The question, without the client's body: that is for the origin.
    fn question(&self, cx: &Context, request: &Request) -> Request {
        let mut question = Request::new(Body::empty());
        *question.method_mut() = Method::GET;
        *question.uri_mut() = Uri::from(self.target.clone());
        let (from, to) = (request.headers(), question.headers_mut());
        for name in &self.request_headers {
            for value in from.get_all(name) {
                to.append(name, value.clone());
            }
        }
        // Last, so that nothing that is handed on takes their place.
        to.insert(header::HOST, self.authority.clone());
        to.insert(&CDN_LOOP, cx.worker.engine.token.clone());
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        for (name, value) in [
            ("x-forwarded-method", request.method().as_str()),
            ("x-forwarded-uri", target),
            ("x-forwarded-host", cx.host.as_str()),
            ("x-forwarded-proto", cx.scheme.as_str()),
            ("x-forwarded-for", &client_address(cx, from).to_string()),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                to.insert(HeaderName::from_static(name), value);
            }
        }
        question
    }

    async fn ask(&self, cx: &Context, question: Request) -> Result<Response, Error> {
        // What is noted about this exchange is not about the client's.
        let mut asking = cx.again();
        let answer = self.service.handle(&mut asking, Box::new(question));
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| unavailable(error.to_string())),
            Err(_) => Err(unavailable("no answer in time".to_owned())),
        }
    }

    /// Tells the origin what the service says, instead of what the client says.
    fn pass(&self, cx: &mut Context, answer: &HeaderMap, headers: &mut HeaderMap) {
        self.identity.strip(headers);
        for name in &self.response_headers {
            for value in answer.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let user = self.user_header.as_ref().and_then(|name| answer.get(name));
        if let Some(user) = user.and_then(|user| std::str::from_utf8(user.as_bytes()).ok()) {
            cx.user = Some(user.into());
        }
        // What it went by, a cookie for example, reaches the origin as well.
        cx.personal = true;
    }
}

impl Check for ForwardAuth {
    const REASON: Reason = Reason::ForwardAuth;

    async fn check<'a>(
        &'a self,
        cx: &'a mut Context,
        request: &'a mut Request,
    ) -> Result<(), Refused> {
        // A service that is asked through this very route would be asked for ever.
        refuse_loop(request.headers(), &cx.worker.engine.token)?;
        let question = self.question(cx, request);
        let answer = self.ask(cx, question).await?;
        let status = answer.status();
        if status.is_success() {
            self.pass(cx, answer.headers(), request.headers_mut());
            drain(cx, answer.into_body(), self.timeout);
            Ok(())
        } else if is_verdict(status) {
            Err(Refused::Response(Box::new(answer)))
        } else {
            Err(unavailable(format!("it answered {status}")).into())
        }
    }
}

/// What is for the client to see. A 304 says nothing to somebody who has asked for something else.
fn is_verdict(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || (status.is_redirection() && status != StatusCode::NOT_MODIFIED)
}

/// Without a verdict nobody passes.
fn unavailable(why: String) -> Error {
    Error::because(Kind::NoEndpoint, format!("forward_auth: {why}"))
}

/// Reads what is left of an answer, beside the request: then its connection can be used again.
fn drain(cx: &Context, body: Body, limit: Duration) {
    if body.is_end_stream() {
        return;
    }
    cx.worker.engine.tasks.spawn(async move {
        // One that does not end is dropped, and its connection with it.
        drop(timeout(limit, Limited::new(body, DRAINED).collect()).await);
    });
}
