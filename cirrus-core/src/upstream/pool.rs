//! Connections kept open between requests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::BytesMut;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};
use tokio_rustls::client::TlsStream;

use super::connect::{ClientTls, Introduction};
use super::h1::is_quiet;
use super::slots::Slot;
use crate::config::{OriginProtocol, OriginUrl};
use crate::downstream::Connection;

/// The most idle connections to one endpoint that one worker keeps.
pub const MAX_IDLE: usize = 128;

/// How long a connection may stay idle.
pub const IDLE_TIME: Duration = Duration::from_secs(60);

/// Everything that makes two connections interchangeable; compared in full, never by a hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Scheme, host and port.
    pub(crate) url: OriginUrl,
    /// The name asked for and verified in TLS, if not the host.
    pub(crate) sni: Option<Arc<str>>,
    /// Whom TLS believes, and who we are in it, if the cluster says.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// What is said ahead of everything.
    pub(crate) introduction: Option<Introduction>,
    /// What is offered in TLS, and spoken without.
    pub(crate) protocol: OriginProtocol,
    /// The cluster that has it to itself, because its pool has rules of its own: connections that others have opened are
    /// not counted there, nor kept as it wants.
    pub(crate) owner: Option<Arc<str>>,
}

/// How long connections are kept, and for how many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// The most idle ones to one endpoint that one worker keeps.
    pub(crate) max_idle: usize,
    pub(crate) idle_time: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_requests: Option<u32>,
}

/// The idle connections of one worker. The lock is another worker's business only at reaping and shutdown.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Arc<Transport>, Vec<Idle>, RandomState>>,
}

struct Idle {
    wire: Box<Wire>,
    /// Too late to take it from then on.
    until: Instant,
}

/// One connection with what was read ahead on it. Boxed wherever it goes: it moves a few times for every request.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) io: Io,
    pub(crate) read: BytesMut,
    /// It has carried a request before: the origin may close it under us.
    pub(crate) reused: bool,
    born: Instant,
    /// When it was handed out for the present request.
    pub(super) taken: Instant,
    /// How many requests it has carried to their ends.
    served: u32,
    /// Its place among the endpoint's connections, if they are counted.
    slot: Option<Slot>,
    /// Of the last exchange's waits.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The bytes' way, with or without TLS.
#[derive(Debug)]
pub(crate) enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where a connection goes back to.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pool: Weak<Pool>,
    transport: Arc<Transport>,
    keep: Keep,
}

// === impl Transport ===

impl Transport {
    /// The same for one client, if that makes a difference.
    pub(crate) fn for_client(&self, client: &Connection) -> Cow<'_, Self> {
        let Some(introduction) = self.introduction else {
            return Cow::Borrowed(self);
        };
        // A program that drives the engine may not know whose connection it is.
        let known = !client.peer.ip().is_unspecified();
        Cow::Owned(Self {
            introduction: Some(Introduction {
                client: known.then_some((client.peer, client.local)),
                ..introduction
            }),
            ..self.clone()
        })
    }
}

impl Hash for Transport {
    /// These tell nearly all of them apart; equality compares the rest.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.hash(state);
        self.sni.hash(state);
    }
}

// === impl Keep ===

impl Keep {
    /// Until when this connection may be idle; `None` if it is to be closed now.
    fn until(&self, wire: &Wire, now: Instant) -> Option<Instant> {
        if self.max_requests.is_some_and(|most| wire.served >= most) {
            return None;
        }
        let until = now + self.idle_time;
        match self.max_age.map(|age| wire.born + age) {
            Some(end) => (now < end).then(|| until.min(end)),
            None => Some(until),
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            max_idle: MAX_IDLE,
            idle_time: IDLE_TIME,
            max_age: None,
            max_requests: None,
        }
    }
}

// === impl Pool ===

impl Pool {
    /// Takes the connection that was idle for the shortest time. Never waits: `None` means "connect".
    pub(crate) fn take(&self, transport: &Transport, now: Instant) -> Option<Box<Wire>> {
        loop {
            let mut idle = self.idle.lock().get_mut(transport)?.pop()?;
            // The origin has closed it, or sends what nobody asked for.
            if now < idle.until && is_quiet(&mut idle.wire) {
                idle.wire.reused = true;
                idle.wire.taken = now;
                if let Some(slot) = &mut idle.wire.slot {
                    slot.work();
                }
                return Some(idle.wire);
            }
        }
    }

