//! Backends that announce themselves: an empty table of endpoints, changed while traffic flows through the admin API, by
//! name or by number.
//!
//! Arguments: the address to listen on, that of the admin listener, and the file that keeps the table over restarts. With
//! something on port 3000:
//!
//! ```sh
//! cargo run -p cirrus-examples --example dynamic_registry -- 127.0.0.1:8080 127.0.0.1:9145 registry.json
//! curl -X PUT -d '"http://127.0.0.1:3000"' http://127.0.0.1:9145/api/v1/registry/web/endpoints/blue
//! curl http://127.0.0.1:8080/
//! curl 'http://127.0.0.1:9145/add?no=2&ip=127.0.0.1&port=3001'
//! curl 'http://127.0.0.1:9145/delete?no=2'
//! ```

use cirrus_core::discovery::Registry;
use cirrus_core::{BoxError, Server};
use cirrus_discovery::Fixed;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [listen, admin, file] =
        cirrus_examples::arguments(["127.0.0.1:8080", "127.0.0.1:9145", "registry.json"]);
    let config = format!(
        r#"
        listen = [{{ address = "{listen}" }}]
        # Anybody on this machine may change it; elsewhere give `tokens`.
        admin = {{ address = "{admin}", open = true }}
        # `/add`, `/get` and `/delete` are about this service.
        registry = {{ legacy = "web" }}
        cluster = [{{ name = "web", service = "registry://web" }}]
        site = [{{ hosts = ["*"], cluster = "web" }}]
        "#
    );
    // Somebody has to write down the table, and to find endpoints in it: the same one is both.
    let registry = Registry::open(file)?;
    Server::builder()
        .config(Fixed::toml(&config)?)
        .registry(registry.clone())
        .discovery(registry)
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
