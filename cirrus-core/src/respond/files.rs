//! Files of a directory.

use std::path::PathBuf;

use http::header::LOCATION;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::body::{Body, Request, Response};
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};

/// Serves the files of a directory for GET and HEAD, with ranges and conditions; never one outside of it.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: ServeDir,
    /// The route's prefix without its last slash: what stands behind it is looked for.
    prefix: Box<str>,
}

// === impl Files ===

impl Files {
    pub(crate) fn new(directory: PathBuf, prefix: &str) -> Self {
        Self {
            directory: ServeDir::new(directory),
            prefix: prefix.trim_end_matches('/').into(),
        }
    }

    /// The request's target without the route's prefix.
    fn target(&self, uri: &Uri) -> Result<PathAndQuery, Error> {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let inside = target.strip_prefix(&*self.prefix).unwrap_or(target);
        let inside = format!("/{}", inside.trim_start_matches('/'));
        PathAndQuery::try_from(inside).map_err(|error| Error::because(Kind::BadRequest, error))
    }

    /// A directory's address ends with a slash; the redirect there has to name the prefix again.
    fn with_prefix(&self, mut response: Response) -> Response {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok());
        let outside = location
            .and_then(|location| HeaderValue::try_from(format!("{}{location}", self.prefix)).ok());
        if let Some(outside) = outside {
            response.headers_mut().insert(LOCATION, outside);
        }
        response
    }
}

impl Handler for Files {
    async fn handle<'a>(
        &'a self,
        _: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Error::not_allowed(HeaderValue::from_static("GET, HEAD")));
        }
        if !is_plain(request.uri().path()) {
            return Err(Kind::NoRoute.into());
        }
        *request.uri_mut() = Uri::from(self.target(request.uri())?);
        let Ok(response) = self.directory.clone().oneshot(*request).await;
        match response.status() {
            StatusCode::NOT_FOUND => Err(Kind::NoRoute.into()),
            StatusCode::INTERNAL_SERVER_ERROR => Err(Kind::Internal.into()),
            _ => Ok(self.with_prefix(response.map(Body::stream))),
        }
    }
}

/// A file has one address. `//private/x` and `/private%2Fx` are other paths than `/private/x` to the routes, and the same
/// to a file system: what a route there demands could be passed by.
fn is_plain(path: &str) -> bool {
    !["//", "%2F", "%5C"].iter().any(|twin| path.contains(twin))
}