    /// Where a connection of this transport goes back to.
    pub(crate) fn home(self: &Arc<Self>, transport: &Arc<Transport>, keep: Keep) -> Home {
        Home {
            pool: Arc::downgrade(self),
            transport: Arc::clone(transport),
            keep,
        }
    }

    fn put(&self, transport: Arc<Transport>, mut wire: Box<Wire>, keep: Keep, now: Instant) {
        wire.served = wire.served.saturating_add(1);
        let Some(until) = keep.until(&wire, now) else {
            return;
        };
        // An idle connection keeps no buffer.
        wire.read = BytesMut::new();
        let slots = wire.slot.as_mut().map(Slot::rest);
        let mut pool = self.idle.lock();
        let idle = pool.entry(transport).or_default();
        if idle.len() < keep.max_idle {
            idle.push(Idle { wire, until });
        }
        drop(pool);
        if let Some(slots) = slots {
            slots.tell();
        }
    }

    /// Closes the connection that was idle for the longest time; `false` if there is none.
    pub(crate) fn evict(&self, transport: &Transport) -> bool {
        let mut pool = self.idle.lock();
        let idle = pool.get_mut(transport).filter(|idle| !idle.is_empty());
        let oldest = idle.map(|idle| idle.remove(0));
        drop(pool);
        oldest.is_some()
    }

    /// Closes what has been idle for too long.
    pub(crate) fn reap(&self) {
        let now = Instant::now();
        self.idle.lock().retain(|_, idle| {
            idle.retain(|one| now < one.until);
            !idle.is_empty()
        });
    }

    /// How many connections are idle.
    pub(crate) fn len(&self) -> usize {
        self.idle.lock().values().map(Vec::len).sum()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.len()).finish()
    }
}

// === impl Home ===

impl Home {
    /// Gives a connection back that is ready for another request.
    pub(crate) fn put(self, wire: Box<Wire>, now: Instant) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.transport, wire, self.keep, now);
        }
    }
}

// === impl Wire ===

impl Wire {
    /// A connection that has carried nothing yet.
    pub(crate) fn new(io: Io) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            io,
            read: BytesMut::new(),
            reused: false,
            born: now,
            taken: now,
            served: 0,
            slot: None,
            timer: None,
        })
    }

    /// A timer that is due within `limit`, or sooner: making one for every exchange would cost more than looking again.
    pub(super) fn timer(&mut self, limit: Duration) -> Pin<Box<Sleep>> {
        let due = self.taken + limit;
        match self.timer.take() {
            Some(mut timer) => {
                if due < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(due);
                }
                timer
            }
            None => Box::pin(tokio::time::sleep_until(due)),
        }
    }

    /// Keeps it for the next exchange.
    pub(super) fn keep_timer(&mut self, timer: Pin<Box<Sleep>>) {
        self.timer = Some(timer);
    }

    /// The same one, counted among the endpoint's.
    pub(crate) fn within(mut self: Box<Self>, slot: Option<Slot>) -> Box<Self> {
        self.slot = slot;
        self
    }
}

// === impl Io ===

