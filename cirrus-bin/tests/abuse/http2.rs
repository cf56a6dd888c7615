//! HTTP/2: floods of frames that are cheap to send.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;

use crate::edge::{Edge, scaled};
use crate::wire::{clients, connect, rest};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
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

/// Sends `flood` as long as the server takes it; whether it says that it goes away.
async fn is_sent_away(number: usize, to: SocketAddr, flood: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut stream = connect(number, to).await;
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    stream.write_all(&hello).await.unwrap();
    for turn in 0..scaled(10_000) as u32 {
        if stream.write_all(&flood(turn)).await.is_err() {
            break;
        }
    }
    let said = rest(&mut stream).await;
    kinds(&said).contains(&GOAWAY)
}

fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        kinds.push(kind);
        let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        bytes = bytes.get(length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets() {
    let edge = Edge::start().await;
    edge.withstands(async |to| {
        clients(scaled(500), move |number| async move {
            // Whether its farewell arrives is the network's: what is unread when a socket closes
            // resets it. That `rest` sees an end is the point.
            is_sent_away(number, to, |turn| {
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
            is_sent_away(number, to, |turn| match turn {
                0 => frame(HEADERS, END_STREAM, 1, REQUEST),
                _ => frame(CONTINUATION, 0, 1, &field),
            })
            .await;
        })
        .await;
    })
    .await;
}
