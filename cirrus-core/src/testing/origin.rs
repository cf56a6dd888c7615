//! An origin that answers as a test tells it, and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::body::{Body, Response};
use crate::server::{Drain, TaskExecutor, Tasks};

type Answer = Arc<dyn Fn(Asked) -> BoxFuture<'static, Response> + Send + Sync>;

/// An origin that is being described; [`run`](Self::run) starts it.
#[derive(Default)]
pub struct Origin {
    answers: HashMap<String, Answer>,
    http2: bool,
}

/// A running origin. It ends when it is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    drain: Drain,
}

/// A request as it arrived at the origin, its body read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its request target.
    pub target: String,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body; `None` if it broke off.
    pub body: Option<Bytes>,
    /// How many requests had come before it.
    pub before: usize,
}

/// A response of status 200 with this body.
pub fn reply(body: impl Into<Body>) -> Response {
    Response::new(body.into())
}

/// An origin that, on every connection, reads until an empty line and sends these bytes; then it closes.
///
/// # Panics
///
/// If there is no port to be had.
pub async fn scripted(bytes: &'static [u8]) -> Running {
    let asked = Arc::default();
    serve(asked, move |mut stream, _| async move {
        let mut read = Vec::new();
        while !read.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(length @ 1..) => read.extend_from_slice(&buffer[..length]),
                _ => return,
            }
        }
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    })
    .await
}

// === impl Origin ===

impl Origin {
    /// An origin that answers 404 to everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers requests for a path (whatever their query). `"*"` answers every path that has no other answer.
    #[must_use]
    pub fn get(
        self,
        path: &str,
        answer: impl Fn(Asked) -> Response + Send + Sync + 'static,
    ) -> Self {
        self.later(path, move |asked| {
            let response = answer(asked);
            async move { response }
        })
    }

    /// Answers when a future resolves.
    #[must_use]
    pub fn later<F>(
        mut self,
        path: &str,
        answer: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        self.answers.insert(
            path.to_owned(),
            Arc::new(move |asked| Box::pin(answer(asked))),
        );
        self
    }

    /// Speaks HTTP/2 by prior knowledge, and nothing else.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Starts it on a free port of the loopback interface.
    ///
    /// # Panics
    ///
    /// If there is no port to be had.
    pub async fn run(self) -> Running {
        self.run_at(ANYWHERE).await
    }

    /// Starts it at this address: one of its own, or where another one was before.
    ///
    /// # Panics
    ///
    /// If it cannot be had.
    pub async fn run_at(self, address: SocketAddr) -> Running {
        let (answers, http2) = (Arc::new(self.answers), self.http2);
        serve_at(address, Arc::default(), move |stream, asked| {
            let answers = Arc::clone(&answers);
            async move {
                let service = service_fn(move |request| {
                    let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                    async move { Ok::<_, Infallible>(answer(&answers, &asked, request).await) }
                });
                // A client that leaves in the middle is the test's own doing.
                if http2 {
                    let _ = http2::Builder::new(TaskExecutor)
                        .auto_date_header(false)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    return;
                }
                let _ = http1::Builder::new()
                    // Its clock is not the test's.
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin")
            .field("paths", &self.answers.keys())
            .finish()
    }
}

type Log = Arc<Mutex<Vec<Asked>>>;

async fn answer(
    answers: &HashMap<String, Answer>,
    log: &Log,
    request: http::Request<Incoming>,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .ok()
        .map(http_body_util::Collected::to_bytes);
    let mut asked = Asked {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body,
        before: 0,
    };
    {
        let mut log = log.lock();
        asked.before = log.len();
        log.push(asked.clone());
    }
    match answers.get(parts.uri.path()).or_else(|| answers.get("*")) {
        Some(answer) => answer(asked).await,
        None => reply("").with_status(404),
    }
}

/// A free port of the loopback interface.
/// After a connection that could not be accepted.
pub(super) const REST: Duration = Duration::from_millis(20);

const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) async fn serve<F>(
    asked: Log,
    each: impl Fn(TcpStream, Log) -> F + Send + 'static,
) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    serve_at(ANYWHERE, asked, each).await
}

async fn serve_at<F>(
    address: SocketAddr,
    asked: Log,
    each: impl Fn(TcpStream, Log) -> F + Send + 'static,
) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener(address).expect("a free port");
    let running = Running {
        address: listener.local_addr().expect("an address"),
        asked,
        drain: Drain::default(),
    };
    let (drain, log, tasks) = (
        running.drain.clone(),
        Arc::clone(&running.asked),
        Tasks::default(),
    );
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = drain.begun() => return,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, which others have to give back first.
                tokio::time::sleep(REST).await;
                continue;
            };
            let (serving, drain) = (each(stream, Arc::clone(&log)), drain.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = drain.begun() => {}
                }
            });
        }
    });
    running
}

/// With as long a queue as the system allows: a test may bring thousands of connections at once.
fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    const QUEUE: u32 = 65_535;
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4()?,
        false => TcpSocket::new_v6()?,
    };
    // An address of before may be taken again while old connections of it are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

// === impl Running ===

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as an origin is written.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// How often it was asked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.asked.lock().len()
    }

    /// Closes its port and its connections.
    pub fn stop(&self) {
        self.drain.begin();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Asked ===

impl Asked {
    /// A header field's value; empty if it is not there, several joined by `, `.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let values = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    }
}

/// Makes responses in a line.
pub trait Describe: Sized {
    /// With another status.
    #[must_use]
    fn with_status(self, status: u16) -> Self;

    /// With a header field more.
    #[must_use]
    fn with(self, name: &'static str, value: &str) -> Self;
}

impl Describe for Response {
    fn with_status(mut self, status: u16) -> Self {
        *self.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a field value");
        self.headers_mut()
            .append(HeaderName::from_static(name), value);
        self
    }
}