impl Io {
    /// The protocol that was agreed on in TLS.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Tls(io) => io.get_ref().1.alpn_protocol(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            Self::Unix(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(url: &str) -> Arc<Transport> {
        Arc::new(Transport {
            url: url.parse().unwrap(),
            sni: None,
            tls: None,
            introduction: None,
            protocol: crate::config::OriginProtocol::Http1,
            owner: None,
        })
    }

    /// A connection, and the origin's end of it.
    fn wire() -> (Box<Wire>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Wire::new(Io::Unix(ours)), theirs)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_for_its_idle_time() {
        let (pool, to, keep) = (
            Arc::new(Pool::default()),
            transport("http://a"),
            Keep::default(),
        );
        let (one, _origin) = wire();
        pool.home(&to, keep).put(one, Instant::now());
        tokio::time::advance(secs(59)).await;
        let one = pool.take(&to, Instant::now()).unwrap();
        assert!(one.reused);
        pool.home(&to, keep).put(one, Instant::now());
        tokio::time::advance(secs(60)).await;
        assert!(pool.take(&to, Instant::now()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_reaper_closes_what_was_idle_for_too_long() {
        let (pool, to) = (Arc::new(Pool::default()), transport("http://a"));
        let (one, _origin) = wire();
        let keep = Keep {
            idle_time: secs(5),
            ..Keep::default()
        };
        pool.home(&to, keep).put(one, Instant::now());
        tokio::time::advance(secs(4)).await;
        pool.reap();
        assert_eq!(pool.len(), 1);
        tokio::time::advance(secs(1)).await;
        pool.reap();
        assert_eq!(pool.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn age_and_requests_end_a_connection() {
        let (pool, to) = (Arc::new(Pool::default()), transport("http://a"));
        let old = Keep {
            max_age: Some(secs(90)),
            ..Keep::default()
        };
        let (mut one, _origin) = wire();
        for _ in 0..2 {
            tokio::time::advance(secs(40)).await;
            pool.home(&to, old).put(one, Instant::now());
            one = pool.take(&to, Instant::now()).unwrap();
        }
        // It may be idle until its age is over, and not for its idle time.
        pool.home(&to, old).put(one, Instant::now());
        tokio::time::advance(secs(10)).await;
        assert!(pool.take(&to, Instant::now()).is_none(), "90 seconds old");

        let often = Keep {
            max_requests: Some(2),
            ..Keep::default()
        };
        let (one, _origin) = wire();
        pool.home(&to, often).put(one, Instant::now());
        let one = pool.take(&to, Instant::now()).unwrap();
        pool.home(&to, often).put(one, Instant::now());
        assert!(pool.take(&to, Instant::now()).is_none(), "two were enough");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_may_be_idle() {
        let (pool, to) = (Arc::new(Pool::default()), transport("http://a"));
        let keep = Keep {
            max_idle: 2,
            ..Keep::default()
        };
        let ends: Vec<UnixStream> = (0..5)
            .map(|_| {
                let (one, end) = wire();
                pool.home(&to, keep).put(one, Instant::now());
                end
            })
            .collect();
        assert_eq!((pool.len(), ends.len()), (2, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_told_apart_by_everything_that_made_them() {
        let tls = |min_version| {
            let settings = crate::config::UpstreamTlsConfig {
                min_version,
                ..Default::default()
            };
            Some(Arc::new(ClientTls::new(&settings)))
        };
        let url = transport("http://a");
        let introduced = |version| Transport {
            introduction: Some(Introduction {
                version,
                client: None,
            }),
            ..(*url).clone()
        };
        use crate::config::{SendProxyProtocol as Send, UpstreamTlsVersion as Version};
        let with = |tls| Transport {
            tls,
            ..(*url).clone()
        };
        let all = [
            (*url).clone(),
            (*transport("https://a")).clone(),
            (*transport("unix:/a")).clone(),
            Transport {
                sni: Some("b".into()),
                ..(*url).clone()
            },
            introduced(Send::V1),
            introduced(Send::V2),
            with(tls(Version::V1_2)),
            with(tls(Version::V1_3)),
        ];
        let pool = Arc::new(Pool::default());
        for (index, one) in all.iter().enumerate() {
            let (wire, _origin) = wire();
            pool.home(&Arc::new(one.clone()), Keep::default())
                .put(wire, Instant::now());
            for other in &all[index + 1..] {
                assert!(
                    pool.take(other, Instant::now()).is_none(),
                    "{one:?} for {other:?}"
                );
            }
            drop(pool.take(one, Instant::now()));
        }
        let same = |version| Arc::new(with(tls(version)));
        let (wire, _origin) = wire();
        pool.home(&same(Version::V1_3), Keep::default())
            .put(wire, Instant::now());
        assert!(
            pool.take(&same(Version::V1_3), Instant::now()).is_some(),
            "the same settings"
        );
    }
}
