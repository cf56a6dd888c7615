//! Reads the name from a ClientHello (RFC 8446 §4.1.2, RFC 6066 §3) whose connection is not ended here.
//!
//! Strict: what is not exactly a ClientHello is none. What is read has an end, and nothing is copied but the parts of the
//! one message.

use crate::downstream::ServerName;

/// What is known of a connection by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// More bytes are needed.
    Incomplete,
    /// A whole ClientHello, and the name in it, if there is one.
    Named(Option<ServerName>),
}

/// It is no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no ClientHello")]
pub(crate) struct NoHello;

/// Longer messages are no honest client's; with post-quantum keys they have less than 2 KiB.
const LONGEST: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What is left of a part of the message.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

/// Reads the bytes that a connection has begun with.
pub(crate) fn read(bytes: &[u8]) -> Result<Beginning, NoHello> {
    let Some(message) = message(bytes)? else {
        return Ok(Beginning::Incomplete);
    };
    let mut rest = Rest(&message);
    let name = rest.hello()?;
    rest.end()?;
    Ok(Beginning::Named(name))
}

/// The first message of the handshake, put together from as many records as it came in.
fn message(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, NoHello> {
    let mut message: Vec<u8> = Vec::new();
    loop {
        let Some((head, behind)) = bytes.split_at_checked(5) else {
            return sound(bytes).map(|()| None);
        };
        sound(head)?;
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if length == 0 || length > 1 << 14 {
            return Err(NoHello);
        }
        let (part, behind, is_whole) = match behind.split_at_checked(length) {
            Some((part, behind)) => (part, behind, true),
            None => (behind, &[][..], false),
        };
        message.extend_from_slice(part);
        match expected(&message)? {
            Some(expected) if message.len() > expected => return Err(NoHello),
            Some(expected) if message.len() == expected && is_whole => {
                message.drain(..4);
                return Ok(Some(message));
            }
            _ if !is_whole => return Ok(None),
            _ => bytes = behind,
        }
    }
}

/// Whether these may be the first bytes of a record of the handshake.
fn sound(head: &[u8]) -> Result<(), NoHello> {
    let type_ok = head.first().is_none_or(|&byte| byte == HANDSHAKE);
    let version_ok = head.get(1).is_none_or(|&byte| byte == 3);
    if type_ok && version_ok {
        Ok(())
    } else {
        Err(NoHello)
    }
}

/// How long the message is, its header included, if that is known yet.
fn expected(message: &[u8]) -> Result<Option<usize>, NoHello> {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Err(NoHello);
    }
    let Some(&[_, a, b, c]) = message.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if length > LONGEST {
        return Err(NoHello);
    }
    Ok(Some(length + 4))
}

// === impl Rest ===

impl<'a> Rest<'a> {
    fn hello(&mut self) -> Result<Option<ServerName>, NoHello> {
        // legacy_version, random
        self.take(34)?;
        let session = self.vector8()?;
        let suites = self.vector16()?;
        let compressions = self.vector8()?;
        if session.0.len() > 32 || suites.0.is_empty() || suites.0.len() % 2 != 0 {
            return Err(NoHello);
        }
        if compressions.0.is_empty() {
            return Err(NoHello);
        }
        // Before TLS 1.2 there need not be any.
        match self.0.is_empty() {
            true => Ok(None),
            false => self.vector16()?.extensions(),
        }
    }

    fn extensions(mut self) -> Result<Option<ServerName>, NoHello> {
        let (mut name, mut seen) = (None, Vec::new());
        while !self.0.is_empty() {
            let kind = self.number16()?;
            let extension = self.vector16()?;
            if seen.contains(&kind) {
                return Err(NoHello);
            }
            seen.push(kind);
            if kind == SERVER_NAME {
                name = extension.server_name()?;
            }
        }
        Ok(name)
    }

