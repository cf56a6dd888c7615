//! Handshakes that only prove whose a name is: TLS-ALPN-01 (RFC 8737).

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{Accepted, ClientHello, NoServerSessionStorage};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::StartHandshake;

use super::reading::{UNRECOGNIZED_NAME, say};
use super::{AcceptError, Chosen};
use crate::downstream::cert::{CertProvider, ServerName};

/// The protocol that authorities offer, and nobody else.
const ACME_TLS: &[u8] = b"acme-tls/1";

/// Whether a client wants nothing but to see the answer to a challenge.
pub(super) fn is_asked_for(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(ACME_TLS) && offered.next().is_none()
}

/// Shows the authority what it wants to see. There is no connection: nothing is said on it (RFC 8737 §3).
pub(super) async fn answer<IO, T>(
    provider: &dyn CertProvider,
    accepted: Accepted,
    mut io: IO,
    sni: Option<ServerName>,
) -> Result<T, AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let key = match &sni {
        Some(name) => provider.alpn_challenge(name).await,
        None => None,
    };
    let Some(key) = key else {
        say(&mut io, &UNRECOGNIZED_NAME).await;
        return Err(AcceptError::NoCertificate(sni));
    };
    let config = config(Chosen(Some(key))).map_err(AcceptError::Tls)?;
    let start = StartHandshake::from_parts(accepted, io);
    let mut stream = start.into_stream(Arc::new(config)).await?;
    let _ = stream.shutdown().await;
    Err(AcceptError::Challenge)
}

/// Whoever came back with a ticket would not see the certificate: there are none.
fn config(chosen: Chosen) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(chosen));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
