//! A stretch of network that a test can cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::origin::REST;
use super::ports;
use crate::server::{Drain, Tasks};

/// How long an answer by UDP is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes TCP connections and UDP datagrams on to a server, as long as the test lets it.
///
/// ```no_run
/// # use cirrus_core::testing::Forwarder;
/// # async fn test(consul: std::net::SocketAddr) {
/// let network = Forwarder::to(consul).await;
/// // Give `network.address()` to the edge, and then:
/// network.cut();
/// network.heal();
/// # }
/// ```
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    drain: Drain,
}

/// What becomes of what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// What comes back takes this much longer.
    Slow(Duration),
    /// Connections stay and can be made; no byte passes.
    Cut,
    /// There is nobody: connections are closed and none can be made.
    Refusing,
}

/// Where the bytes go, and whether they may.
#[derive(Clone, Debug)]
struct Road {
    target: SocketAddr,
    way: watch::Receiver<Way>,
}

// === impl Forwarder ===

impl Forwarder {
    /// In front of a server, on a free port of the loopback interface.
    ///
    /// # Panics
    ///
    /// If there is no port to be had.
    pub async fn to(target: SocketAddr) -> Self {
        Self::at(ports::free(), target).await
    }

    async fn at(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        Self::listening(listener, target).await
    }

    /// In front of a server, with a socket that is there already: one in another network namespace, perhaps. It cannot
    /// [`refuse`](Self::refuse) and come back.
    ///
    /// # Panics
    ///
    /// If the same port cannot be had by UDP on the loopback interface.
    pub async fn listening(listener: TcpListener, target: SocketAddr) -> Self {
        let address = listener.local_addr().expect("an address");
        let (way, drain) = (Arc::new(watch::Sender::new(Way::Open)), Drain::default());
        let (road, tasks) = (
            Road {
                target,
                way: way.subscribe(),
            },
            Tasks::default(),
        );
        if address.ip() == Ipv4Addr::LOCALHOST {
            let socket = UdpSocket::bind(address).await.expect("a free port");
            let datagrams = road.clone().datagrams(Arc::new(socket), tasks.clone());
            begin(&tasks, &drain, datagrams);
        }
        begin(&tasks, &drain, road.connections(listener, tasks.clone()));
        Self {
            address,
            way,
            drain,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through any more, and tells nobody: connections stay, new ones are made, but no byte passes.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Refuses connections, and closes those there are. Datagrams are lost.
    pub fn refuse(&self) {
        self.way.send_replace(Way::Refusing);
    }

    /// Has everything that comes back take this much longer.
    pub fn slow(&self, by: Duration) {
        self.way.send_replace(Way::Slow(by));
    }

    /// Lets everything through. What was held up on connections goes on its way.
    pub fn heal(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

// === impl Road ===

impl Road {
    async fn connections(mut self, mut listener: TcpListener, tasks: Tasks) {
        let address = listener.local_addr().expect("an address");
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        // Out of descriptors, which others have to give back first.
                        sleep(REST).await;
                        continue;
                    };
                    tasks.spawn(self.clone().connection(stream));
                }
                () = self.is(|way| way == Way::Refusing) => {
                    drop(listener);
                    self.is(|way| way != Way::Refusing).await;
                    listener = TcpListener::bind(address).await.expect("its port is still free");
                }
            }
        }
    }

    /// Until one side has gone, or the network refuses.
    async fn connection(mut self, mut near: TcpStream) {
        let mut mine = self.clone();
        let passing = async move {
            mine.passable().await;
            let Ok(mut far) = TcpStream::connect(mine.target).await else {
                return;
            };
            let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
            let there = mine.clone().pass(near_in, far_out, false);
            tokio::select! {
                () = there => {}
                () = mine.pass(far_in, near_out, true) => {}
            }
        };
        tokio::select! {
            () = passing => {}
            () = self.is(|way| way == Way::Refusing) => {}
        }
    }

    async fn pass(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        is_back: bool,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if let (true, Way::Slow(by)) = (is_back, self.way()) {
                sleep(by).await;
            }
            self.passable().await;
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }

    async fn datagrams(self, near: Arc<UdpSocket>, tasks: Tasks) {
        let mut buffer = vec![0; 65_535];
        loop {
            let Ok((length, whose)) = near.recv_from(&mut buffer).await else {
                continue;
            };
            if self.way() == Way::Open || matches!(self.way(), Way::Slow(_)) {
                let question = buffer[..length].to_vec();
                let (road, near) = (self.clone(), Arc::clone(&near));
                tasks.spawn(async move {
                    let answer = timeout(PATIENCE, road.exchanged(&question)).await;
                    if let Ok(Ok(answer)) = answer
                        && matches!(road.way(), Way::Open | Way::Slow(_))
                    {
                        let _ = near.send_to(&answer, whose).await;
                    }
                });
            }
        }
    }

    async fn exchanged(&self, question: &[u8]) -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.target).await?;
        socket.send(question).await?;
        let mut answer = vec![0; 65_535];
        let length = socket.recv(&mut answer).await?;
        if let Way::Slow(by) = self.way() {
            sleep(by).await;
        }
        answer.truncate(length);
        Ok(answer)
    }

    fn way(&self) -> Way {
        *self.way.borrow()
    }

    async fn passable(&mut self) {
        self.is(|way| matches!(way, Way::Open | Way::Slow(_))).await;
    }

    /// Until the network is like this; for ever if nobody can change it any more.
    async fn is(&mut self, like: impl Fn(Way) -> bool) {
        if self.way.wait_for(|way| like(*way)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn begin(tasks: &Tasks, drain: &Drain, work: impl Future<Output = ()> + Send + 'static) {
    let drain = drain.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = work => {}
            () = drain.begun() => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Client, Origin, reply};

    #[tokio::test]
    async fn what_is_cut_is_silent_and_what_refuses_is_not_there() {
        let origin = Origin::new().get("/", |_| reply("here")).run().await;
        let network = Forwarder::to(origin.address()).await;
        let mut client = Client::to(network.address());
        assert_eq!(client.get("/").await.text(), "here");
        network.cut();
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut other = Client::to(network.address());
        other.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let silent = timeout(Duration::from_millis(100), client.reply_to("GET")).await;
        assert!(silent.is_err());
        assert_eq!(origin.count(), 1);
        network.heal();
        assert_eq!(client.reply_to("GET").await.text(), "here");
        assert_eq!(other.reply_to("GET").await.text(), "here");
        network.refuse();
        assert!(client.is_closed().await);
        let refused = async {
            while TcpStream::connect(network.address()).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, refused).await.unwrap();
        network.heal();
        let back = async {
            while TcpStream::connect(network.address()).await.is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, back).await.unwrap();
        assert_eq!(Client::to(network.address()).get("/").await.text(), "here");
    }

    #[tokio::test]
    async fn datagrams_pass_or_are_lost() {
        let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let network = Forwarder::to(echo.local_addr().unwrap()).await;
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        near.connect(network.address()).await.unwrap();
        let mut buffer = [0; 16];
        near.send(b"one").await.unwrap();
        let (length, whose) = echo.recv_from(&mut buffer).await.unwrap();
        echo.send_to(&buffer[..length], whose).await.unwrap();
        assert_eq!(near.recv(&mut buffer).await.unwrap(), 3);
        network.cut();
        near.send(b"two").await.unwrap();
        let lost = timeout(Duration::from_millis(50), echo.recv_from(&mut buffer)).await;
        assert!(lost.is_err());
    }
}
