//! Every service that Consul knows, in every datacentre, at `/{datacentre}/{service}/{path}`: one that comes or goes needs
//! no change here.
//!
//! Arguments: Consul's address, the address to listen on. With an agent (`consul agent -dev`) and something on port 3000:
//!
//! ```sh
//! consul services register -name=web -address=127.0.0.1 -port=3000
//! cargo run -p cirrus-examples --example consul_gateway -- 127.0.0.1:8500 127.0.0.1:8080
//! curl http://127.0.0.1:8080/dc1/web/hello
//! ```

use cirrus_core::{BoxError, Server};
use cirrus_discovery::Fixed;
use cirrus_discovery::consul::Consul;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [consul, listen] = cirrus_examples::arguments(["127.0.0.1:8500", "127.0.0.1:8080"]);
    let config = format!(
        r#"
        listen = [{{ address = "{listen}" }}]

        [[site]]
        hosts = ["*"]

        [[site.route]]
        path = "/*"
        # Who may be asked for is better said than not: `consul` is Consul's own servers.
        consul_gateway = {{ deny = ["consul"], drop_after = "10m" }}
        "#
    );
    Server::builder()
        .config(Fixed::toml(&config)?)
        .discovery(Consul::builder().address(consul).build()?)
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
