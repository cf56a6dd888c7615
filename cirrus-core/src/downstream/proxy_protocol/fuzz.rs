//! See [`crate::fuzzing`].

use super::*;
use crate::config::SendProxyProtocol;
use crate::upstream::Introduction;

/// What is read is what we would write, in either version.
pub fn proxy_protocol(bytes: &[u8]) {
    let Some(header) = header(bytes) else { return };
    let Ok(read) = parse(header) else { return };
    for version in [SendProxyProtocol::V1, SendProxyProtocol::V2] {
        let client = read;
        let written = Introduction { version, client }.header();
        let again = written.and_then(|written| parse(&written));
        assert!(again.is_ok_and(|again| again == read), "{read:?}");
    }
    if let Some((source, destination)) = read {
        assert_eq!(source.ip(), source.ip().to_canonical());
        assert_eq!(destination.ip(), destination.ip().to_canonical());
    }
}

/// The part of a stream that [`read`] takes.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(v2::PROTOCOL_PREFIX) {
        let length = bytes.get(14..FIXED)?;
        let length = FIXED + usize::from(u16::from_be_bytes([length[0], length[1]]));
        return bytes.get(..length).filter(|_| length <= LONGEST);
    }
    let end = bytes.iter().take(LINE).position(|&byte| byte == b'\n')?;
    bytes
        .get(..SHORTEST.max(end + 1))
        .filter(|line| line.starts_with(b"PROXY "))
}
