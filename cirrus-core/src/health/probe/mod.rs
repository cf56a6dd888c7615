//! One look after one endpoint.

mod grpc;
mod hello;
mod http;
pub(crate) mod script;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::rules::Check;
use crate::config::{CheckKind, OriginProtocol, OriginUrl};
use crate::error::BoxError;
use crate::upstream::pool::{Transport, Wire};
use crate::upstream::{Connector, Introduction};

/// A check of your own: a protocol that Cirrus does not speak, or a question that only your program can answer.
///
/// Give it a name with [`Builder::probe`](crate::server::Builder::probe); checks with `kind = "custom"` and
/// `probe = "NAME"` ask it. Interval, thresholds and history are the engine's.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Looks once; an error says what is wrong, for logs and the admin API. Dropped when `timeout` is over.
    async fn probe(&self, target: &Target) -> Result<(), BoxError>;
}

/// Whom a [`Probe`] looks after.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Where it is; with the check's `port`, if it has one.
    pub url: OriginUrl,
    /// The name for TLS, if not the host of `url`.
    pub sni: Option<Arc<str>>,
    /// The check's `command`.
    pub arguments: Vec<String>,
}

/// One look, with what it needs.
pub(super) struct Look<'a> {
    pub(super) check: &'a Check,
    pub(super) transport: &'a Transport,
    pub(super) connector: &'a Connector,
    pub(super) probe: Option<&'a dyn Probe>,
}

// === impl Look ===

impl Look<'_> {
    /// Looks within the check's time limit.
    pub(super) async fn run(&self) -> Result<(), BoxError> {
        let limit = self.limit();
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {limit:?}").into()),
        }
    }

    fn limit(&self) -> Duration {
        self.check.config.timeout.as_duration()
    }

    async fn ask(&self) -> Result<(), BoxError> {
        match self.check.config.kind {
            CheckKind::Tcp => self.connect(Some("http")).await.map(drop),
            CheckKind::Tls => self.connect(Some("https")).await.map(drop),
            CheckKind::Http => Box::pin(http::look(self)).await,
            CheckKind::Grpc => Box::pin(grpc::look(self)).await,
            CheckKind::Redis => hello::redis(self.connect(None).await?).await,
            CheckKind::Mysql => hello::mysql(self.connect(Some("http")).await?).await,
            CheckKind::Postgres => hello::postgres(self.connect(Some("http")).await?).await,
            CheckKind::Script => script::run(&self.check.config, &self.url(None)?).await,
            CheckKind::Custom => self.custom().await,
        }
    }

    async fn custom(&self) -> Result<(), BoxError> {
        let probe = self.probe.ok_or("the program has no probe of this name")?;
        let target = Target {
            url: self.url(None)?,
            sni: self.transport.sni.clone(),
            arguments: self.check.config.command.clone(),
        };
        probe.probe(&target).await
    }

    /// The endpoint's address with the check's port, in another scheme if one is given.
    fn url(&self, scheme: Option<&str>) -> Result<OriginUrl, BoxError> {
        let url = &self.transport.url;
        if url.unix_path().is_some() {
            return Ok(url.clone());
        }
        let host = match url.host() {
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let port = self.check.config.port.unwrap_or(url.port());
        let scheme = scheme.unwrap_or(url.scheme().as_str());
        Ok(format!("{scheme}://{host}:{port}").parse::<OriginUrl>()?)
    }

    /// A connection of its own, for whatever is spoken on it.
    async fn connect(&self, scheme: Option<&str>) -> Result<Box<Wire>, BoxError> {
        self.connect_for(scheme, OriginProtocol::Http1).await
    }

    async fn connect_for(
        &self,
        scheme: Option<&str>,
        protocol: OriginProtocol,
    ) -> Result<Box<Wire>, BoxError> {
        let transport = Transport {
            url: self.url(scheme)?,
            protocol,
            // Nobody's: it is ours.
            introduction: self
                .transport
                .introduction
                .map(|introduction| Introduction {
                    client: None,
                    ..introduction
                }),
            ..self.transport.clone()
        };
        Ok(self.connector.connect(&transport, self.limit()).await?)
    }
}
