//! TLS for development that the browser trusts: every name gets a certificate of a local authority, which is made once and
//! stays the same. Tell your machine to trust `DIRECTORY/root.pem`.
//!
//! Arguments: the origin's URL, the authority's directory, the address to listen on.

use cirrus_core::config::ListenConfig;
use cirrus_core::{BoxError, Server, SystemClock};
use cirrus_discovery::{Fixed, proxy_to};
use cirrus_tls::{LocalRoot, SelfSigned};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, directory, listen] =
        cirrus_examples::arguments(["http://127.0.0.1:3000", "local-ca", "127.0.0.1:8443"]);
    let mut config = proxy_to([origin.parse()?]);
    config.listen = vec![ListenConfig::plain(listen.parse()?)];
    config.listen[0].tls = true;
    let root = LocalRoot::open(directory, &SystemClock)?;
    Server::builder()
        .config(Fixed::new(config))
        .certs(SelfSigned::new().signed_by(root))
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
