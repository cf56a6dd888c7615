//! Asks a running edge's admin listener.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::BoxError;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long an edge may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much one request brings, less than what an edge takes.
const MOST_BYTES: usize = 900 * 1024;

/// Where the edge is, and how it knows who asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The edge's admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9145", value_parser = admin)]
    admin: Authority,
    /// A file with the token [default: $CIRRUS_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// An edge that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    authority: Authority,
    token: Option<HeaderValue>,
}

/// What it answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

// === impl Target ===

impl Target {
    /// # Errors
    ///
    /// The token cannot be read.
    pub(crate) fn open(&self) -> Result<Admin, BoxError> {
        let token = match &self.token_file {
            Some(path) => Some(read_token(path)?),
            None => std::env::var("CIRRUS_TOKEN").ok(),
        };
        let token = token.filter(|token| !token.trim().is_empty());
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.trim())));
        let mut token = token
            .transpose()
            .map_err(|_| "the token has letters that no header field can have")?;
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        Ok(Admin {
            authority: self.admin.clone(),
            token,
        })
    }
}

/// `http://127.0.0.1:9145`, or without the scheme.
fn admin(text: &str) -> Result<Authority, String> {
    let invalid = || "a URL such as http://127.0.0.1:9145 is allowed".to_owned();
    if text.starts_with("https://") {
        return Err("the admin listener speaks plain HTTP: `http://`".to_owned());
    }
    let full = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let uri: Uri = full.parse().map_err(|_| invalid())?;
    let is_root = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match uri.into_parts() {
        parts if parts.scheme.as_ref().map(|scheme| scheme.as_str()) == Some("http") && is_root => {
            parts.authority.ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}

fn read_token(path: &Path) -> Result<String, BoxError> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

// === impl Admin ===

impl Admin {
    /// Asks, and reads the answer.
    ///
    /// # Errors
    ///
    /// There is no answer, or it is not understood. What the edge refuses is an answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, BoxError> {
        let asking = self.exchange(method, path, body);
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer from http://{} within 60 s", self.authority).into()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, BoxError> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = self.request(method, path, body)?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>((status, body))
        };
        // The connection only ends with an error, or after the exchange.
        let (status, body) = tokio::select! {
            exchanged = exchange => exchanged?,
            Err(error) = connection => return Err(error.into()),
        };
        let body = serde_json::from_slice(&body).map_err(|_| {
            let who = &self.authority;
            format!("http://{who} answers {status} in a way that no Cirrus does")
        })?;
        Ok(Answer { status, body })
    }

    async fn connect(&self) -> Result<TcpStream, BoxError> {
        let host = self.authority.host();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.authority.port_u16().unwrap_or(80);
        TcpStream::connect((name, port)).await.map_err(|error| {
            let hint = "is the edge running, and has it `[admin]`?";
            format!("cannot reach the admin listener at {host}:{port}: {error}; {hint}").into()
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, BoxError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.authority.as_str())
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        Ok(request.body(Full::from(body))?)
    }
}

// === impl Answer ===

impl Answer {
    /// What was asked for.
    ///
    /// # Errors
    ///
    /// In the edge's words, if it refuses.
    pub(crate) fn ok(self) -> Result<Value, BoxError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        Err(self.refusal().into())
    }

    /// Why the edge refuses.
    pub(crate) fn refusal(&self) -> String {
        match self.body["detail"].as_str() {
            Some(detail) => detail.to_owned(),
            None => format!("the edge answers {}", self.status),
        }
    }
}

/// Lists that one request each can bring.
pub(crate) fn batches<T: Clone>(
    items: &[T],
    most: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let (mut batches, mut room) = (Vec::<Vec<T>>::new(), 0);
    for item in items {
        // What JSON adds at the most, for an escape here and there.
        let needed = bytes(item) * 2 + 16;
        match batches.last_mut() {
            Some(last) if last.len() < most && needed <= room => last.push(item.clone()),
            _ => {
                room = MOST_BYTES;
                batches.push(vec![item.clone()]);
            }
        }
        room = room.saturating_sub(needed);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_listener_is_an_address_or_its_url() {
        for text in [
            "http://127.0.0.1:9145",
            "127.0.0.1:9145",
            "http://127.0.0.1:9145/",
        ] {
            assert_eq!(admin(text).unwrap().as_str(), "127.0.0.1:9145", "{text}");
        }
        for text in ["https://a", "http://a/api", "ftp://a", "", "a b"] {
            assert!(admin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_batch_is_too_large() {
        let items = vec!["x".repeat(100_000); 25];
        let all = batches(&items, 1000, String::len);
        assert!(all.iter().all(|batch| (1..=4).contains(&batch.len())));
        assert_eq!(all.concat(), items);
        let small = vec![String::from("a"); 2500];
        let sizes: Vec<_> = batches(&small, 1000, String::len)
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [1000, 1000, 500]);
    }
}
