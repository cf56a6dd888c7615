//! A client that sees bytes: HTTP/1.1 over any stream, nothing repaired and nothing hidden.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a test waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A client with one connection, made when it is first used and made again when it has been closed.
pub struct Client {
    address: SocketAddr,
    host: String,
    stream: Option<Box<dyn Stream>>,
    read: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body, without its framing.
    pub body: Vec<u8>,
    /// It said that the connection ends with it.
    pub closes: bool,
}

// === impl Client ===

impl Client {
    /// A client of a server at `address`; the host it asks for is `shop.example`.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            host: "shop.example".to_owned(),
            stream: None,
            read: Vec::new(),
        }
    }

    /// Asks for another host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Speaks over a stream that is there already, with TLS for example.
    #[must_use]
    pub fn over(mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        self.stream = Some(Box::new(stream));
        self
    }

    /// Gets a path.
    ///
    /// # Panics
    ///
    /// If there is no whole and valid response within 30 s.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.get_with(path, "").await
    }

    /// Gets a path with further header lines, each ended by `\r\n`.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    pub async fn get_with(&mut self, path: &str, lines: &str) -> Reply {
        self.ask("GET", path, lines, b"").await
    }

    /// Sends a request with `Content-Length` if it has a body.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    pub async fn ask(&mut self, method: &str, path: &str, lines: &str, body: &[u8]) -> Reply {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let host = &self.host;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{length}{lines}\r\n");
        self.send(head.as_bytes()).await;
        self.send(body).await;
        self.reply_to(method).await
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// If there is no connection to be had.
    pub async fn send(&mut self, bytes: &[u8]) {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)
                .await
                .expect("a server that accepts");
            stream.set_nodelay(true).expect("a socket");
            self.stream = Some(Box::new(stream));
        }
        let stream = self.stream.as_mut().expect("a connection");
        // A server that refuses a request may close before it has read all of it; its answer says more.
        let _ = stream.write_all(bytes).await;
    }

    /// Reads the response to a request with this method.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    pub async fn reply_to(&mut self, method: &str) -> Reply {
        self.reply_or_end(method).await.expect("a whole response")
    }

    /// Reads a response that may break off: `None` if it does.
    ///
    /// # Panics
    ///
    /// If nothing happens within 30 s, or the response is not valid.
    pub async fn reply_or_end(&mut self, method: &str) -> Option<Reply> {
        let reply = tokio::time::timeout(PATIENCE, self.read_reply(method)).await;
        let read = &self.read;
        reply.unwrap_or_else(|_| panic!("no end in time, after {}", read.escape_ascii()))
    }

    /// Whether the server has closed the connection; waits for it.
    ///
    /// # Panics
    ///
    /// If nothing happens within 30 s.
    pub async fn is_closed(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, self.fill())
            .await
            .expect("an end in time")
            .is_none()
    }

    /// Leaves.
    pub fn leave(&mut self) {
        self.stream = None;
        self.read.clear();
    }

    async fn read_reply(&mut self, method: &str) -> Option<Reply> {
        let (status, headers) = loop {
            let (status, headers) = self.read_head().await?;
            if status >= 200 {
                break (status, headers);
            }
        };
        let body = self.read_body(method, status, &headers).await?;
        let closes = headers
            .get("connection")
            .is_some_and(|value| value == "close");
        if closes {
            self.leave();
        }
        Some(Reply {
            status,
            headers,
            body,
            closes,
        })
    }

    async fn read_head(&mut self) -> Option<(u16, HeaderMap)> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut head = httparse::Response::new(&mut fields);
            if let httparse::Status::Complete(length) =
                head.parse(&self.read).expect("a valid head")
            {
                let status = head.code.expect("a status");
                let headers = head.headers.iter().map(|field| {
                    let name = HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
                    (name, HeaderValue::from_bytes(field.value).expect("a value"))
                });
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    map.append(name, value);
                }
                self.read.drain(..length);
                return Some((status, map));
            }
            self.fill().await?;
        }
    }

    async fn read_body(
        &mut self,
        method: &str,
        status: u16,
        headers: &HeaderMap,
    ) -> Option<Vec<u8>> {
        if method == "HEAD" || matches!(status, 204 | 304) {
            return Some(Vec::new());
        }
        if headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            return self.read_chunks().await;
        }
        match headers.get("content-length") {
            Some(length) => self.take(length.to_str().ok()?.parse().ok()?).await,
            None => {
                while self.fill().await.is_some() {}
                Some(std::mem::take(&mut self.read))
            }
        }
    }

    async fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size =
                usize::from_str_radix(line.split(';').next()?.trim(), 16).expect("a chunk's size");
            if size == 0 {
                // Trailers end with an empty line.
                while !self.line().await?.is_empty() {}
                return Some(body);
            }
            body.extend(self.take(size).await?);
            assert_eq!(self.line().await?, "", "the end of a chunk");
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("text"));
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            self.fill().await?;
        }
        Some(self.read.drain(..length).collect())
    }

    /// Reads more; `None` at the end.
    async fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        let read = self.stream.as_mut()?.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            self.stream = None;
            return None;
        }
        self.read.extend_from_slice(&buffer[..read]);
        Some(())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

// === impl Reply ===

impl Reply {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

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
