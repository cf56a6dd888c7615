//! A fixed response.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::body::{Body, Request, Response};
use crate::error::Error;
use crate::middleware::{Context, Handler};

/// Answers every request in the same way.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Handler for Fixed {
    async fn handle<'a>(&'a self, _: &'a mut Context, _: Box<Request>) -> Result<Response, Error> {
        let mut response = Response::new(Body::full(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        Ok(response)
    }
}
