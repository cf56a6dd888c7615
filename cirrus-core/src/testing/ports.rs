//! Ports for servers that bind them later, or again after they were stopped.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below the ports that Linux gives to clients and to whoever asks for any (32,768 and up). One of those may be given
/// away between the moment it was found free and the moment it is bound.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// How many are tried before the test gives up.
const ATTEMPTS: u32 = 1000;

/// An address of the loopback interface that nobody listens on, by TCP or UDP.
///
/// Nothing keeps it free but chance: the range is large, and only callers of this function choose from it.
///
/// # Panics
///
/// If none is found.
#[must_use]
pub fn free() -> SocketAddr {
    (0..ATTEMPTS)
        .map(|attempt| SocketAddr::from((Ipv4Addr::LOCALHOST, any(attempt))))
        .find(|address| is_free(*address))
        .expect("a free port")
}

/// A port by chance: processes that run at once, and threads of one, choose differently.
fn any(attempt: u32) -> u16 {
    let width = u64::from(PORTS.end - PORTS.start);
    let chance = RandomState::new().hash_one(attempt) % width;
    PORTS.start + u16::try_from(chance).unwrap_or_default()
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_free() {
        let address = free();
        assert!(PORTS.contains(&address.port()));
        let tcp = TcpListener::bind(address).unwrap();
        assert!(!is_free(address));
        drop(tcp);
        let _udp = UdpSocket::bind(address).unwrap();
        assert!(!is_free(address));
    }
}
