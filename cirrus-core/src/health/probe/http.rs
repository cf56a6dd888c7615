//! A request, and what its answer must be.

use std::sync::Arc;

use ::http::header::{HOST, USER_AGENT};
use ::http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use serde_json::Value;

use super::Look;
use crate::body::{Body, Response};
use crate::config::{BodyMatchConfig, OriginProtocol};
use crate::error::BoxError;
use crate::server::Drain;
use crate::upstream::h1::{Answer, Form, Head, Talk};
use crate::upstream::pool::Pool;
use crate::upstream::{Keep, Sessions, Times, h2};

/// How much of a body is looked at.
const BODY: usize = 64 * 1024;

pub(super) async fn look(look: &Look<'_>) -> Result<(), BoxError> {
    let config = &look.check.config;
    let method = config.method.to_method();
    let mut headers = fields(look)?;
    for (name, value) in &config.headers {
        headers.insert(name.to_name(), value.to_value());
    }
    let head = Head {
        method: &method,
        target: &config.path,
        headers: &headers,
        claims: None,
        form: Form::Map,
        switches: false,
    };
    let protocol = match look.transport.protocol {
        OriginProtocol::Auto => OriginProtocol::Http1,
        protocol => protocol,
    };
    let sending = Box::pin(send(look, head, Body::empty(), protocol));
    let (_connection, response) = sending.await?;
    let status = response.status();
    if !config.status.iter().any(|set| set.contains(status)) {
        return Err(format!("status {}", status.as_u16()).into());
    }
    match &config.body {
        Some(wanted) => matches(wanted, &beginning(response.into_body()).await?),
        None => Ok(()),
    }
}

/// Who is asked, and who asks.
pub(super) fn fields(look: &Look<'_>) -> Result<HeaderMap, BoxError> {
    let mut headers = HeaderMap::new();
    let host = match &look.check.config.host {
        Some(host) => host.to_value(),
        None => HeaderValue::from_str(look.url(None)?.authority())?,
    };
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("cirrus-health-check"));
    Ok(headers)
}

/// Ends a connection with what it was for.
pub(super) struct Ends(Drain);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Sends a request on a connection of its own.
pub(super) async fn send(
    look: &Look<'_>,
    head: Head<'_>,
    body: Body,
    protocol: OriginProtocol,
) -> Result<(Ends, Response), BoxError> {
    let wire = look.connect_for(None, protocol).await?;
    let times = Times {
        first_byte: look.limit(),
        idle: look.limit(),
    };
    let ends = Ends(Drain::default());
    let transport = Arc::new(look.transport.clone());
    if protocol == OriginProtocol::Http2 {
        let sessions = Sessions::new(ends.0.clone());
        let origin = sessions.of(&transport);
        let lease = sessions.open(&origin, &transport, wire).await?;
        let response = h2::exchange(lease, head, body, times).await;
        return Ok((ends, response.map_err(|failed| failed.why)?));
    }
    // A pool that is gone keeps nothing.
    let home = Arc::<Pool>::default().home(&transport, Keep::default());
    match Talk::exchange(wire, head, body, times, home).await {
        Ok(Answer::Response(response, _)) => Ok((ends, response)),
        Ok(Answer::Switched(..)) => Err("it switched to another protocol".into()),
        Err(failed) => Err(failed.why.into()),
    }
}

/// The first [`BODY`] bytes.
async fn beginning(mut body: Body) -> Result<Vec<u8>, BoxError> {
    let mut bytes = Vec::new();
    while bytes.len() < BODY
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(BODY - bytes.len())]);
        }
    }
    Ok(bytes)
}

fn matches(wanted: &BodyMatchConfig, body: &[u8]) -> Result<(), BoxError> {
    if let Some(text) = &wanted.text
        && memchr::memmem::find(body, text.as_bytes()).is_none()
    {
        return Err("the body lacks the text".into());
    }
    if let Some(regex) = &wanted.regex
        && !regex.is_in(body)
    {
        return Err("the body does not match the expression".into());
    }
    let (Some(pointer), Some(equals)) = (&wanted.pointer, &wanted.equals) else {
        return Ok(());
    };
    let document: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    let found = match document.pointer(pointer) {
        None => return Err(format!("the body has nothing at {pointer}").into()),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    if found == *equals {
        return Ok(());
    }
    let found: String = found.chars().take(60).collect();
    Err(format!("{pointer} is {found}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_hold_what_they_must() {
        let body = br#"{"status": "UP", "db": {"lag": 3, "ok": true}}"#;
        for (wanted, good) in [
            ("text = 'UP'", true),
            ("text = 'DOWN'", false),
            ("regex = '\"lag\": *[0-9],'", true),
            ("regex = '^UP'", false),
            ("pointer = '/status'\nequals = 'UP'", true),
            ("pointer = '/status'\nequals = 'up'", false),
            ("pointer = '/db/lag'\nequals = '3'", true),
            ("pointer = '/db/ok'\nequals = 'true'", true),
            ("pointer = '/db/no'\nequals = 'true'", false),
            ("text = 'UP'\npointer = '/db/lag'\nequals = '4'", false),
            ("", true),
        ] {
            let wanted = toml::from_str(wanted).unwrap();
            assert_eq!(matches(&wanted, body).is_ok(), good, "{wanted:?}");
        }
        let wanted = toml::from_str("pointer = ''\nequals = '1'").unwrap();
        assert!(matches(&wanted, b"not JSON").is_err());
    }
}
