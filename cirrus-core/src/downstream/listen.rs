//! Sockets: bind, accept, refuse what is too much.

use std::future::Future;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::Connection;
use super::http::{self, Version};
use super::proxy_protocol::{self, HeaderTime, Refusal, Senders};
use super::tls::{Accepted, Acceptor};
use crate::config::ListenConfig;
use crate::server::{Admission, Worker};
use crate::upstream::passthrough;

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

/// A connection that was accepted, and what it needs to be served.
struct Opening {
    stream: TcpStream,
    connection: Connection,
    admission: Admission,
    worker: Arc<Worker>,
}

/// When a socket begins to share its port with those of other workers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sharing {
    /// The first one: the port has to be free. With `SO_REUSEPORT` from the start, a second program would share it
    /// without a word; asking once without it and binding again would leave a gap in which the port is lost.
    AfterBind,
    BeforeBind,
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
        let first = socket(config.address, Sharing::AfterBind).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        let others = (1..workers).map(|_| socket(address, Sharing::BeforeBind));
        let sockets = iter::once(Ok(first))
            .chain(others)
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

fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<std::net::TcpListener> {
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
    socket.set_reuse_port(sharing == Sharing::BeforeBind)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
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
    stream: TcpStream,
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
    let tasks = worker.connections.clone();
    // A task is as large as the largest thing it ever does, for as long as it lives: what only begins a connection is
    // boxed, and most connections are served without a step between.
    if !is_introduced && tls.is_none() {
        return tasks.spawn(http::serve(
            stream,
            version,
            Arc::new(connection),
            admission,
            worker,
        ));
    }
    let mut opening = Box::new(Opening {
        stream,
        connection,
        admission,
        worker,
    });
    tasks.spawn(async move {
        if is_introduced && !Box::pin(opening.is_introduced()).await {
            return;
        }
        match tls {
            None => (*opening).serve(version).await,
            Some(tls) => secure(opening, tls).await,
        }
    });
}

// === impl Opening ===

impl Opening {
    /// Whether a connection that must begin with a PROXY protocol header did, and its client has room for it.
    async fn is_introduced(&mut self) -> bool {
        introduced(&mut self.stream, &mut self.connection, &self.worker).await
            && self
                .worker
                .count(&mut self.admission, self.connection.peer.ip())
    }

    /// Serves it without TLS.
    fn serve(self, version: Version) -> impl Future<Output = ()> + Send {
        let Self {
            stream,
            connection,
            admission,
            worker,
        } = self;
        http::serve(stream, version, Arc::new(connection), admission, worker)
    }
}

/// Whether a connection that must begin with a PROXY protocol header did.
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

/// Serves a connection with TLS.
async fn secure(opening: Box<Opening>, tls: Acceptor) {
    match Box::pin(shaken(opening, tls)).await {
        Some(Next::Served(served)) => served.await,
        Some(Next::Passed(passed)) => passed.await,
        None => {}
    }
}

/// What is left to be done for a connection.
enum Next<F> {
    Served(F),
    Passed(BoxFuture<'static, ()>),
}

/// Performs the handshake; what is left to be done then is to serve the connection.
async fn shaken(
    opening: Box<Opening>,
    tls: Acceptor,
) -> Option<Next<impl Future<Output = ()> + Send>> {
    let Opening {
        stream,
        connection,
        admission,
        worker,
    } = *opening;
    let Some(room) = tls.admit() else {
        // Dropped: closed at once. A queue of handshakes would only grow.
        worker.cells.handshakes_refused.add(1);
        return None;
    };
    worker.cells.handshakes_begun.add(1);
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => Some(shaken),
        () = worker.drain.over() => None,
    };
    worker.cells.handshakes_ended.add(1);
    drop(room);
    match shaken? {
        Ok(Accepted::Passed(stream, said, cluster)) => Some(Next::Passed(Box::pin(async move {
            passthrough::pass(stream, said, cluster, &connection, &worker).await;
            drop(admission);
        }))),
        Ok(Accepted::Ended(stream, handshake)) => {
            worker.cells.handshakes.add(1);
            let mut connection = connection
                .secured(Some(handshake.certificate))
                .with_server_name(handshake.sni);
            connection.session = Some(handshake.session);
            let connection = Arc::new(connection);
            let version = match handshake.h2 {
                true => Version::Http2,
                false => Version::Http1,
            };
            let served = http::serve(stream, version, connection, admission, worker);
            Some(Next::Served(served))
        }
        Err(error) => {
            worker.cells.handshake_failures.add(1);
            tracing::debug!(peer = %connection.peer, %error, "a handshake failed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::{Config, Format};
    use crate::testing::ports;

    fn listening(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
        let toml = format!(
            "[[listen]]\naddress = \"{address}\"\n[[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = {{}}\n"
        );
        let (config, _) = Config::parse(&toml, Format::Toml).unwrap();
        Bound::new(&config.listen[0], workers)
    }

    #[test]
    fn each_worker_gets_its_connections() {
        for address in [ports::free(), SocketAddr::from(([127, 0, 0, 1], 0))] {
            let bound = listening(address, 3).unwrap();
            let held: Vec<_> = (0..100)
                .map(|_| std::net::TcpStream::connect(bound.address).unwrap())
                .collect();
            let reached: HashSet<_> = (0..3)
                .filter(|worker| bound.sockets[*worker].accept().is_ok())
                .collect();
            assert_eq!(reached.len(), 3, "of {} connections", held.len());
        }
    }

    #[test]
    fn a_port_is_not_shared_with_a_second_listener() {
        let first = listening(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let error = listening(first.address, 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }
}
