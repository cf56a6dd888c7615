//! The first words of databases.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::BoxError;
use crate::upstream::pool::Wire;

/// The most of an answer that is read.
const ANSWER: usize = 512;

/// PostgreSQL's question whether TLS is spoken: its length and a number that stands for no version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

pub(super) async fn redis(mut wire: Box<Wire>) -> Result<(), BoxError> {
    wire.io.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    wire.io.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") && answer.len() < ANSWER {
        answer.push(wire.io.read_u8().await?);
    }
    // One that wants a password answers, too.
    if answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH") {
        return Ok(());
    }
    Err(said(&answer))
}

/// A packet of its length (3 bytes), a number, and protocol version 10; or an error in its place.
pub(super) async fn mysql(mut wire: Box<Wire>) -> Result<(), BoxError> {
    let mut head = [0; 5];
    wire.io.read_exact(&mut head).await?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    match head[4] {
        10 if length > 1 => Ok(()),
        0xff => {
            let mut rest = vec![0; length.saturating_sub(1).min(ANSWER)];
            wire.io.read_exact(&mut rest).await?;
            Err(said(rest.get(2..).unwrap_or_default()))
        }
        _ => Err("this is no greeting of MySQL".into()),
    }
}

pub(super) async fn postgres(mut wire: Box<Wire>) -> Result<(), BoxError> {
    wire.io.write_all(&SSL_REQUEST).await?;
    wire.io.flush().await?;
    match wire.io.read_u8().await? {
        b'S' | b'N' => Ok(()),
        // Sent in place of either by one that cannot serve.
        b'E' => Err("it answered with an error".into()),
        _ => Err("this is no answer of PostgreSQL".into()),
    }
}

fn said(answer: &[u8]) -> BoxError {
    let text = String::from_utf8_lossy(answer);
    let text: String = text.trim().chars().take(80).collect();
    format!("it said: {}", text.escape_debug()).into()
}
