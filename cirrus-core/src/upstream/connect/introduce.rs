//! The PROXY protocol: tells an origin whose connection this is, ahead of TLS and HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::config::SendProxyProtocol;

/// What is said first on a connection. Connections are interchangeable only for the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) version: SendProxyProtocol,
    /// Source and destination of the client's own connection; `None` where we speak for ourselves.
    pub(crate) client: Option<(SocketAddr, SocketAddr)>,
}

// === impl Introduction ===

impl Introduction {
    /// Writes the header.
    pub(super) async fn write(self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        io.write_all(&self.header()?).await?;
        io.flush().await
    }

    pub(crate) fn header(self) -> io::Result<Vec<u8>> {
        let client = self.client.map(same_family);
        match (self.version, client) {
            (SendProxyProtocol::V1, client) => {
                let addresses = client.map_or(v1::Addresses::Unknown, v1::Addresses::from);
                Ok(addresses.to_string().into_bytes())
            }
            (SendProxyProtocol::V2, Some(client)) => v2::Builder::with_addresses(
                v2::Version::Two | v2::Command::Proxy,
                v2::Protocol::Stream,
                client,
            )
            .build(),
            (SendProxyProtocol::V2, None) => v2::Builder::with_addresses(
                v2::Version::Two | v2::Command::Local,
                v2::Protocol::Unspecified,
                v2::Addresses::Unspecified,
            )
            .build(),
        }
    }
}

/// Both as IPv4 if they are, else both as IPv6: a header has room for one family.
fn same_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V6(_)) => (from.to_ipv6_mapped().into(), to),
        (IpAddr::V6(_), IpAddr::V4(to)) => (from, to.to_ipv6_mapped().into()),
        same => same,
    };
    (
        SocketAddr::new(from, source.port()),
        SocketAddr::new(to, destination.port()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: SendProxyProtocol, client: Option<(&str, &str)>) -> Vec<u8> {
        let client = client.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        Introduction { version, client }.header().unwrap()
    }

    #[test]
    fn version_1_is_a_line() {
        let v1 = |client| String::from_utf8(header(SendProxyProtocol::V1, client)).unwrap();
        assert_eq!(
            v1(Some(("192.0.2.7:4000", "198.51.100.1:443"))),
            "PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n"
        );
        assert_eq!(
            v1(Some(("[::ffff:192.0.2.7]:4000", "[2001:db8::1]:443"))),
            "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 4000 443\r\n"
        );
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        assert_eq!(
            header(
                SendProxyProtocol::V2,
                Some(("192.0.2.7:4000", "[::ffff:198.51.100.1]:443"))
            ),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb"
        );
        assert_eq!(
            header(SendProxyProtocol::V2, None),
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
        );
    }
}
