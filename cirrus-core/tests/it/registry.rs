//! Endpoints that are put in and taken out while traffic flows.

use cirrus_core::discovery::{Endpoints, Registry};
use cirrus_core::testing::{Client, Origin, RunningOrigin, proxy, reply};
use serde_json::{Value, json};

const LOCAL: &str = "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n";

async fn origin(name: &'static str) -> RunningOrigin {
    Origin::new().get("*", move |_| reply(name)).run().await
}

fn config(service: &str) -> String {
    format!(
        "{LOCAL}[registry]\nlegacy = \"pay\"\n\
         [[cluster]]\nname = \"pay\"\nservice = \"{service}\"\n\
         [[site]]\nhosts = [\"*\"]\ncluster = \"pay\"\n"
    )
}

async fn world(registry: &Registry) -> (proxy::Running, Client, Client) {
    let proxy = proxy::new(&config("pay"))
        .with(|builder| builder.discovery(registry.clone()).registry(registry.clone()))
        .run()
        .await;
    let admin = Client::to(proxy.admin()).host("localhost");
    let client = Client::to(proxy.address());
    (proxy, admin, client)
}
