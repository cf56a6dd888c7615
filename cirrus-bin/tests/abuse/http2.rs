//! HTTP/2: floods of frames that are cheap to send.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;

use crate::edge::{Edge, scaled};
use crate::wire::{clients, connect, rest};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET / HTTP/2` of `http://x`, by the static table but for the authority.
const REQUEST: &[u8] = b"\x82\x86\x84\x41\x01x";
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends `frames` as long as the server takes them, which has to end.
async fn flood(number: usize, to: SocketAddr, frames: impl Fn(u32) -> Vec<u8>) {
    let mut stream = connect(number, to).await;
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    stream.write_all(&hello).await.unwrap();
    for turn in 0..scaled(10_000) as u32 {
        if stream.write_all(&frames(turn)).await.is_err() {
            break;
        }
    }
    rest(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets() {
    let edge = Edge::start().await;
    edge.withstands(async |to| {
        clients(scaled(500), move |number| async move {
            flood(number, to, |turn| {
                let stream = 2 * turn + 1;
                [
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST),
                    frame(RST_STREAM, 0, stream, &CANCEL),
                ]
                .concat()
            })
            .await;
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuations_without_end() {
    let edge = Edge::start().await;
    edge.withstands(async |to| {
        clients(scaled(500), move |number| async move {
            // A literal field without indexing, again and again.
            let field = b"\x00\x01a\x01b".repeat(200);
            flood(number, to, |turn| match turn {
                0 => frame(HEADERS, END_STREAM, 1, REQUEST),
                _ => frame(CONTINUATION, 0, 1, &field),
            })
            .await;
        })
        .await;
    })
    .await;
}
