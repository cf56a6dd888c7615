//! Sockets as an attacker has them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than the program's patience with anybody.
const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses that attacks come from: each has ports of its own.
const SOURCES: usize = 64;

/// Connects as the client of this number.
pub(crate) async fn connect(number: usize, to: SocketAddr) -> TcpStream {
    from(number)
        .connect(to)
        .await
        .expect("a server that accepts")
}

/// A socket of the client of this number.
pub(crate) fn from(number: usize) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = Ipv4Addr::new(127, 0, 1, (number % SOURCES) as u8);
    socket.bind((source, 0).into()).expect("a port");
    socket
}

/// Runs `count` clients at the same time, to the end of each.
pub(crate) async fn clients<F>(count: usize, client: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running: JoinSet<()> = (0..count).map(client).collect();
    while let Some(ended) = running.join_next().await {
        ended.expect("a client that was treated as it should be");
    }
}

/// What the server says until it ends the connection.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read))
        .await
        .expect("the server ends the connection");
    read
}
