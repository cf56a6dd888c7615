//! One HTTP/1.1 connection to whoever knows endpoints.

use std::future::Future;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// One connection, driven only while an exchange goes on: it needs no task of its own, and ends when it is dropped.
pub(crate) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
}

/// An answer that comes line by line, for as long as it takes.
#[derive(Debug)]
pub(crate) struct Lines {
    link: Link,
    body: Incoming,
    read: BytesMut,
    /// How much of `read` has no end of a line in it.
    looked_at: usize,
    max_line: usize,
}

/// What becomes of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

// === impl Link ===

impl Link {
    pub(crate) async fn new<S>(stream: S) -> Result<Self, LinkError>
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
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        max_response: usize,
    ) -> Result<Response<Bytes>, LinkError> {
        let answer = ask(&mut self.sender, request, max_response);
        drive(&mut self.connection, answer).await
    }

    /// Asks, and gives the answer line by line once its head is there.
    pub(crate) async fn lines(
        mut self,
        request: Request<Full<Bytes>>,
        max_line: usize,
    ) -> Result<Response<Lines>, LinkError> {
        let head = begin(&mut self.sender, request);
        let (head, body) = drive(&mut self.connection, head).await?.into_parts();
        let lines = Lines {
            link: self,
            body,
            read: BytesMut::new(),
            looked_at: 0,
            max_line,
        };
        Ok(Response::from_parts(head, lines))
    }

    /// Whether there is any use in asking again.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }
}

/// Lets the connection work until there is an answer.
async fn drive<T>(
    connection: &mut Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    answer: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let Some(driven) = connection.as_mut() else {
        return Err(LinkError::Closed);
    };
    match select(std::pin::pin!(answer), driven).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => {
            *connection = None;
            // What was read before the end may be the whole answer.
            answer.await
        }
    }
}

async fn begin(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, LinkError> {
    sender.ready().await?;
    Ok(sender.send_request(request).await?)
}

async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    max_response: usize,
) -> Result<Response<Bytes>, LinkError> {
    let (head, body) = begin(sender, request).await?.into_parts();
    let body = Limited::new(body, max_response).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => LinkError::Http(*error),
        Err(error) if error.is::<LengthLimitError>() => LinkError::TooLarge(max_response),
        Err(_) => LinkError::Closed,
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

// === impl Lines ===

impl Lines {
    /// The next line; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was read of a line is kept for the next call.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.read.len() > self.max_line {
                return Err(LinkError::TooLarge(self.max_line));
            }
            let frame = async { Ok(self.body.frame().await.transpose()?) };
            // Behind the end of the connection there may be something that was read before.
            let frame: Option<_> = match self.link.connection.is_some() {
                true => drive(&mut self.link.connection, frame).await?,
                false => frame.await?,
            };
            match frame.map(hyper::body::Frame::into_data) {
                Some(Ok(data)) => self.read.extend_from_slice(&data),
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let end = self.read[self.looked_at..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.looked_at = self.read.len();
            return None;
        };
        let line = self.read.split_to(self.looked_at + end + 1);
        self.looked_at = 0;
        Some(line.freeze())
    }
}