    /// Exactly one name. What is no DNS name is none (RFC 6066 §3: addresses are not permitted).
    fn server_name(mut self) -> Result<Option<ServerName>, NoHello> {
        let mut list = self.vector16()?;
        self.end()?;
        if list.take(1)? != [HOST_NAME] {
            return Err(NoHello);
        }
        let name = list.vector16()?;
        list.end()?;
        let name = std::str::from_utf8(name.0).map_err(|_| NoHello)?;
        Ok(ServerName::new(name))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], NoHello> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NoHello)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number16(&mut self) -> Result<u16, NoHello> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Result<Self, NoHello> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length).map(Self)
    }

    fn vector16(&mut self) -> Result<Self, NoHello> {
        let length = usize::from(self.number16()?);
        self.take(length).map(Self)
    }

    fn end(self) -> Result<(), NoHello> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(NoHello)
        }
    }
}

/// What rustls takes for a ClientHello has the same name here, if it is one here.
#[cfg(any(fuzzing, test))]
fn agrees_with_rustls(bytes: &[u8]) {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = bytes;
    let mut theirs = None;
    while !rest.is_empty() && theirs.is_none() {
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                theirs = Some(accepted.client_hello().server_name().map(str::to_owned));
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
    if let (Some(theirs), Ok(Beginning::Named(ours))) = (theirs, read(bytes)) {
        let theirs = theirs.as_deref().and_then(ServerName::new);
        assert_eq!(theirs, ours);
    }
}

/// Any bytes.
#[cfg(fuzzing)]
pub fn client_hello(bytes: &[u8]) {
    agrees_with_rustls(bytes);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::version::{TLS12, TLS13};

    use super::*;
    use crate::testing::certs::client_trusting_anyone;

    fn hello(name: &str) -> Vec<u8> {
        let config = client_trusting_anyone(&[b"h2"], &[&TLS12, &TLS13]);
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    fn named(name: &str) -> Beginning {
        Beginning::Named(ServerName::new(name))
    }

    /// The same message in records of `size` bytes.
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let records = hello[5..].chunks(size).flat_map(|part| {
            let length = (part.len() as u16).to_be_bytes();
            [&[22, 3, 1, length[0], length[1]], part].concat()
        });
        records.collect()
    }

    #[test]
    fn reads_the_name_wherever_the_message_is_cut() {
        let hello = hello("shop.example");
        assert_eq!(read(&hello), Ok(named("shop.example")));
        for end in 0..hello.len() {
            assert_eq!(read(&hello[..end]), Ok(Beginning::Incomplete), "{end}");
        }
        for size in [1, 2, 3, 100] {
            assert_eq!(read(&in_records(&hello, size)), Ok(named("shop.example")));
        }
        assert_eq!(read(&self::hello("192.0.2.1")), Ok(Beginning::Named(None)));
    }

    #[test]
    fn what_is_no_hello_is_refused_at_once() {
        let hello = hello("shop.example");
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0xff, 0xff],
            &[22, 3, 1, 0, 4, 2],
            &[22, 3, 1, 0, 4, 1, 1, 0, 0],
            &[&hello[..5], &[0; 600][..]].concat(),
        ] {
            assert_eq!(read(bytes), Err(NoHello), "{bytes:?}");
        }
        assert_eq!(read(b""), Ok(Beginning::Incomplete));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let name = [0, 0, 0, 6, 0, 4, 0, 0, 1, b'a'];
        let body = |extensions: &[u8]| {
            let mut body = [&[3, 3][..], &[0; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
            let mut message = vec![1, 0];
            message.extend((body.len() as u16).to_be_bytes());
            message.extend(body);
            let mut record = vec![22, 3, 1];
            record.extend((message.len() as u16).to_be_bytes());
            [record, message].concat()
        };
        assert_eq!(read(&body(&name)), Ok(named("a")));
        assert_eq!(read(&body(&name.repeat(2))), Err(NoHello));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn rustls_reads_the_same_name(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            size in 1_usize..600,
        ) {
            let mut hello = in_records(&hello("shop.example"), size);
            for (at, byte) in changes {
                let at = at.index(hello.len());
                hello[at] = byte;
            }
            agrees_with_rustls(&hello);
        }
    }
}
