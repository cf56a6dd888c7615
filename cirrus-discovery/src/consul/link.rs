//! One HTTP/1.1 connection to Consul.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::ConsulError;

/// One connection, driven only while an exchange goes on: it needs no task of its own, and ends when it is dropped.
pub(super) struct Link {
    sender: SendRequest<Empty<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
}

// === impl Link ===

impl Link {
    pub(super) async fn new<S>(stream: S) -> Result<Self, ConsulError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
        })
    }

    /// Asks, and reads the whole answer.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        max_response: usize,
    ) -> Result<Response<Bytes>, ConsulError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(ConsulError::Closed);
        };
        let answer = std::pin::pin!(ask(&mut self.sender, request, max_response));
        match select(answer, connection).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => {
                self.connection = None;
                // What was read before the end may be the whole answer.
                answer.await
            }
        }
    }

    /// Whether there is any use in asking again.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }
}

async fn ask(
    sender: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    max_response: usize,
) -> Result<Response<Bytes>, ConsulError> {
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, max_response).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => ConsulError::Http(*error),
        Err(error) if error.is::<LengthLimitError>() => ConsulError::TooLarge(max_response),
        Err(_) => ConsulError::Closed,
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
