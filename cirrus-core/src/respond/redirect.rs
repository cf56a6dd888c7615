//! To another address.

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use crate::body::{Request, Response};
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};
use crate::routing::{PathPattern, Template};

/// Redirects to an address made from the request's own parts.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    pub(crate) status: StatusCode,
    pub(crate) to: Template,
    /// The route's path, whose parameters the address may name.
    pub(crate) path: PathPattern,
}

impl Handler for Redirect {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let uri = request.uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let params = self.path.matches(uri.path());
        let location = self.to.render(|name| match name {
            "host" => Some(cx.host.as_str()),
            "path" => Some(target),
            name => params.as_ref().and_then(|params| params.get(name)),
        });
        // `//evil.example`, or `/\evil.example` to a browser, would be another host's address (RFC 3986 §4.2), made from a path like `//evil.example`.
        let inside = location.trim_start_matches(['/', '\\']);
        let location = match location.len() - inside.len() {
            2.. if !self.to.is_network_path() => format!("/{inside}"),
            _ => location,
        };
        // Parts of a valid URI make valid field values; anything else must not become a response.
        let location = HeaderValue::try_from(location)
            .map_err(|error| Error::because(Kind::BadRequest, error))?;
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}
