//! A caching proxy in ten lines: `cirrus.toml` and the directory `certs` say the rest.

use cirrus_cache::MemoryStore;
use cirrus_core::Server;
use cirrus_discovery::File;
use cirrus_tls::Folder;

#[tokio::main]
async fn main() -> Result<(), cirrus_core::server::StartError> {
    cirrus_examples::log();
    Server::builder()
        .config(File::at("cirrus.toml"))
        .cache(MemoryStore::sized(256 << 20))
        .certs(Folder::at("certs"))
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await
}
