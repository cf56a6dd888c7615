//! Sockets: bind, accept, refuse what is too much.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::Connection;
use super::http::{self, Version};
use super::proxy_protocol::{self, HeaderTime, Refusal, Senders};
use super::tls::Acceptor;
use crate::config::ListenConfig;
use crate::server::{Admission, Worker};

/// Connections that the kernel keeps for each worker until it accepts them.
const BACKLOG: i32 = 4096;

/// How long accepting rests after an error that another try at once would meet again (no file descriptors left).
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// One address with a socket for each worker.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) http2: bool,
    pub(crate) half_close: bool,
    pub(crate) senders: Senders,
    pub(crate) sockets: Vec<std::net::TcpListener>,
}

/// How the connections of a listener begin.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) tls: Option<Acceptor>,
    pub(crate) http2: bool,
    pub(crate) half_close: bool,
    pub(crate) senders: Senders,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", hint(.source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another port".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

// === impl Bound ===

impl Bound {
    /// Binds an address once for each worker; the kernel spreads the connections over them (`SO_REUSEPORT`).
    pub(crate) fn new(config: &ListenConfig, workers: usize) -> Result<Self, BindError> {
        let failed = |source| BindError {
            address: config.address,
            source,
        };
        // With SO_REUSEPORT a second program would share the port without a word: ask once without it.
        let first = socket(config.address, false).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        drop(first);
        let sockets = (0..workers)
            .map(|_| socket(address, true))
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        Ok(Self {
            address,
            tls: config.tls,
            http2: config.http2,
            half_close: config.half_close,
            senders: Senders::new(&config.proxy_protocol),
            sockets,
        })
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` is IPv6 alone, so that `0.0.0.0` can stand beside it.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections until draining begins; those the kernel already holds are still served, later ones refused.
pub(crate) async fn accept(listener: TcpListener, beginning: Beginning, worker: Arc<Worker>) {
    let local = match listener.local_addr() {
        Ok(local) => local,
        Err(error) => return tracing::error!(%error, "a listening socket is gone"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = worker.drain.begun() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Behind `0.0.0.0` each connection has an address of its own.
                let local = match local.ip().is_unspecified() {
                    true => stream.local_addr().unwrap_or(local),
                    false => local,
                };
                let connection = Connection::plain(peer, local);
                begin(stream, connection, &beginning, &worker);
            }
            Err(error) if is_fleeting(&error) => {}
            Err(error) => {
                tracing::warn!(%error, %local, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// The client gave up before it was accepted.
fn is_fleeting(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Serves a connection in a task of its own, if there is room for one more.
fn begin(
    mut stream: TcpStream,
    mut connection: Connection,
    beginning: &Beginning,
    worker: &Arc<Worker>,
) {
    let Some(mut admission) = worker.admit() else {
        // Dropped: closed at once. The accept loop must never wait for room.
        return worker.cells.refused.add(1);
    };
    connection.half_close = beginning.half_close;
    let peer = connection.peer.ip();
    let is_introduced = beginning.senders.include(peer);
    // Whose a connection is that must be introduced is known only then.
    if !is_introduced && !worker.count(&mut admission, peer) {
        return;
    }
    // Without it small responses would wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let (worker, tls) = (Arc::clone(worker), beginning.tls.clone());
    let version = match beginning.http2 {
        true => Version::Either,
        false => Version::Http1,
    };
    worker.clone().connections.spawn(async move {
        let is_admitted = !is_introduced
            || introduced(&mut stream, &mut connection, &worker).await
                && worker.count(&mut admission, connection.peer.ip());
        if !is_admitted {
            return;
        }
        let connection = Arc::new(connection);
        match tls {
            None => http::serve(stream, version, connection, admission, worker).await,
            Some(tls) => secure(stream, &connection, &tls, admission, worker).await,
        }
    });
}

/// Whether a connection that must begin with a PROXY protocol header did, and goes on.
async fn introduced(stream: &mut TcpStream, connection: &mut Connection, worker: &Worker) -> bool {
    let peer = connection.peer;
    let limit = HeaderTime(worker.engine.live.now().limits.header_time);
    let introduced = tokio::select! {
        introduced = proxy_protocol::introduce(stream, connection, limit) => introduced,
        () = worker.drain.over() => return false,
    };
    match &introduced {
        Ok(()) | Err(Refusal::Left) => {}
        Err(Refusal::Silent) => worker.cells.timed_out.add(1),
        Err(Refusal::Malformed(error)) => {
            worker.cells.proxy_protocol_errors.add(1);
            tracing::debug!(%peer, %error, "a connection has no valid PROXY protocol header");
        }
    }
    introduced.is_ok()
}

async fn secure(
    stream: TcpStream,
    connection: &Connection,
    tls: &Acceptor,
    admission: Admission,
    worker: Arc<Worker>,
) {
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        () = worker.drain.over() => return,
    };
    match shaken {
        Ok((stream, handshake)) => {
            worker.cells.handshakes.add(1);
            let connection = connection.clone().secured(Some(handshake.certificate));
            let connection = Arc::new(connection.with_server_name(handshake.sni));
            let version = match handshake.h2 {
                true => Version::Http2,
                false => Version::Http1,
            };
            http::serve(stream, version, connection, admission, worker).await;
        }
        Err(error) => {
            worker.cells.handshake_failures.add(1);
            tracing::debug!(peer = %connection.peer, %error, "a handshake failed");
        }
    }
}
