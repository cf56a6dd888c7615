//! A gateway that lets in only who has a certificate of one authority, and tells the origin who that is.
//!
//! Arguments: the origin's URL, the directory with the gateway's own certificate, the file of the clients' authority, the
//! address to listen on.

use cirrus_core::config::{Config, Format};
use cirrus_core::{BoxError, Server};
use cirrus_discovery::Fixed;
use cirrus_tls::Folder;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, certs, ca, listen] = cirrus_examples::arguments([
        "http://127.0.0.1:3000",
        "certs",
        "clients-ca.pem",
        "127.0.0.1:8443",
    ]);
    let config = format!(
        r#"
        [tls]
        min_version = "1.3"

        [[listen]]
        address = "{listen}"
        tls = true

        [[site]]
        hosts = ["*"]
        origin = [{{ url = "{origin}" }}]

        # `X-Client-Cert-Subject` and `X-Client-Cert-Names` are always the gateway's own words.
        [site.tls.client_auth]
        ca = "{ca}"
        pass = ["subject", "names"]
        "#
    );
    let (config, _) = Config::parse(&config, Format::Toml)?;
    Server::builder()
        .config(Fixed::new(config))
        .certs(Folder::open(certs)?)
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
