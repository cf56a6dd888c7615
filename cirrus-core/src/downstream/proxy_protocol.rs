//! The PROXY protocol: what a load balancer in front says about whose connection this is, ahead of TLS and HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::connection::Connection;

/// The networks whose connections begin with a header.
#[derive(Clone, Debug)]
pub(crate) struct Senders(Arc<[IpNet]>);

/// Why a connection that must begin with a header is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It ended before its first byte, as a load balancer's probe does.
    Left,
    /// The header was not complete in time.
    Silent,
    /// What came is no header.
    Malformed(io::Error),
}

/// Longest wait for the whole header.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderTime(pub(super) Duration);

/// Source and destination.
type Addresses = (SocketAddr, SocketAddr);

/// `PROXY UNKNOWN\r\n`. Whatever the version, so many bytes belong to the header.
const SHORTEST: usize = 15;

/// The longest line of version 1.
const LINE: usize = 107;

/// The part of version 2 that tells the length of the rest.
const FIXED: usize = 16;

/// Version 2, and the sender speaks for itself.
const LOCAL: u8 = 0x20;

/// The longest header of version 2 that is read.
const LONGEST: usize = 4096;

// === impl Senders ===

impl Senders {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    pub(super) fn include(&self, peer: IpAddr) -> bool {
        // A dual-stack socket shows IPv4 peers as IPv6 ones.
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

// === reading ===

/// Takes the header off a connection, and its addresses over.
pub(super) async fn introduce(
    stream: &mut TcpStream,
    connection: &mut Connection,
    limit: HeaderTime,
) -> Result<(), Refusal> {
    let header = tokio::time::timeout(limit.0, read(stream));
    let header = header.await.map_err(|_| Refusal::Silent)??;
    if let Some((source, destination)) = parse(&header).map_err(Refusal::Malformed)? {
        connection.peer = source;
        connection.local = destination;
    }
    Ok(())
}

/// Reads the header and not a byte more.
async fn read(stream: &mut TcpStream) -> Result<Vec<u8>, Refusal> {
    if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
        return Err(Refusal::Left);
    }
    let mut header = Vec::with_capacity(LINE);
    let read = async {
        while header.len() < SHORTEST {
            let rest = (SHORTEST - header.len()) as u64;
            ended((&mut *stream).take(rest).read_buf(&mut header).await?)?;
            if !(begins(&header, b"PROXY ") || begins(&header, v2::PROTOCOL_PREFIX)) {
                return Err(invalid("there is no header"));
            }
        }
        if header.starts_with(v2::PROTOCOL_PREFIX) {
            read_binary(stream, &mut header).await
        } else {
            read_line(stream, &mut header).await
        }
    };
    read.await.map_err(Refusal::Malformed)?;
    Ok(header)
}

async fn read_line(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    while !header.contains(&b'\n') {
        let mut ahead = [0; LINE];
        let ahead = &mut ahead[header.len()..];
        if ahead.is_empty() {
            return Err(invalid("the line is too long"));
        }
        // What stands behind the line is for TLS or HTTP: it is looked at, and left where it is.
        let seen = ended(stream.peek(ahead).await?)?;
        let end = ahead[..seen].iter().position(|&byte| byte == b'\n');
        let line = &mut ahead[..end.map_or(seen, |end| end + 1)];
        stream.read_exact(line).await?;
        header.extend_from_slice(line);
    }
    Ok(())
}

async fn read_binary(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    fill(stream, header, FIXED).await?;
    let length = FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > LONGEST {
        return Err(invalid("the header is too long"));
    }
    fill(stream, header, length).await
}

/// Reads until the header has this length.
async fn fill(stream: &mut TcpStream, header: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let start = header.len();
    header.resize(length, 0);
    stream.read_exact(&mut header[start..]).await?;
    Ok(())
}

/// Whether a header with this prefix may begin with these bytes.
fn begins(header: &[u8], prefix: &[u8]) -> bool {
    header.iter().zip(prefix).all(|(one, other)| one == other)
}

/// Nothing read is the end of the stream.
fn ended(read: usize) -> io::Result<usize> {
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

// === parsing ===

/// The addresses in a header; `None` if the sender speaks for itself, or of no TCP connection.
fn parse(header: &[u8]) -> io::Result<Option<Addresses>> {
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        // Then the rest is to be ignored, even if it makes no sense.
        if header[v2::PROTOCOL_PREFIX.len()] == LOCAL {
            return Ok(None);
        }
        let header = v2::Header::try_from(header).map_err(invalid)?;
        Ok(match (header.command, header.protocol, header.addresses) {
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(pair)) => {
                Some(four(pair))
            }
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(pair)) => {
                Some(six(pair))
            }
            _ => None,
        })
    } else {
        let header = v1::Header::try_from(header).map_err(invalid)?;
        Ok(match header.addresses {
            v1::Addresses::Tcp4(pair) => Some(four(pair)),
            v1::Addresses::Tcp6(pair) => Some(six(pair)),
            v1::Addresses::Unknown => None,
        })
    }
}

fn four(pair: v1::IPv4) -> Addresses {
    (
        SocketAddr::from((pair.source_address, pair.source_port)),
        SocketAddr::from((pair.destination_address, pair.destination_port)),
    )
}

/// One side may be an IPv4 address in the form of the other.
fn six(pair: v1::IPv6) -> Addresses {
    (
        SocketAddr::new(pair.source_address.to_canonical(), pair.source_port),
        SocketAddr::new(
            pair.destination_address.to_canonical(),
            pair.destination_port,
        ),
    )
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(source: &str, destination: &str) -> Option<Addresses> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    #[test]
    fn both_addresses_are_told() {
        assert_eq!(
            parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n").unwrap(),
            pair("192.0.2.7:4000", "198.51.100.1:443")
        );
        assert_eq!(
            parse(b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 4000 443\r\n").unwrap(),
            pair("192.0.2.7:4000", "[2001:db8::1]:443")
        );
        let binary =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb";
        assert_eq!(
            parse(binary).unwrap(),
            pair("192.0.2.7:4000", "198.51.100.1:443")
        );
    }

    #[test]
    fn a_sender_that_speaks_for_itself_tells_no_addresses() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n").unwrap(), None);
        assert_eq!(
            parse(b"PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n").unwrap(),
            None
        );
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").unwrap(), None);
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\0").unwrap(), None);
        let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[0; 216]].concat();
        assert_eq!(parse(&unix).unwrap(), None);
        let datagrams =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb";
        assert_eq!(parse(datagrams).unwrap(), None);
    }

    #[test]
    fn ipv4_senders_are_known_in_either_form() {
        let senders = Senders::new(&["10.0.0.0/8".parse().unwrap()]);
        assert!(senders.include("10.1.2.3".parse().unwrap()));
        assert!(senders.include("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!senders.include("11.1.2.3".parse().unwrap()));
        assert!(!Senders::new(&[]).include("10.1.2.3".parse().unwrap()));
    }
}
