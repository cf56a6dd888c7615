//! Clients that speak TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cirrus_core::testing::{Client, certs};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::soon;

/// An HTTP/2 connection; its own work ends when it is dropped.
pub(crate) struct H2 {
    send: SendRequest<Bytes>,
    connection: JoinSet<Result<(), h2::Error>>,
}

/// A response with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A handshake under `name`, trusting `root`, with these protocols.
pub(crate) async fn shake(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    name: &str,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = certs::client_trusting(std::slice::from_ref(root), alpn);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// The certificate that the server has shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate");
    chain[0].clone().into_owned()
}

/// A client of HTTP/1.1.
pub(crate) async fn h1(address: SocketAddr, root: &CertificateDer<'static>, name: &str) -> Client {
    let stream = shake(address, root, name, &[b"http/1.1"])
        .await
        .expect("a handshake");
    Client::to(address).host(name).over(stream)
}

/// A client of HTTP/2.
pub(crate) async fn h2(address: SocketAddr, root: &CertificateDer<'static>, name: &str) -> H2 {
    let stream = shake(address, root, name, &[b"h2", b"http/1.1"])
        .await
        .expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut settings = h2::client::Builder::new();
    // Room on the connection for more than one stream that nobody reads.
    settings.initial_connection_window_size(1 << 20);
    let (send, connection) = soon(settings.handshake(stream)).await.expect("a preface");
    let mut running = JoinSet::new();
    running.spawn(connection);
    H2 {
        send,
        connection: running,
    }
}

/// A GET.
pub(crate) fn get(url: &str) -> Request<()> {
    Request::get(url).body(()).expect("a request")
}

/// Reads a response to its end.
pub(crate) async fn whole(response: ResponseFuture) -> Result<Whole, h2::Error> {
    let (parts, mut stream) = soon(response).await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = soon(stream.data()).await {
        let chunk = chunk?;
        give_back(&mut stream, chunk.len());
        body.extend_from_slice(&chunk);
    }
    let trailers = soon(stream.trailers()).await?;
    let head = Response::from_parts(parts, ());
    Ok(Whole {
        head,
        body,
        trailers,
    })
}

fn give_back(stream: &mut RecvStream, bytes: usize) {
    stream
        .flow_control()
        .release_capacity(bytes)
        .expect("bytes that were received");
}

/// Sends a body as fast as the server takes it.
pub(crate) async fn upload(stream: &mut SendStream<Bytes>, mut body: Bytes, trailers: HeaderMap) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = soon(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
        let room = room.expect("an open stream").expect("room").min(body.len());
        stream
            .send_data(body.split_to(room), false)
            .expect("an open stream");
    }
    stream.send_trailers(trailers).expect("an open stream");
}

// === impl H2 ===

impl H2 {
    /// Sends a request without a body.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> Result<ResponseFuture, h2::Error> {
        Ok(self.open(request, true).await?.0)
    }

    /// Sends a request's header.
    pub(crate) async fn open(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut ready = soon(self.send.clone().ready()).await?;
        ready.send_request(request, ends)
    }

    /// Gets a whole response.
    pub(crate) async fn get(&mut self, url: &str) -> Whole {
        let response = self.ask(get(url)).await.expect("an open connection");
        whole(response).await.expect("a response")
    }

    /// How the connection ends.
    pub(crate) async fn end(mut self) -> Result<(), h2::Error> {
        drop(self.send);
        soon(self.connection.join_next())
            .await
            .expect("a connection")
            .expect("no panic")
    }
}

// === impl Whole ===

impl Whole {
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name)?.to_str().ok()
    }
}
