//! gRPC's own health checking (`grpc.health.v1`).

use ::http::header::{CONTENT_TYPE, TE};
use ::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use http_body_util::BodyExt;

use super::Look;
use super::http::{fields, send};
use crate::body::Body;
use crate::config::OriginProtocol;
use crate::error::BoxError;
use crate::upstream::h1::{Form, Head};

/// The most that is read of an answer: a number in a message in a frame.
const ANSWER: usize = 4096;

const SERVING: u64 = 1;

pub(super) async fn look(look: &Look<'_>) -> Result<(), BoxError> {
    let mut headers = fields(look)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let head = Head {
        method: &Method::POST,
        target: "/grpc.health.v1.Health/Check",
        headers: &headers,
        claims: None,
        form: Form::Map,
        switches: false,
    };
    let question = question(look.check.config.service.as_deref().unwrap_or_default());
    let body = Body::from(Bytes::from(question));
    let (_connection, response) = send(look, head, body, OriginProtocol::Http2).await?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status().as_u16()).into());
    }
    is_fine(response.headers())?;
    let (message, trailers) = read(response.into_body()).await?;
    is_fine(&trailers)?;
    match state(&message) {
        Some(SERVING) => Ok(()),
        Some(0) => Err("UNKNOWN".into()),
        Some(2) => Err("NOT_SERVING".into()),
        Some(3) => Err("SERVICE_UNKNOWN".into()),
        _ => Err("the answer is no message of grpc.health.v1".into()),
    }
}

/// `HealthCheckRequest` in a frame: field 1 is the service's name.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    frame
}

/// `HealthCheckResponse` in a frame: field 1 is the state, which is left out if it is 0.
fn state(frame: &[u8]) -> Option<u64> {
    let (&[0, a, b, c, d], message) = frame.split_first_chunk::<5>()? else {
        return None;
    };
    let message = message.get(..u32::from_be_bytes([a, b, c, d]) as usize)?;
    match message {
        [] => Some(0),
        [0x08, state, ..] if *state < 0x80 => Some(u64::from(*state)),
        _ => None,
    }
}

/// `grpc-status`, wherever it stands, is 0 or not there.
fn is_fine(headers: &HeaderMap) -> Result<(), BoxError> {
    match headers.get("grpc-status").map(HeaderValue::as_bytes) {
        None | Some(b"0") => Ok(()),
        Some(status) => {
            let status = String::from_utf8_lossy(status);
            let message = headers
                .get("grpc-message")
                .and_then(|text| text.to_str().ok());
            let message: String = message.unwrap_or_default().chars().take(80).collect();
            Err(format!("grpc-status {status} {message}").trim_end().into())
        }
    }
}

async fn read(mut body: Body) -> Result<(Vec<u8>, HeaderMap), BoxError> {
    let (mut message, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if message.len() + data.len() <= ANSWER => message.extend_from_slice(&data),
            Ok(_) => return Err("the answer is too long".into()),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((message, trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[5..8], [0x0a, 0xac, 0x02]);
        for (frame, found) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(SERVING)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 3, 8, 2], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0], None),
        ] {
            assert_eq!(state(frame), found, "{frame:?}");
        }
    }
}
