//! The first bytes of a connection, and the last words to one that gets none.

use std::io;

use rustls::server::{Accepted as WholeHello, Acceptor as HelloReader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{AcceptError, hello};
use crate::downstream::ServerName;

/// What rustls would say without a certificate is `access_denied`. This is the record that says `unrecognized_name`
/// (RFC 6066 §3): alert, version 3.3, two bytes: fatal, 112.
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

const SPEAKS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 34\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks TLS: use https://";

/// Reads up to the whole ClientHello.
///
/// Not tokio-rustls's `LazyConfigAcceptor`: that answers plain HTTP with a TLS alert before anybody can look.
pub(super) async fn read_hello<IO>(io: &mut IO, said: &[u8]) -> Result<WholeHello, AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = HelloReader::default();
    let mut bytes = Vec::with_capacity(4096);
    match said {
        [] => read_some(io, &mut bytes).await?,
        said => bytes.extend_from_slice(said),
    }
    // A TLS record begins with a content type below 24, every HTTP method with a capital letter.
    if bytes.first().is_some_and(u8::is_ascii_uppercase) {
        say(io, SPEAKS_TLS).await;
        return Err(AcceptError::NotTls);
    }
    loop {
        feed(&mut hello, &bytes)?;
        match hello.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => read_some(io, &mut bytes).await?,
            Err((error, mut alert)) => {
                bytes.clear();
                alert.write_all(&mut bytes)?;
                say(io, &bytes).await;
                return Err(AcceptError::Tls(error));
            }
        }
    }
}

/// The name that the client asks for, as far as `said` is what a client of TLS says; what it said is left there.
pub(super) async fn name_of<IO: AsyncRead + Unpin>(
    io: &mut IO,
    said: &mut Vec<u8>,
) -> io::Result<Option<Option<ServerName>>> {
    loop {
        if io.read_buf(said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match hello::read(said) {
            Ok(hello::Beginning::Incomplete) => {}
            Ok(hello::Beginning::Named(name)) => return Ok(Some(name)),
            // Whoever ends TLS here says what is wrong with it.
            Err(_) => return Ok(None),
        }
    }
}

async fn read_some<IO: AsyncRead + Unpin>(io: &mut IO, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    match io.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn feed(hello: &mut HelloReader, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        hello.read_tls(&mut bytes)?;
    }
    Ok(())
}

/// The last words. That they arrive is worth no error: the connection ends anyway.
pub(super) async fn say<IO: AsyncWrite + Unpin>(io: &mut IO, words: &[u8]) {
    if io.write_all(words).await.is_ok() {
        let _ = io.shutdown().await;
    }
}
